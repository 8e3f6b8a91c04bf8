"""What every request to Roark has in common: its deadline, its errors, and no URL in any log."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import json
import logging
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from ._connections import Route
from ._delivery.stats import Outcome

MAX_ANSWER_BYTES = 65_536  # the largest answer that is needed is a presigned URL

# The client's statuses that pass with time, and each of a server: CDNs have some of their own (520
# to 530) for a service that is down.
_RETRYABLE_STATUS = frozenset({408, 425, 429, *range(500, 600)})

# httpx imports these on first use, 30 ms of a call's first moments (without bytecode 100).
for _late in ("httpcore", "anyio._backends._asyncio"):
    with contextlib.suppress(ImportError):
        importlib.import_module(_late)

# identity: answers are small, and are read as they came, without a decoder
HEADERS = {
    "user-agent": "roark-analytics-python-livekit",
    "accept": "*/*",
    "accept-encoding": "identity",
}

STEPS = httpx.Timeout(10.0, connect=5.0).as_dict()  # seconds without a byte


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

    What is sent has the time on top that it takes at half a Mbit/s, less than any uplink that
    carries a call's sound: a WAV of some minutes needs more than any fixed time.
    """

    total: float = 30.0  # seconds
    rate: int = 64_000  # bytes a second

    def sending(self, size: int) -> float:
        """Seconds that a request with so many bytes may take."""
        return self.total + size / self.rate


def roark_outcome(status: int) -> Outcome:
    """What an answer of Roark's own endpoints means."""
    return Outcome.UNAUTHORIZED if status in (401, 403) else _outcome(status)


def event_outcome(status: int) -> Outcome:
    """What an answer to an event means: a path that is not there takes no other one either."""
    return Outcome.NO_ENDPOINT if status in (404, 405) else roark_outcome(status)


def check_accepted(body: bytes) -> None:
    """Raises unless this is what the service answers to an event, which is JSON or nothing.

    A proxy's page comes with 2xx too.
    """
    try:
        if body.strip():
            json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(Outcome.LATER, "unusable answer (no JSON)") from None


def upload_outcome(status: int) -> Outcome:
    """What an answer of a presigned URL means."""
    return Outcome.EXPIRED if status == 403 else _outcome(status)


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome.OK
    return Outcome.LATER if status in _RETRYABLE_STATUS else Outcome.REFUSED


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Seconds from a Retry-After header, a number or an HTTP date; None where it says nothing."""
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


def wall_clock_error(date: str, now: float) -> float | None:
    """Seconds by which a clock that says `now` is ahead of a Date header's; None without a date."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return now - parsedate_to_datetime(date).timestamp()
    return None


class Request(httpx.Request):
    """A request whose repr tells neither URL nor key: error reports print local variables."""

    def __repr__(self) -> str:
        return f"<Request({self.method!r})>"


async def send(
    route: Route,
    request: Request,
    *,
    classify: Callable[[int], Outcome],
    seconds: float,
    on_success: Callable[[httpx.Headers], None] = lambda headers: None,
) -> bytes:
    """The one place that gives a request its total deadline and translates foreign errors.

    Those are not even the context of what is raised: their frames hold the URL and the key.
    """

    async def answer() -> bytes:
        request.extensions = {"timeout": STEPS}
        async with aclosing(await route.transport.handle_async_request(request)) as response:
            _raise_for_status(response, classify(response.status_code), request)
            on_success(response.headers)
            return await _read_capped(response)

    token = _in_own_request.set(True)
    try:
        return await _within(seconds, answer())
    except (TimeoutError, asyncio.TimeoutError, httpx.TimeoutException):
        failure = RequestError(Outcome.LATER, "time-out")
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        failure = RequestError(Outcome.REFUSED, "unusable URL")
    except httpx.ConnectError as error:
        failure = _not_connected(error, route.peer)
    except (httpx.HTTPError, OSError) as error:  # an OSError: an upload's file cannot be read
        failure = RequestError(Outcome.LATER, type(error).__name__)
    finally:
        _in_own_request.reset(token)
    raise failure


if sys.version_info >= (3, 11):

    async def _within(seconds: float, work: Coroutine[Any, Any, bytes]) -> bytes:
        async with asyncio.timeout(seconds):
            return await work

else:

    async def _within(seconds: float, work: Coroutine[Any, Any, bytes]) -> bytes:
        """Not `wait_for`, which may swallow a cancellation here."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task}, timeout=seconds)
            if not task.done():
                raise asyncio.TimeoutError
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _raise_for_status(response: httpx.Response, outcome: Outcome, request: Request) -> None:
    if outcome is not Outcome.OK:
        where = ""
        if outcome is Outcome.NO_ENDPOINT:  # an event's, which is no secret
            where = f" at {request.url.netloc.decode()}{request.url.path}"
        retry_after = response.headers.get("retry-after")
        raise RequestError(
            outcome,
            f"status {response.status_code}{where}",
            status=response.status_code,
            retry_after=parse_retry_after(retry_after, now=datetime.now(timezone.utc)),
        )


def _not_connected(error: httpx.ConnectError, peer: str) -> RequestError:
    """Why there is no connection: what to do about it differs."""
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return RequestError(Outcome.UNTRUSTED, "the TLS certificate is not trusted")
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return RequestError(Outcome.LATER, f"no TLS with {peer}")
    reason = f"no connection to {peer}"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        reason = f"no address for {peer}"
    elif any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        reason = f"{peer} refuses connections"
    return RequestError(Outcome.LATER, reason)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that led to it; a host with several addresses has a group of them."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            behind = one.__cause__, one.__context__, *getattr(one, "exceptions", ())
            left += [cause for cause in behind if cause is not None]


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


def _is_of_others(record: logging.LogRecord) -> bool:
    """httpx logs every URL at INFO; the URLs of these requests are secrets."""
    return not _in_own_request.get()


def silence_request_logs() -> None:
    """No URL of this library's own requests is logged; other requests of httpx still are."""
    for name in _REQUEST_LOGGERS:
        logging.getLogger(name).addFilter(_is_of_others)  # adding it again does nothing
