"""What bounds a call's delivery: how much waits and is sent at once, and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

MAX_RETRY_AFTER = 60.0  # seconds; a service that asks for more is not waited for that long


@dataclass(frozen=True)
class RetryPolicy:
    """Full jitter: before retry n, wait a random part of min(cap, base * 2**n) seconds."""

    base: float = 0.5
    cap: float = 15.0
    burst: int = 20  # retries of one call that may come at once
    rate: float = 1.0  # retries a second after that

    def delay(
        self,
        attempt: int,
        *,
        jitter: float,
        time_left: float,
        retry_after: float | None = None,
        quota: float = 0.0,
    ) -> float | None:
        """Seconds to wait after failed attempt number `attempt` (from 0), or None to stop.

        `jitter` is from [0, 1). The service asked for `retry_after`, the retry quota for `quota`
        seconds: minima, the first one clamped. No retry begins after the deadline.
        """
        wait = jitter * min(self.cap, self.base * 2.0 ** min(attempt, 16))
        wait = max(wait + min(retry_after or 0.0, MAX_RETRY_AFTER), quota)
        return wait if wait < time_left else None


@dataclass(frozen=True)
class Limits:
    """The limits of one call's delivery."""

    chunk_bytes: int = 256 * 1024  # of each chunk but the last: about what the service expects
    max_memory: int = 64 * 1024**2  # bytes of PCM, 11 minutes at 24 kHz; those on top are silence
    max_journal: int = 16 * 1024**2  # bytes, hundreds of hours of talk; records on top are dropped
    in_flight: int = 3  # chunks that are uploaded at the same time
    tries_in_a_row: int = 4  # of one chunk, before the others get their turn
    fresh_urls: int = 4  # for one chunk, as each may turn out to be expired
    # The parts of the budget after which call-started and the chunks are given up. The rest belongs
    # to call-ended, which matters most.
    started_share: float = 0.3
    chunks_share: float = 0.7
    # Of each request; None makes as many as the time allows. The rest of the call is not tried once
    # call-started had so many, nor the other chunks once the first few had.
    tries: int | None = None
    retry: RetryPolicy = RetryPolicy()


DEFAULT_LIMITS = Limits()


class Deadline:
    """Without end while the call runs; `close` starts a budget of seconds, by a monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._closing = asyncio.Event()
        self._closed_at = self._began_at = self._budget = 0.0

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
        closing = asyncio.ensure_future(self._closing.wait())
        try:  # `wait_for` may swallow a cancellation until Python 3.12
            await asyncio.wait({closing}, timeout=seconds)
        finally:
            closing.cancel()

    async def run(self, work: Coroutine[Any, Any, None], share: float) -> None:
        """Runs a part of the delivery until it is done, raises, or its share is spent."""
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
