"""Local Roark reached through a transport that notes what was asked, and what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

KEY = "rk_live_replace_me"
BASE_URL = "http://localhost"
EVENTS = "/v1/integrations/livekit-sdk"
CHUNK_URL = f"{EVENTS}/chunk-upload-url"


@dataclass(frozen=True)
class Seen:
    """One request that reached the service's door.

    Attributes:
        what: `call-started`, `call-ended`, `url 3` or `chunk 3`.
        status: The answer's, or None where there was none.
        key: The idempotency key, where it had one.
    """

    what: str
    status: int | None
    key: str | None


class Roark(httpx.AsyncBaseTransport):
    """The service, and a log of everything it was asked."""

    def __init__(self, inner: httpx.AsyncBaseTransport, root: Path) -> None:
        self.seen: list[Seen] = []
        self.broken: set[str] = set()
        """What is answered with 503, for ever: `chunk 1`, say."""
        self.broken_calls: set[str] = set()
        """Calls of which everything is answered with 503, for ever."""
        self._inner = inner
        self._root = root

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        what, status = _what(request, body), None
        try:
            if what in self.broken or _call_of(request, body) in self.broken_calls:
                response = httpx.Response(503)
            else:
                response = await self._inner.handle_async_request(request)
            status = response.status_code
        finally:
            self.seen.append(Seen(what, status, request.headers.get("idempotency-key")))
        return response

    def asked(self, what: str) -> list[Seen]:
        """The requests of one kind, in order."""
        return [seen for seen in self.seen if seen.what.startswith(what)]

    def accepted(self, what: str = "") -> list[str]:
        """What was answered with 2xx, in order."""
        good = [seen for seen in self.asked(what) if seen.status == 200]
        return [seen.what for seen in good if not seen.what.startswith("url")]

    def has_accepted(self, what: str) -> bool:
        """Whether something was answered with 2xx."""
        return what in self.accepted()

    def call(self, call_id: str) -> dict[str, Any]:
        """What the service kept of a call."""
        record: dict[str, Any] = json.loads((self._root / call_id / "call.json").read_bytes())
        return record

    def recording(self, call_id: str) -> bytes:
        """The call's recording, header and all."""
        return (self._root / call_id / "recording.wav").read_bytes()


def _what(request: httpx.Request, body: bytes) -> str:
    if request.url.path == EVENTS:
        return str(json.loads(body)["event"])
    if request.url.path == CHUNK_URL:
        return f"url {json.loads(body)['chunkIndex']}"
    return f"chunk {request.url.params['index']}"


def _call_of(request: httpx.Request, body: bytes) -> str | None:
    """None for an upload: it is not asked for where no URL is given."""
    if request.url.path in (EVENTS, CHUNK_URL):
        return str(json.loads(body)["livekitCallId"])
    return None
