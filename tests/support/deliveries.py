"""A delivery under test: its parts, and the call that it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.outbox import Outbox
from roark_analytics_python_livekit._delivery.uploader import Uploader
from roark_analytics_python_livekit._diagnostics import Guard
from tests.support.wire import ended, started

CALL = "RM_1"
RATE = 24_000
STARTED = started(livekitCallId=CALL)
ENDED = ended(livekitCallId=CALL)


class Shipping:
    """A delivery that runs; of its waits only the part `jitter` is waited: none."""

    def __init__(
        self,
        client: RoarkClient,
        *,
        limits: Limits = DEFAULT_LIMITS,
        jitter: float = 0.0,
        outbox: Outbox | None = None,
        **options: Any,
    ) -> None:
        self.outbox = outbox or Outbox(limits=limits)
        self.guard = Guard()
        self.ended_asked = False
        self.uploader = Uploader(
            client,
            CALL,
            self.outbox,
            guard=self.guard,
            limits=limits,
            jitter=lambda: jitter,
            **options,
        )
        self.stats = self.uploader.stats
        self.task = asyncio.ensure_future(self.uploader.run(STARTED, self._make_ended))

    def record(self, pcm: bytes) -> None:
        self.outbox.append_pcm(pcm)
        self.uploader.chunk_ready()

    async def finish(self, budget: float = 60.0) -> None:
        """Ends the call, and waits until the delivery is over."""
        self.uploader.close(budget)
        self.outbox.finish_recording(RATE)
        self.uploader.recording_finished()
        await asyncio.wait_for(self.task, 30)

    @property
    def lost(self) -> list[int]:
        return sorted(chunk.index for chunk in self.uploader.lost)

    async def _make_ended(self) -> Mapping[str, Any]:
        self.ended_asked = True
        return ENDED


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), seconds)
