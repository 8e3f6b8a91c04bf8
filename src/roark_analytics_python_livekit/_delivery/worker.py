"""One call on the engine, and the queue that leads there."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from .._process import shared
from .engine import Engine

MAX_WAITING = 20_000  # items; 100 s of two audio streams: only a dead or starved thread gets there
RESERVE = 2  # times as many, for what is not audio


class EventQueue:
    """A bounded queue from any thread to the engine; putting never waits.

    Args:
        limit: How many items may wait; what comes on top is dropped and counted.

    Attributes:
        dropped: Items that had no room.
        needs_ticks: Whether the taker wants each tick, also those without an item.
    """

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self.dropped = 0
        self.needs_ticks = True
        self._limit = limit
        self._closed = False
        self._items: deque[Any] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._is_waking = False

    def put(self, item: object) -> None:
        """Hands an item over; the engine looks at it within a tick."""
        if self._closed:
            return
        if len(self._items) >= self._limit:
            self.dropped += 1
        else:
            self._items.append(item)

    def put_urgent(self, item: object) -> None:
        """Hands an item over and wakes the engine. Such items are few: they have a reserve."""
        if self._closed:
            return
        if len(self._items) >= self._limit * RESERVE:
            self.dropped += 1
            return
        self._items.append(item)
        if self._loop is not None and not self._is_waking:
            self._is_waking = True
            with contextlib.suppress(RuntimeError):  # the engine is gone: nobody to wake
                self._loop.call_soon_threadsafe(self._wake_up)

    def close(self) -> None:
        """Nobody takes anything any more: what is put is forgotten."""
        self._closed = True
        self._items.clear()

    def bind(self) -> None:
        """Makes the running loop the one that is woken."""
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def tick(self, *, ending: bool = False) -> None:
        """Wakes the taker, if there is something for it; on its loop only.

        Args:
            ending: The process's main thread is gone.
        """
        if self._wake is not None and (self._items or self.needs_ticks or ending):
            self._wake.set()

    async def wait(self) -> None:
        """Waits for something urgent or a tick; not at all where items are waiting."""
        assert self._wake is not None, "bind() first"
        if not self._items:
            await self._wake.wait()
        self._wake.clear()

    async def take(self) -> list[Any]:
        """What waits now, once the loop's other tasks had their turn."""
        await asyncio.sleep(0)
        return [self._items.popleft() for _ in range(len(self._items))]

    def _wake_up(self) -> None:
        self._is_waking = False  # before the taker looks: what is put later wakes it again
        if self._wake is not None:
            self._wake.set()


class Worker:
    """Runs one call's `main` on the process's engine until it returns.

    Args:
        main: Gets the queue; runs on the engine's loop, beside the process's other calls.
        name: The name of its task.
        engine: Another engine than the process's, for tests.
    """

    def __init__(
        self,
        main: Callable[[EventQueue], Awaitable[None]],
        name: str,
        *,
        engine: Engine | None = None,
    ) -> None:
        self.queue = EventQueue()
        self.name = name
        self._main = main
        self._engine = engine
        self._done: Future[None] = Future()

    @property
    def done(self) -> bool:
        """Whether the work is over."""
        return self._done.done()

    def start(self) -> None:
        """Hands the work to the engine, without waiting for its thread to run.

        Raises:
            RuntimeError: The process can have no more threads.
        """
        (self._engine or shared.keep("engine", Engine)).submit(self)

    async def wait(self, timeout: float) -> bool:
        """Waits on the caller's loop until the work is over, `timeout` seconds at most."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def wake(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the waiting loop is closed by now
                loop.call_soon_threadsafe(over.set)

        self._done.add_done_callback(wake)
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(over.wait(), timeout)
        return self.done

    # For the engine

    async def run(self) -> None:
        """`main` guards itself; whatever it raises ends this call only."""
        with contextlib.suppress(BaseException):
            self.queue.bind()
            await self._main(self.queue)

    def tick(self, *, ending: bool) -> None:
        """Passes the tick on to whoever takes from the queue."""
        self.queue.tick(ending=ending)

    def over(self) -> None:
        """Ends every wait."""
        self._done.set_result(None)
