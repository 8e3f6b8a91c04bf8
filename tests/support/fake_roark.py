"""Local Roark reached through a transport that keeps what was asked, and what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from local_roark import Faults, create_app
from tests.support.facts import KEY as KEY
from tests.support.received import call_file
from tests.support.wire_requests import EVENTS, UPLOAD_URL

BASE_URL = "http://localhost"


class Seen(NamedTuple):
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
    """The service, and a log of everything it was asked.

    Attributes:
        broken: What is answered with 503, for ever: `chunk 1`, say.
        broken_calls: Calls of which everything but uploads is answered so.
    """

    def __init__(self, calls: Path, faults: Faults | None = None) -> None:
        self.seen: list[Seen] = []
        self.broken: set[str] = set()
        self.broken_calls: set[str] = set()
        self._calls = calls
        self._app = httpx.ASGITransport(create_app(calls, api_keys={KEY}, faults=faults))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked: dict[str, Any] = {}
        if request.url.path in (EVENTS, UPLOAD_URL):
            asked = json.loads(await request.aread())
        index = asked.get("chunkIndex", request.url.params.get("index"))
        what = asked.get("event") or f"{'url' if asked else 'chunk'} {index}"
        response = None
        try:
            if what in self.broken or asked.get("livekitCallId") in self.broken_calls:
                response = httpx.Response(503)
            else:
                response = await self._app.handle_async_request(request)
        finally:
            status = response and response.status_code
            self.seen.append(Seen(what, status, request.headers.get("idempotency-key")))
        return response

    def asked(self, what: str) -> list[Seen]:
        """The requests of one kind, in order."""
        return [seen for seen in self.seen if seen.what.startswith(what)]

    def accepted(self, what: str = "") -> list[str]:
        """What was answered with 2xx, in order."""
        good = [seen.what for seen in self.asked(what) if seen.status == 200]
        return [what for what in good if not what.startswith("url")]

    def has_accepted(self, what: str) -> bool:
        return what in self.accepted()

    def call(self, call_id: str) -> dict[str, Any]:
        return call_file(self._calls, call_id)

    def recording(self, call_id: str) -> bytes:
        """The call's recording, header and all."""
        return (self._calls / call_id / "recording.wav").read_bytes()
