"""`RoarkClient`: Roark's endpoints for LiveKit calls, their authentication and connections.

The methods that were published first answer and raise nothing. Those that the library uses raise,
so that it knows what may help:

RequestError            a request did not get a 2xx answer; `outcome` says what may help
└── its `status`, `retry_after` and `reason` hold no URL, no key and no body
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from ._config import DEFAULT_BASE_URL, clean_api_key, clean_base_url
from ._connections import Pools, Route
from ._delivery.stats import Outcome
from ._diagnostics import logger
from ._http import (
    HEADERS,
    Request,
    RequestError,
    Timeouts,
    check_accepted,
    event_outcome,
    roark_outcome,
    send,
    silence_request_logs,
    upload_outcome,
    wall_clock_error,
)
from ._presigned import PresignedUpload, upload_answer
from ._serialize import json_pieces
from ._types import ContentType

__all__ = ["PresignedUpload", "RequestError", "RoarkClient"]

EVENTS_PATH = "/v1/integrations/livekit-sdk"
CHUNK_URL_PATH = "/v1/integrations/livekit-sdk/chunk-upload-url"

RIGHT_CLOCK = 3600.0  # seconds


class RoarkClient:
    """Speaks Roark's LiveKit endpoints; each method is one request, tried once.

    One client may be shared by any number of calls, threads and event loops: connections belong
    to the event loop that uses them, and are made there on first use. Of several `async with` on
    one loop, the last to be left closes them. Redirects are not followed, answers are read up to
    64 KiB, every request ends within 30 s and one more for each 64 kB that it carries.

    Args:
        api_key: The LiveKit integration's key. Sent to `base_url` only.
        base_url: Roark's origin, `https://api.roark.ai` by default. Plain http only on loopback.
        transport: An httpx transport for both kinds of requests, e.g. `httpx.ASGITransport`
            in tests; by default real connections.

    Raises:
        ValueError: For a key or a URL that cannot be used; the text never repeats the key.

    Example:
        ```python
        client = RoarkClient(api_key="rk_live_replace_me")
        if not await client.post_call_started(payload):
            ...  # the log says why
        await client.aclose()
        ```
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        try:
            self.api_key = clean_api_key(api_key)
        finally:
            del api_key  # error reports print local variables
        self.base_url = clean_base_url(base_url)
        self._transport = transport
        self._timeouts = Timeouts()
        self._events_url = httpx.URL(self.base_url + EVENTS_PATH)
        self._chunk_url = httpx.URL(self.base_url + CHUNK_URL_PATH)
        self._headers = {
            **HEADERS,
            "x-roark-api-key": self.api_key,
            "authorization": f"Bearer {self.api_key}",
            "content-type": "application/json",
        }
        self._pools = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Pools]()
        self._users = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int]()
        self._date: tuple[str, float] | None = None  # the service's, and the wall clock's then
        silence_request_logs()

    def __repr__(self) -> str:
        return f"RoarkClient(base_url={getattr(self, 'base_url', '')!r})"

    async def post_call_started(self, payload: Mapping[str, Any]) -> bool:
        """Posts `call-started`, once.

        Args:
            payload: The event as wire-ready JSON values.

        Returns:
            Whether Roark accepted it. Nothing is raised; a warning says why not.
        """
        return await self._tell("call-started", payload)

    async def post_call_ended(self, payload: Mapping[str, Any]) -> bool:
        """Posts `call-ended`, once.

        Args:
            payload: The event as wire-ready JSON values.

        Returns:
            Whether Roark accepted it. Nothing is raised; a warning says why not.
        """
        return await self._tell("call-ended", payload)

    async def request_chunk_upload_url(
        self, livekit_call_id: str, chunk_index: int, content_type: str = "audio/pcm"
    ) -> Mapping[str, Any] | None:
        """Asks for a presigned URL for one chunk, once.

        Args:
            livekit_call_id: The call's `livekitCallId`.
            chunk_index: The chunk's place in the recording, from 0.
            content_type: What will be put there.

        Returns:
            The answer, with `uploadUrl`, `contentType` and what else the service says; None
            without a usable URL. Nothing is raised; a warning says why.
        """
        with _saying("asking for an upload URL"):
            return await self._ask(livekit_call_id, chunk_index, content_type)
        return None

    async def upload_chunk(
        self, upload_url: str, body: bytes, content_type: str = "audio/pcm"
    ) -> bool:
        """Puts one chunk where its presigned URL says, once; carries no credentials.

        Args:
            upload_url: Where, from `request_chunk_upload_url`.
            body: The chunk's bytes.
            content_type: The one that was asked for.

        Returns:
            Whether the storage took it. Nothing is raised; a warning says why not.
        """
        upload = PresignedUpload(upload_url, content_type)
        del upload_url  # error reports print local variables
        with _saying("an upload"):
            await self.upload(upload, body, size=len(body))
            return True
        return False

    async def post_event(self, event: Mapping[str, Any], *, idempotency_key: str) -> None:
        """Posts `call-started` or `call-ended`.

        Args:
            event: The event as wire-ready JSON values.
            idempotency_key: The same for every try of this very event.

        Raises:
            RequestError: Unless the answer is 2xx, with JSON or without a body.
        """
        headers = {"idempotency-key": idempotency_key}
        check_accepted(await self._post(self._events_url, event, headers, event_outcome))

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
        answer = await self._ask(call_id, chunk_index, content_type)
        return PresignedUpload(answer["uploadUrl"], answer.get("contentType") or content_type)

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
        request = upload.request(body, size)
        await send(
            self._route(request, with_key=False),
            request,
            classify=upload_outcome,
            seconds=self._timeouts.sending(size),
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

    async def _tell(self, name: str, payload: Mapping[str, Any]) -> bool:
        with _saying(name):
            payload, digest = dict(payload), hashlib.sha256()
            for piece in json_pieces(payload):
                digest.update(piece)
            key = str(uuid.UUID(bytes=digest.digest()[:16]))  # the same event has the same one
            await self.post_event(payload, idempotency_key=key)
            return True
        return False

    async def _ask(self, call_id: str, chunk_index: int, content_type: str) -> Mapping[str, Any]:
        """The answer to the question where a chunk goes."""
        asked = {"livekitCallId": call_id, "chunkIndex": chunk_index, "contentType": content_type}
        return upload_answer(
            await self._post(self._chunk_url, asked, {}, roark_outcome), self._chunk_url
        )

    async def _post(
        self,
        url: httpx.URL,
        body: Mapping[str, Any],
        headers: dict[str, str],
        classify: Callable[[int], Outcome],
    ) -> bytes:
        pieces = list(json_pieces(body))
        size = sum(map(len, pieces))
        content = pieces[0] if len(pieces) == 1 else _one_by_one(pieces)
        headers = headers | {"content-length": str(size)}
        request = Request("POST", url, content=content, headers=self._headers | headers)
        return await send(
            self._route(request, with_key=True),
            request,
            classify=classify,
            seconds=self._timeouts.sending(size),
            on_success=self._hear_date,
        )

    def _hear_date(self, headers: httpx.Headers) -> None:
        if (date := headers.get("date")) is not None:
            self._date = date, time.time()

    def _clock_is_right(self) -> bool:
        """Whether the wall clock was within an hour of the service's when that last answered."""
        error = None if self._date is None else wall_clock_error(*self._date)
        return error is not None and abs(error) < RIGHT_CLOCK

    def _route(self, request: Request, *, with_key: bool) -> Route:
        """The running event loop's connections for a request.

        What cannot be used of the environment's proxy variables raises as it is: a URL in them is
        not the request's, which is no reason to give the request up.
        """
        loop = asyncio.get_running_loop()
        pools = self._pools.get(loop)
        if pools is None or pools.process != os.getpid():
            pools = self._pools[loop] = Pools(self._transport)
        try:
            return pools.route(request, with_key=with_key)
        except OSError as error:  # the certificates cannot be read
            raise RequestError(Outcome.LATER, type(error).__name__) from None


async def _one_by_one(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Says why `what` failed, instead of raising it; never what was sent, nor where to."""
    try:
        yield
    except RequestError as error:
        logger.warning("roark: %s failed: %s", what, error.reason)
    except Exception as error:  # what was given is no JSON, say: the error's text may repeat it
        logger.warning("roark: %s failed: %s", what, type(error).__name__)
