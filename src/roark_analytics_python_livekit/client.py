"""`RoarkClient`: Roark's endpoints for LiveKit calls, their authentication and connections.

RequestError            a request did not get a 2xx answer; `outcome` says what may help
└── its `status`, `retry_after` and `reason` hold no URL, no key and no body
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

import httpx

from ._config import (
    DEFAULT_BASE_URL,
    SettingsError,
    clean_api_key,
    clean_base_url,
    is_loopback,
)
from ._delivery.retry import Outcome, parse_retry_after, roark_outcome, upload_outcome
from ._types import ContentType

EVENTS_PATH = "/v1/integrations/livekit-sdk"
CHUNK_URL_PATH = "/v1/integrations/livekit-sdk/chunk-upload-url"
MAX_ANSWER_BYTES = 65_536  # the largest answer that is needed is a presigned URL
TOTAL_TIMEOUT = 30.0  # seconds for one request, however slowly the bytes drip
# Bytes a second. An upload has the time on top that it takes at this rate: half a Mbit/s, less than
# any uplink that carries a call's sound. A WAV of some minutes needs more than any fixed time.
MIN_UPLOAD_RATE = 64_000

_USER_AGENT = "roark-analytics-python-livekit"

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
class PresignedUpload:
    """Where one chunk goes: one PUT, soon, with exactly this content type."""

    url: str = field(repr=False)
    content_type: str


@dataclass(frozen=True)
class _Pools:
    """Two sets of connections that never mix: Roark's carries the key, the other nothing."""

    roark: httpx.AsyncClient
    uploads: httpx.AsyncClient
    process: int  # whose connections these are: a forked child makes its own

    async def aclose(self) -> None:
        await self.roark.aclose()
        await self.uploads.aclose()


class RoarkClient:
    """Speaks Roark's LiveKit endpoints; each method is one request, tried once.

    One client may be shared by any number of calls, threads and event loops: connections belong
    to the event loop that uses them, and are made there on first use. Redirects are not followed,
    answers are read up to 64 KiB, every request ends within 30 s, an upload within a second more
    for each 64 kB that it has.

    Args:
        api_key: The LiveKit integration's key. Sent to `base_url` only.
        base_url: Roark's origin, `https://api.roark.ai` by default. Plain http only on loopback.
        transport: An httpx transport for both kinds of requests, e.g. `httpx.ASGITransport`
            in tests; by default real connections.

    Raises:
        ValueError: For a key or a URL that cannot be used; the text never repeats the key.

    Example:
        ```python
        async with RoarkClient("rk_live_replace_me") as client:
            await client.post_event(event, idempotency_key=str(uuid4()))
        ```
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.api_key = clean_api_key(api_key)
        self.base_url = clean_base_url(base_url)
        self._transport = transport
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pools] = (
            weakref.WeakKeyDictionary()
        )
        _silence_request_logs()

    def __repr__(self) -> str:
        return f"RoarkClient(base_url={self.base_url!r})"

    async def post_event(self, event: Mapping[str, Any], *, idempotency_key: str) -> None:
        """Posts `call-started` or `call-ended`.

        Args:
            event: The event as wire-ready JSON values.
            idempotency_key: The same for every try of this very event.

        Raises:
            RequestError: Unless the answer is 2xx.
        """
        await self._post(EVENTS_PATH, event, {"idempotency-key": idempotency_key})

    async def create_upload(
        self, call_id: str, chunk_index: int, content_type: ContentType
    ) -> PresignedUpload:
        """Asks for a presigned URL for one chunk.

        Args:
            call_id: The call's `livekitCallId`.
            chunk_index: The chunk's place in the recording, from 0.
            content_type: What will be put there.

        Raises:
            RequestError: Unless the answer is 2xx and holds a usable URL.
        """
        body = await self._post(
            CHUNK_URL_PATH,
            {"livekitCallId": call_id, "chunkIndex": chunk_index, "contentType": content_type},
        )
        return _parse_upload(body, content_type)

    async def upload(
        self, upload: PresignedUpload, body: bytes | AsyncIterator[bytes], *, size: int
    ) -> None:
        """Puts one chunk where its presigned URL says; carries no credentials.

        Args:
            upload: Where, from `create_upload`.
            body: The bytes, at once or in parts.
            size: How many they are; storage servers want to know before.

        Raises:
            RequestError: Unless the answer is 2xx; `EXPIRED` where a fresh URL may help.
        """
        pool = self._here().uploads

        async def put() -> None:
            request = pool.build_request(
                "PUT",
                upload.url,
                content=body,
                headers={"content-type": upload.content_type, "content-length": str(size)},
            )
            await _send(pool, request, upload_outcome)

        await _bounded(put, upload_deadline(size))

    async def aclose(self) -> None:
        """Closes this event loop's connections; calling it again does nothing."""
        pools = self._pools.pop(asyncio.get_running_loop(), None)
        if pools is not None:
            await pools.aclose()

    async def __aenter__(self) -> RoarkClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> bytes:
        pool = self._here().roark

        async def post() -> bytes:
            request = pool.build_request(
                "POST",
                self.base_url + path,
                content=_encode(body),
                headers={"content-type": "application/json", **(headers or {})},
            )
            return await _send(pool, request, roark_outcome)

        return await _bounded(post, TOTAL_TIMEOUT)

    def _here(self) -> _Pools:
        """The pools of the running event loop.

        What cannot be used of the environment's proxy variables raises as it is: a URL in them is
        not the request's, which is no reason to give the request up.
        """
        loop = asyncio.get_running_loop()
        pools = self._pools.get(loop)
        if pools is None or pools.process != os.getpid():
            try:
                pools = self._pools[loop] = self._make_pools()
            except OSError as error:  # the certificates cannot be read
                raise RequestError(Outcome.RETRY, type(error).__name__) from None
        return pools

    def _make_pools(self) -> _Pools:
        auth = {"x-roark-api-key": self.api_key, "authorization": f"Bearer {self.api_key}"}
        return _Pools(roark=self._make_pool(auth), uploads=self._make_pool({}), process=os.getpid())

    def _make_pool(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            # identity: answers are small, and are read as they came, without a decoder
            headers={**headers, "user-agent": _USER_AGENT, "accept-encoding": "identity"},
            transport=self._transport,
            # Plain http is for this machine, and never passes one of the environment's proxies: it
            # would carry the key there in clear text. https does, through a tunnel.
            mounts={"http://": None},
            follow_redirects=False,
            timeout=httpx.Timeout(10.0, connect=5.0),
            limits=httpx.Limits(max_connections=8, keepalive_expiry=30.0),
        )


def _encode(body: Mapping[str, Any]) -> bytes:
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")  # lone surrogates have no place in UTF-8


def upload_deadline(size: int) -> float:
    """Seconds that the upload of so many bytes may take."""
    return TOTAL_TIMEOUT + size / MIN_UPLOAD_RATE


async def _bounded(request: Callable[[], Awaitable[T]], seconds: float) -> T:
    """The one place that gives a request its total deadline and translates foreign errors."""
    token = _in_own_request.set(True)
    try:
        return await asyncio.wait_for(request(), seconds)
    except (TimeoutError, asyncio.TimeoutError, httpx.TimeoutException):
        raise RequestError(Outcome.RETRY, "time-out") from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise RequestError(Outcome.REFUSED, "unusable URL") from None
    except httpx.HTTPError as error:
        untrusted = isinstance(error, httpx.ConnectError) and _is_certificate_error(error)
        if untrusted:
            raise RequestError(Outcome.UNTRUSTED, "the TLS certificate is not trusted") from None
        raise RequestError(Outcome.RETRY, type(error).__name__) from None
    except OSError as error:  # an upload's file cannot be read
        raise RequestError(Outcome.RETRY, type(error).__name__) from None
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


async def _send(
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


def _parse_upload(body: bytes, content_type: str) -> PresignedUpload:
    try:
        answer = json.loads(body)
        answer = answer.get("data", answer)
        url, signed = answer["uploadUrl"], answer.get("contentType") or content_type
        _check_upload_url(url)
        _check_content_type(signed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, httpx.InvalidURL):
        raise RequestError(Outcome.RETRY, "unusable answer (no upload URL)") from None
    return PresignedUpload(url=url, content_type=signed)


def _check_upload_url(url: object) -> None:
    if not isinstance(url, str):
        raise SettingsError("not a URL")
    parts = httpx.URL(url)
    if not parts.host:
        raise SettingsError("no host")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.host)):
        raise SettingsError("not an https URL")
    if parts.port is not None and not 0 < parts.port < 65_536:
        raise SettingsError("no such port")


def _check_content_type(value: object) -> None:
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise SettingsError("not fit for a header")


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


def _silence_request_logs() -> None:
    for name in _REQUEST_LOGGERS:
        logging.getLogger(name).addFilter(_drop_own_requests)  # adding it again does nothing
