"""`RoarkClient`: Roark's endpoints for LiveKit calls, their authentication and connections.

RequestError            a request did not get a 2xx answer; `outcome` says what may help
└── its `status`, `retry_after` and `reason` hold no URL, no key and no body
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from ._config import DEFAULT_BASE_URL, clean_api_key, clean_base_url, is_loopback
from ._delivery.stats import Outcome
from ._http import (
    RequestError,
    Timeouts,
    parse_url,
    request,
    roark_outcome,
    silence_request_logs,
    upload_outcome,
    wall_clock_error,
)
from ._process import shared
from ._types import ContentType

__all__ = ["PresignedUpload", "RequestError", "RoarkClient"]

EVENTS_PATH = "/v1/integrations/livekit-sdk"
CHUNK_URL_PATH = "/v1/integrations/livekit-sdk/chunk-upload-url"

RIGHT_CLOCK = 3600.0  # seconds
MAX_CONNECTIONS = 256  # of one kind in one loop, for a client that many calls share

# identity: answers are small, and are read as they came, without a decoder
_HEADERS = {
    "user-agent": "roark-analytics-python-livekit",
    "accept": "*/*",
    "accept-encoding": "identity",
}


@dataclass(frozen=True)
class PresignedUpload:
    """Where one chunk goes: one PUT, soon, with exactly this content type."""

    url: str = field(repr=False)
    content_type: str


class _Pools:
    """One event loop's connections, in sets that never mix.

    Roark's carry the key, those for uploads nothing. Plain http has sets of its own, which need no
    certificates: loading them takes 20 ms and more. It is for this machine, and never passes one
    of the environment's proxies: it would carry the key there in clear text. https does, through a
    tunnel.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None) -> None:
        self.process = os.getpid()  # whose connections these are: a forked child makes its own
        self.made: dict[tuple[bool, bool, str | None], httpx.AsyncBaseTransport] = {}
        self._transport = transport
        self._proxies = getproxies()

    def get(self, *, with_key: bool, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """The set for a URL; made on first use."""
        secure = url.scheme != "http"
        proxy = self._proxy_for(url.host) if secure else None
        kind = with_key, secure, proxy
        if kind not in self.made:
            self.made[kind] = self._transport or _connections(secure, proxy)
        return self.made[kind]

    def _proxy_for(self, host: str) -> str | None:
        proxy = self._proxies.get("https") or self._proxies.get("all")
        if proxy is None or proxy_bypass(host):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    async def aclose(self) -> None:
        while self.made:
            await self.made.popitem()[1].aclose()


class RoarkClient:
    """Speaks Roark's LiveKit endpoints; each method is one request, tried once.

    One client may be shared by any number of calls, threads and event loops: connections belong
    to the event loop that uses them, and are made there on first use. Of several `async with` on
    one loop, the last to be left closes them. Redirects are not followed, answers are read up to
    64 KiB, every request ends within 30 s, an upload within a second more for each 64 kB.

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
        self._timeouts = Timeouts()
        self._events_url = httpx.URL(self.base_url + EVENTS_PATH)
        self._chunk_url = httpx.URL(self.base_url + CHUNK_URL_PATH)
        self._headers = {
            **_HEADERS,
            "x-roark-api-key": self.api_key,
            "authorization": f"Bearer {self.api_key}",
            "content-type": "application/json",
        }
        self._pools = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pools]()
        self._users = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int]()
        self._date: tuple[str, float] | None = None  # the service's, and the wall clock's then
        silence_request_logs()

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
        await self._post(self._events_url, event, {"idempotency-key": idempotency_key})

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
            self._chunk_url,
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
        headers = {"content-type": upload.content_type, "content-length": str(size)}
        url = parse_url(upload.url)
        await request(
            self._pool(with_key=False, url=url),
            "PUT",
            url,
            content=body,
            headers=_HEADERS | headers,
            classify=upload_outcome,
            seconds=self._timeouts.upload(size),
        )

    async def aclose(self) -> None:
        """Closes this event loop's connections; calling it again does nothing."""
        pools = self._pools.pop(asyncio.get_running_loop(), None)
        if pools is not None:
            await pools.aclose()

    async def __aenter__(self) -> RoarkClient:
        loop = asyncio.get_running_loop()
        self._users[loop] = self._users.get(loop, 0) + 1
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        loop = asyncio.get_running_loop()
        self._users[loop] -= 1
        if not self._users[loop]:
            await self.aclose()

    async def _post(
        self, url: httpx.URL, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> bytes:
        return await request(
            self._pool(with_key=True, url=url),
            "POST",
            url,
            content=_encode(body),
            headers={**self._headers, **(headers or {})},
            classify=roark_outcome,
            seconds=self._timeouts.total,
            on_success=self._hear_date,
        )

    def _hear_date(self, headers: httpx.Headers) -> None:
        if (date := headers.get("date")) is not None:
            self._date = date, time.time()

    def _clock_is_right(self) -> bool:
        """Whether the wall clock was within an hour of the service's when that last answered."""
        error = None if self._date is None else wall_clock_error(*self._date)
        return error is not None and abs(error) < RIGHT_CLOCK

    def _pool(self, *, with_key: bool, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """The running event loop's connections for a URL.

        What cannot be used of the environment's proxy variables raises as it is: a URL in them is
        not the request's, which is no reason to give the request up.
        """
        loop = asyncio.get_running_loop()
        pools = self._pools.get(loop)
        if pools is None or pools.process != os.getpid():
            pools = self._pools[loop] = _Pools(self._transport)
        try:
            return pools.get(with_key=with_key, url=url)
        except OSError as error:  # the certificates cannot be read
            raise RequestError(Outcome.LATER, type(error).__name__) from None


def _connections(secure: bool, proxy: str | None) -> httpx.AsyncBaseTransport:
    """A pool of connections. An `httpx.AsyncClient` on top would add a third to each request."""
    return httpx.AsyncHTTPTransport(
        verify=_trust() if secure else _trust_nobody(),
        proxy=proxy,
        # Each call limits what it has in flight: one that is slow takes no other's place.
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=8, keepalive_expiry=30.0
        ),
    )


def _trust() -> ssl.SSLContext:
    """The process's trusted certificates; loaded again where the environment names others."""
    where = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return shared.keep(("trust", *where), httpx.create_ssl_context)


def _trust_nobody() -> ssl.SSLContext:
    """For plain http: it costs nothing, and lets no TLS pass unchecked."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _encode(body: Mapping[str, Any]) -> bytes:
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")  # lone surrogates have no place in UTF-8


def _parse_upload(body: bytes, content_type: str) -> PresignedUpload:
    try:
        answer = json.loads(body)
        answer = answer.get("data", answer)
        url, signed = answer["uploadUrl"], answer.get("contentType") or content_type
        if not (_is_upload_url(url) and signed.isascii() and signed.isprintable()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, httpx.InvalidURL):
        raise RequestError(Outcome.LATER, "unusable answer (no upload URL)") from None
    return PresignedUpload(url=url, content_type=signed)


def _is_upload_url(text: str) -> bool:
    url = httpx.URL(text)
    is_safe = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host))
    return bool(url.host) and is_safe and (url.port is None or 0 < url.port < 65_536)
