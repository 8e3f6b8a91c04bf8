"""What every request to Roark has in common: its deadline, its errors, and no URL in any log."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from ._delivery.stats import Outcome

MAX_ANSWER_BYTES = 65_536  # the largest answer that is needed is a presigned URL

# The client's statuses that pass with time, and each of a server: CDNs have some of their own (520
# to 530) for a service that is down.
_RETRYABLE_STATUS = frozenset({408, 425, 429, *range(500, 600)})

T = TypeVar("T")


class RequestError(Exception):
    """A request that was not answered with 2xx.

    Attributes:
        outcome: Whether the same request may succeed later, and under which condition.
        status: The HTTP status, or None where no answer came.
        retry_after: Seconds that the service asked to wait, or None.
        reason: A few words for a log: a status or the kind of failure, nothing secret.
    """

    def __init__(
        self,
        outcome: Outcome,
        reason: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True)
class Timeouts:
    """How long one request may take, however slowly the bytes drip.

    Attributes:
        total: Seconds for a request.
        upload_rate: Bytes a second. An upload has the time on top that it takes at this rate: half
            a Mbit/s, less than any uplink that carries a call's sound. A WAV of some minutes needs
            more than any fixed time.
    """

    total: float = 30.0
    upload_rate: int = 64_000

    def upload(self, size: int) -> float:
        """Seconds that the upload of so many bytes may take."""
        return self.total + size / self.upload_rate


def roark_outcome(status: int) -> Outcome:
    """What an answer of Roark's own endpoints means."""
    if 200 <= status < 300:
        return Outcome.OK
    if status in (401, 403):
        return Outcome.UNAUTHORIZED
    return Outcome.LATER if status in _RETRYABLE_STATUS else Outcome.REFUSED


def upload_outcome(status: int) -> Outcome:
    """What an answer of a presigned URL means."""
    if 200 <= status < 300:
        return Outcome.OK
    if status == 403:
        return Outcome.EXPIRED
    return Outcome.LATER if status in _RETRYABLE_STATUS else Outcome.REFUSED


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Seconds from a Retry-After header (seconds or an HTTP date), or None where it says nothing.

    Args:
        value: The header's text.
        now: The current time, with a time zone.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:12]), 10**9))
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - now).total_seconds())


async def bounded(request: Callable[[], Awaitable[T]], seconds: float) -> T:
    """The one place that gives a request its total deadline and translates foreign errors."""
    token = _in_own_request.set(True)
    try:
        return await asyncio.wait_for(request(), seconds)
    except (TimeoutError, asyncio.TimeoutError, httpx.TimeoutException):
        raise RequestError(Outcome.LATER, "time-out") from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise RequestError(Outcome.REFUSED, "unusable URL") from None
    except httpx.HTTPError as error:
        untrusted = isinstance(error, httpx.ConnectError) and _is_certificate_error(error)
        if untrusted:
            raise RequestError(Outcome.UNTRUSTED, "the TLS certificate is not trusted") from None
        raise RequestError(Outcome.LATER, type(error).__name__) from None
    except OSError as error:  # an upload's file cannot be read
        raise RequestError(Outcome.LATER, type(error).__name__) from None
    finally:
        _in_own_request.reset(token)


def _is_certificate_error(error: BaseException) -> bool:
    """Whether a certificate was refused, somewhere down the chain of causes."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


async def send(
    client: httpx.AsyncClient, request: httpx.Request, classify: Callable[[int], Outcome]
) -> bytes:
    async with _response(client, request) as response:
        outcome = classify(response.status_code)
        if outcome is not Outcome.OK:
            raise RequestError(
                outcome,
                f"status {response.status_code}",
                status=response.status_code,
                retry_after=parse_retry_after(
                    response.headers.get("retry-after"), now=datetime.now(timezone.utc)
                ),
            )
        return await _read_capped(response)


@asynccontextmanager
async def _response(
    client: httpx.AsyncClient, request: httpx.Request
) -> AsyncIterator[httpx.Response]:
    response = await client.send(request, stream=True)
    try:
        yield response
    finally:
        await response.aclose()


async def _read_capped(response: httpx.Response) -> bytes:
    if response.is_stream_consumed:  # httpx.MockTransport gives answers that are read already
        return response.content[:MAX_ANSWER_BYTES]
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) >= MAX_ANSWER_BYTES:
            break
    return bytes(body[:MAX_ANSWER_BYTES])


# A logger's filter does not see its children's records: each is named.
_REQUEST_LOGGERS = (
    "httpx",
    *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")),
)

_in_own_request: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "roark_in_own_request", default=False
)


class _DropOwnRequests(logging.Filter):
    """httpx logs every URL at INFO; the URLs of these requests are secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _in_own_request.get()


_drop_own_requests = _DropOwnRequests()


def silence_request_logs() -> None:
    """No URL of this library's own requests is logged; other requests of httpx still are."""
    for name in _REQUEST_LOGGERS:
        logging.getLogger(name).addFilter(_drop_own_requests)  # adding it again does nothing
