"""A delivery under test: its parts, and the call that it sends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.outbox import Outbox
from roark_analytics_python_livekit._delivery.retry import DEFAULT_POLICY, RetryPolicy
from roark_analytics_python_livekit._delivery.uploader import Uploader
from roark_analytics_python_livekit._diagnostics import Guard

CALL = "RM_1"
RATE = 24_000
AT = "2025-11-24T08:19:03.412Z"
STARTED = {
    "event": "call-started",
    "livekitCallId": CALL,
    "eventTimestamp": AT,
    "agentId": "support",
    "isTest": False,
}
ENDED = {
    "event": "call-ended",
    "livekitCallId": CALL,
    "eventTimestamp": AT,
    "callStartedAt": AT,
    "callEndedAt": AT,
    "callEndedReason": "user_initiated",
    "recordingSampleRate": RATE,
    "recordingNumChannels": 2,
}


class Shipping:
    """A delivery that runs, of a recording that a test writes.

    Args:
        client: Where it goes.
        policy: By default the real one, with waits of no length.
        limits: By default the real ones.
        jitter: The part of each wait that is waited.
        clock: Monotonic seconds.
        outbox: By default chunks in memory.
        ended: The event at its end.
    """

    def __init__(
        self,
        client: RoarkClient,
        *,
        policy: RetryPolicy = DEFAULT_POLICY,
        limits: Limits = DEFAULT_LIMITS,
        jitter: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        outbox: Outbox | None = None,
        ended: Mapping[str, Any] = ENDED,
    ) -> None:
        self.outbox = outbox or Outbox(limits=limits)
        self.guard = Guard()
        self.ended_asked = False
        self._ended = ended
        self.uploader = Uploader(
            client,
            CALL,
            self.outbox,
            guard=self.guard,
            policy=policy,
            limits=limits,
            clock=clock,
            jitter=lambda: jitter,
        )
        self.stats = self.uploader.stats
        self.task = asyncio.ensure_future(self.uploader.run(STARTED, self._make_ended))

    def record(self, pcm: bytes) -> None:
        """The recording's next samples."""
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
        """The indices of the chunks that were given up."""
        return sorted(chunk.index for chunk in self.uploader.lost)

    async def _make_ended(self) -> Mapping[str, Any]:
        self.ended_asked = True
        return self._ended


async def until(condition: Callable[[], object]) -> None:
    """Waits for a condition, ten seconds at most."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), 10)
