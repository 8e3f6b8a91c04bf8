"""Local Roark through a transport that keeps what was asked; and what it has of a call."""

from __future__ import annotations

import json
import wave
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import numpy.typing as npt

from local_roark import Faults, create_app
from tests.support.wire import EVENTS, UPLOAD_URL


def call_file(calls: Path, call_id: str = "RM_1") -> dict[str, Any]:
    return dict(json.loads((calls / call_id / "call.json").read_text()))


def recording(calls: Path, call_id: str = "RM_1") -> tuple[int, npt.NDArray[np.int16]]:
    """(rate, samples × 2) of a call's recording."""
    with wave.open(str(calls / call_id / "recording.wav")) as wav:
        assert (wav.getnchannels(), wav.getsampwidth()) == (2, 2)
        samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
        return wav.getframerate(), samples.reshape(-1, 2)


def taken_at(call: dict[str, Any], **what: object) -> list[float]:
    """When each delivery with these items was taken (status 200), as times of day in seconds."""
    return [
        datetime.fromisoformat(delivery["at"].replace("Z", "+00:00")).timestamp()
        for delivery in call["deliveries"]
        if {**what, "status": 200}.items() <= delivery.items()
    ]


KEY = "rk_live_replace_me"
BASE_URL = "http://localhost"


class Seen(NamedTuple):
    """One request that reached the service's door."""

    what: str  # `call-started`, `call-ended`, `url 3` or `chunk 3`
    status: int | None  # None where nothing was answered
    key: str | None  # for idempotency


class Roark(httpx.AsyncBaseTransport):
    """The service, and a log of everything it was asked."""

    def __init__(self, calls: Path, faults: Faults | None = None) -> None:
        self.seen: list[Seen] = []
        self.broken: set[str] = set()  # `chunk 1`, say: answered with 503, for ever
        self.broken_calls: set[str] = set()  # all but their uploads is answered so
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

    def call(self, call_id: str) -> dict[str, Any]:
        return call_file(self._calls, call_id)

    def recording(self, call_id: str) -> bytes:
        """The call's recording, header and all."""
        return (self._calls / call_id / "recording.wav").read_bytes()
