"""A delivery under test: its parts, and the call that it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.outbox import Outbox
from roark_analytics_python_livekit._delivery.uploader import Uploader
from roark_analytics_python_livekit._diagnostics import Guard
from tests.support.wire import ended, started

CALL = "RM_1"
RATE = 24_000
STARTED = started(livekitCallId=CALL)
ENDED = ended(livekitCallId=CALL)


class Shipping:
    """A delivery that runs, of a recording that a test writes.

    Args:
        client: Where it goes.
        store: By default chunks in memory.
        jitter: The part of each wait that is waited: none, so that waits have no length.
        options: Others for the `Uploader`.
    """

    def __init__(
        self,
        client: RoarkClient,
        *,
        store: Outbox | None = None,
        jitter: float = 0.0,
        **options: Any,
    ) -> None:
        self.store = store or Outbox()
        self.guard = Guard()
        self.ended_asked = False
        self.delivery = Uploader(
            client, CALL, self.store, guard=self.guard, jitter=lambda: jitter, **options
        )
        self.stats = self.delivery.stats
        self.task = asyncio.ensure_future(self.delivery.run(STARTED, self._make_ended))

    def record(self, pcm: bytes) -> None:
        """The recording's next samples."""
        self.store.append(pcm)
        self.delivery.chunk_ready()

    async def finish(self, budget: float = 60.0) -> None:
        """Ends the call, and waits until the delivery is over."""
        self.delivery.close(budget)
        self.store.seal(RATE)
        self.delivery.sealed()
        await asyncio.wait_for(self.task, 30)

    @property
    def lost(self) -> list[int]:
        """The indices of the chunks that were given up."""
        return sorted(chunk.index for chunk in self.delivery.lost)

    async def _make_ended(self) -> Mapping[str, Any]:
        self.ended_asked = True
        return ENDED


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits for a condition."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), seconds)
