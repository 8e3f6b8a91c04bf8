"""How long a call's delivery may take: as long as the call, and then a budget of some seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any


class Deadline:
    """Without end while the call runs; `close` starts the budget.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._closing = asyncio.Event()
        self._closed_at = self._began_at = 0.0
        self._budget = 0.0

    def begin(self) -> None:
        """From here on there is something to send."""
        self._began_at = self._clock()

    def close(self, budget: float) -> None:
        """The call is over: `budget` seconds are left. Closing again changes nothing."""
        if not self._closing.is_set():
            self._closed_at, self._budget = self._clock(), budget
            self._closing.set()

    async def closing(self) -> None:
        """Waits until the call is over."""
        await self._closing.wait()

    def time_left(self, share: float = 1.0) -> float:
        """Seconds until the share of the budget is spent; infinite while the call runs.

        Where the call was over before there was anything to send, it is a share of the rest.
        """
        if not self._closing.is_set():
            return float("inf")
        begin = max(self._closed_at, self._began_at)
        end = self._closed_at + self._budget
        return max(0.0, begin + (end - begin) * share - self._clock())

    async def pause(self, seconds: float) -> None:
        """Waits between tries; the end of the call cuts it short, once."""
        if self._closing.is_set():
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def run(self, work: Coroutine[Any, Any, None], share: float) -> None:
        """Runs a part of the delivery until it is done or its share of the budget is spent.

        What the work raises is raised here.
        """
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=self.time_left(share))
        finally:
            for pending in (task, closing):
                pending.cancel()
            await asyncio.gather(task, closing, return_exceptions=True)
        if not task.cancelled():
            task.result()
