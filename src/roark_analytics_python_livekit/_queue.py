"""The bounded queue from the agent's side to the worker."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import Any

MAX_WAITING = 20_000  # items; 100 s of two audio streams: only a dead or starved thread gets there
RESERVE = 2  # times as many, for what is not audio
IN_A_ROW = 1.0  # seconds


class EventQueue:
    """Takes items from any thread; putting never waits. It is made where the agent runs."""

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self.dropped = 0  # items that came on top of the limit
        self.lost: list[tuple[float, float]] = []  # from when to when items of audio did
        self.needs_ticks = True  # the taker wants each one, also those without an item
        self._limit = limit
        self._closed = False
        self._items: deque[Any] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._source = threading.current_thread()
        self._wake = asyncio.Event()
        self._is_waking = False

    def put(self, item: Any) -> None:
        """Hands over an item of audio, which has a moment `at`; the taker sees it within a tick."""
        if self._closed:
            return
        if len(self._items) >= self._limit:
            self.dropped += 1
            self._note_lost(item.at)
        else:
            self._items.append(item)

    def put_urgent(self, item: object) -> None:
        """Hands an item over and wakes the taker. Such items are few: they have a reserve."""
        if self._closed:
            return
        if len(self._items) >= self._limit * RESERVE:
            self.dropped += 1
            return
        self._items.append(item)
        if self._loop is not None and not self._is_waking:
            self._is_waking = True
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody to wake
                self._loop.call_soon_threadsafe(self._wake_up)

    def put_last(self, item: object) -> None:
        """Hands over the item without which the taker would not end: there is room for it."""
        self._limit += not self._closed
        self.put_urgent(item)

    def _note_lost(self, at: float) -> None:
        """One span for what is lost in a row; of the first item dropped to the last."""
        if self.lost and at - self.lost[-1][1] < IN_A_ROW:
            self.lost[-1] = self.lost[-1][0], at
        else:
            self.lost.append((at, at))

    @property
    def is_abandoned(self) -> bool:
        """Whether the process ends: neither the main thread is left, nor the agent's.

        The process waits for the agent's thread, unless that is a daemon.
        """
        threads = (threading.main_thread(), self._source)
        return not any(thread.is_alive() and not thread.daemon for thread in threads)

    def close(self) -> None:
        """Nobody takes anything any more: what is put is forgotten."""
        self._closed = True
        self._items.clear()

    def bind(self) -> None:
        """Makes the running loop the one that is woken."""
        self._loop = asyncio.get_running_loop()

    def tick(self) -> None:
        """Wakes the taker, if there is something for it or the process ends; on its loop only."""
        if self._items or self.needs_ticks or self.is_abandoned:
            self._wake.set()

    async def wait(self) -> None:
        """Waits for something urgent or a tick; not at all where items are waiting."""
        if not self._items:
            await self._wake.wait()
        self._wake.clear()

    async def take(self) -> list[Any]:
        """What waits now, once the loop's other tasks had their turn."""
        await asyncio.sleep(0)
        return [self._items.popleft() for _ in range(len(self._items))]

    def _wake_up(self) -> None:
        self._is_waking = False  # before the taker looks: what is put later wakes it again
        self._wake.set()
