"""`RoarkClient`: Roark's endpoints for LiveKit calls, their authentication and connections.

RequestError            a request did not get a 2xx answer; `outcome` says what may help
└── its `status`, `retry_after` and `reason` hold no URL, no key and no body
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ._config import DEFAULT_BASE_URL, clean_api_key, clean_base_url, is_loopback
from ._delivery.stats import Outcome
from ._http import (
    RequestError,
    Timeouts,
    request,
    roark_outcome,
    silence_request_logs,
    upload_outcome,
)
from ._process import shared
from ._types import ContentType

__all__ = ["PresignedUpload", "RequestError", "RoarkClient"]

EVENTS_PATH = "/v1/integrations/livekit-sdk"
CHUNK_URL_PATH = "/v1/integrations/livekit-sdk/chunk-upload-url"

MAX_CONNECTIONS = 256  # of one kind in one loop: 64 calls' worth, and fewer than descriptors

_USER_AGENT = "roark-analytics-python-livekit"


@dataclass(frozen=True)
class PresignedUpload:
    """Where one chunk goes: one PUT, soon, with exactly this content type."""

    url: str = field(repr=False)
    content_type: str


class _Pools:
    """One event loop's connections, in sets that never mix.

    Roark's carry the key, those for uploads nothing. Plain http has sets of its own, which need no
    certificates: loading them takes 20 ms and more.
    """

    def __init__(self, make: Callable[[bool, bool], httpx.AsyncClient]) -> None:
        self.process = os.getpid()  # whose connections these are: a forked child makes its own
        self.made: dict[tuple[bool, bool], httpx.AsyncClient] = {}  # (with key, for https) → set
        self._make = make

    def get(self, *, with_key: bool, url: str) -> httpx.AsyncClient:
        """The set for a URL; made on first use."""
        kind = with_key, url[:7].lower() != "http://"
        if kind not in self.made:
            self.made[kind] = self._make(*kind)
        return self.made[kind]

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
        self._pools = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pools]()
        self._users = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int]()
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
        await request(
            self._pool(with_key=False, url=upload.url),
            "PUT",
            upload.url,
            content=body,
            headers={"content-type": upload.content_type, "content-length": str(size)},
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
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> bytes:
        return await request(
            self._pool(with_key=True, url=self.base_url),
            "POST",
            self.base_url + path,
            content=_encode(body),
            headers={"content-type": "application/json", **(headers or {})},
            classify=roark_outcome,
            seconds=self._timeouts.total,
        )

    def _pool(self, *, with_key: bool, url: str) -> httpx.AsyncClient:
        """The running event loop's connections for a URL.

        What cannot be used of the environment's proxy variables raises as it is: a URL in them is
        not the request's, which is no reason to give the request up.
        """
        loop = asyncio.get_running_loop()
        pools = self._pools.get(loop)
        if pools is None or pools.process != os.getpid():
            pools = self._pools[loop] = self._make_pools()
        try:
            return pools.get(with_key=with_key, url=url)
        except OSError as error:  # the certificates cannot be read
            raise RequestError(Outcome.LATER, type(error).__name__) from None

    def _make_pools(self) -> _Pools:
        return _Pools(self._make_pool)

    def _make_pool(self, with_key: bool, secure: bool) -> httpx.AsyncClient:
        # identity: answers are small, and are read as they came, without a decoder
        headers = {"user-agent": _USER_AGENT, "accept-encoding": "identity"}
        if with_key:
            headers |= {"x-roark-api-key": self.api_key, "authorization": f"Bearer {self.api_key}"}
        return httpx.AsyncClient(
            headers=headers,
            transport=self._transport,
            verify=True if self._transport else _trust() if secure else _trust_nobody(),
            # Plain http is for this machine, and never passes one of the environment's proxies: it
            # would carry the key there in clear text. https does, through a tunnel.
            trust_env=secure,
            mounts={"http://": None},
            follow_redirects=False,
            timeout=httpx.Timeout(10.0, connect=5.0),
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
