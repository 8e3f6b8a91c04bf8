"""One call's background thread, with an event loop of its own, and the queue that leads there."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

MAX_WAITING = 20_000  # items; 100 s of two audio streams: only a dead or starved thread gets there
RESERVE = 2  # times as many, for what is not audio
TICK = 0.1  # seconds between two looks at what does not wake the worker: audio

T = TypeVar("T")


class EventQueue:
    """A bounded queue from any thread to the worker; putting never waits.

    Args:
        limit: How many items may wait; what comes on top is dropped and counted.
        tick: Seconds between two looks at what does not wake the worker.

    Attributes:
        dropped: Items that had no room.
    """

    def __init__(self, limit: int = MAX_WAITING, *, tick: float = TICK) -> None:
        self.dropped = 0
        self._limit = limit
        self._tick = tick
        self._closed = False
        self._items: deque[Any] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def put(self, item: object) -> None:
        """Hands an item over; the worker looks at it within a tick."""
        if self._closed:
            return
        if len(self._items) >= self._limit:
            self.dropped += 1
        else:
            self._items.append(item)

    def put_urgent(self, item: object) -> None:
        """Hands an item over and wakes the worker. Such items are few: they have a reserve."""
        if self._closed:
            return
        if len(self._items) >= self._limit * RESERVE:
            self.dropped += 1
            return
        self._items.append(item)
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            with contextlib.suppress(RuntimeError):  # the worker is gone: nobody to wake
                loop.call_soon_threadsafe(wake.set)

    def close(self) -> None:
        """Nobody takes anything any more: what is put is forgotten."""
        self._closed = True
        self._items.clear()

    def bind(self) -> None:
        """Makes the running loop the one that is woken."""
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def take(self) -> list[Any]:
        """What waits, after at most a tick."""
        assert self._wake is not None, "bind() first"
        if self._items:
            await asyncio.sleep(0)  # the delivery is on this loop too
        else:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._tick)
        self._wake.clear()
        return [self._items.popleft() for _ in range(len(self._items))]


class Worker:
    """Runs one call's `main` on a thread of its own until it returns.

    The thread is not a daemon, so that the end of the process waits for what is being delivered:
    `main` has to see that the main thread is gone, and then to end within its budget.

    Args:
        main: Gets the queue; runs on the thread's own event loop.
        name: The thread's name.
        tick: Seconds between two looks at what does not wake the thread.
    """

    def __init__(
        self,
        main: Callable[[EventQueue], Awaitable[None]],
        name: str,
        *,
        tick: float = TICK,
    ) -> None:
        self.queue = EventQueue(tick=tick)
        self._main = main
        self._done: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=False)

    @property
    def done(self) -> bool:
        """Whether the thread's work is over."""
        return self._done.done()

    def start(self) -> None:
        """Starts the thread, without waiting for it to run as `Thread.start` does.

        Raises:
            RuntimeError: The process can have no more threads.
        """
        _thread.start_new_thread(self._start, ())

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # no more threads: nobody should wait for this one
            self._done.set_result(None)

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

    def _run(self) -> None:
        try:
            with contextlib.suppress(BaseException):  # `main` guards itself; the thread just ends
                asyncio.run(self._run_main())
        finally:
            self._done.set_result(None)

    async def _run_main(self) -> None:
        asyncio.get_running_loop().set_default_executor(_LateThreads())
        self.queue.bind()
        await self._main(self.queue)


class _LateThreads(ThreadPoolExecutor):
    """A thread for each job, which is a host name to look up.

    A pool takes no more jobs once the main thread is gone, which is when `main` has its last
    requests to make.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        try:
            threading.Thread(target=run, daemon=True).start()
        except RuntimeError:  # Python 3.12.0 and 3.12.1 start none by then: this one may block
            run()
        return future
