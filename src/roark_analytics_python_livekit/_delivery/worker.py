"""The process's engine, one background thread with an event loop, and the calls that run on it."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import functools
import math
import threading
from collections.abc import Awaitable, Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from .._diagnostics import logger
from .._process import shared
from .._queue import EventQueue

TICK = 0.25  # seconds; with the recording's SETTLING, the last second that a kill may cost

LOOK = 0.25  # seconds between two looks at whether the process ends
GRACE = 0.75  # seconds on top of the budget, until the process ends without what hangs

T = TypeVar("T")


class Worker:
    """Runs one call's `main` on the process's engine, beside other calls, until it returns."""

    def __init__(
        self,
        main: Callable[[EventQueue], Awaitable[None]],
        name: str,
        *,
        engine: Engine | None = None,
        budget: float = math.inf,
    ) -> None:
        self.queue = EventQueue()
        self.name = name
        self.budget = budget  # seconds that the process's end waits for it
        self._main = main
        self._engine = engine
        self._done: Future[None] = Future()

    @property
    def done(self) -> bool:
        """Whether the work is over."""
        return self._done.done()

    def start(self) -> None:
        """Hands the work to the engine's thread, without waiting; RuntimeError if there is none."""
        (self._engine or shared.keep("engine", Engine)).submit(self)

    async def wait(self, timeout: float) -> bool:
        """Waits on the caller's loop until the work is over, `timeout` seconds at most.

        By the real clock: the loop may have another, on which nothing takes time.
        """
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def wait() -> None:
            futures.wait([self._done], timeout)
            with contextlib.suppress(RuntimeError):  # the waiting loop is closed by now
                loop.call_soon_threadsafe(over.set)

        try:
            _thread.start_new_thread(wait, ())
        except RuntimeError:  # there can be no more threads
            return self.done
        await over.wait()
        return self.done

    async def run(self) -> None:
        """`main` guards itself; whatever it raises ends this call only."""
        try:
            self.queue.bind()
            await self._main(self.queue)
        except asyncio.CancelledError:  # the engine's loop failed, which is said
            pass
        except BaseException as error:
            logger.warning("roark: %s broke off (%s)", self.name, type(error).__name__)

    def over(self) -> None:
        """The work is over, or never began: ends every wait. Called once, on any thread."""
        self.queue.close()
        self._done.set_result(None)


class Engine:
    """Runs workers side by side on one thread, which starts with the first and ends with the last.

    The end of the process waits for what is being delivered: a worker has to see that nobody hands
    it anything any more, and then to end within its budget. What hangs is not waited for. One timer
    serves all workers, every `tick` seconds. The loop is not the policy's, which is the agent's.
    """

    def __init__(
        self,
        *,
        tick: float = TICK,
        make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop,
    ) -> None:
        self.seconds = tick
        self.make_loop = make_loop
        self.lock = threading.Lock()  # decides between "the last one is over" and "a new one"
        self.thread: EngineThread | None = None

    def submit(self, worker: Worker) -> None:
        """Runs a worker as soon as the thread gets to it; waits for nothing."""
        with self.lock:
            if self.thread is None:
                thread = EngineThread(self)
                _thread.start_new_thread(thread.start, ())
                self.thread = thread
            self.thread.add(worker)


class EngineThread:
    """The engine's thread, from a first worker to a last one; the engine's lock guards them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._workers: list[Worker] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = threading.Event()

    def add(self, worker: Worker) -> None:
        """Takes a worker on; the caller holds the lock."""
        self._workers.append(worker)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin, self._loop, worker)

    def start(self) -> None:
        """Starts the thread, on one that may wait until it runs."""
        try:
            threading.Thread(target=self._keep_process, name="roark-exit", daemon=False).start()
            threading.Thread(target=self._run, name="roark", daemon=True).start()
        except RuntimeError as error:  # no more threads: nobody should wait for this one
            self._give_up(error)

    def _keep_process(self) -> None:
        """The process's end waits for this thread, as long as the work may take.

        The work's own may hang for ever: on a disk, or in the `str()` of somebody's object.
        """
        workers: list[Worker] = []
        while not self._is_over.wait(LOOK):
            with self._engine.lock:
                workers = list(self._workers) or workers
            if workers and all(worker.queue.is_abandoned for worker in workers):
                budget = max(worker.budget for worker in workers)
                if not self._is_over.wait(min(budget + GRACE, threading.TIMEOUT_MAX)):
                    logger.warning("roark: something hangs: the process ends without it")
                return

    def _run(self) -> None:
        failure: Exception | None = None
        try:
            self._serve(self._engine.make_loop())
        except Exception as error:  # the loop's own: the workers guard themselves
            failure = error
        finally:
            self._give_up(failure)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.set_default_executor(LateThreads())
            loop.call_later(self._engine.seconds, self._tick, loop)
            with self._engine.lock:
                self._loop = loop
                for worker in self._workers:
                    self._begin(loop, worker)
            _run_until_stopped(loop)
        finally:
            _close(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
        task = loop.create_task(worker.run(), name=worker.name)
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._end, worker))

    def _end(self, worker: Worker, task: asyncio.Task[None]) -> None:
        """A worker is over; the last one takes the thread along."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the worker guards itself: nobody else has to hear of it
        with self._engine.lock:
            self._workers.remove(worker)
            is_last = not self._workers
            if is_last:
                self._retire()
        worker.over()
        if is_last and self._loop is not None:
            self._loop.stop()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(self._engine.seconds, self._tick, loop)
        for worker in self._workers:
            worker.queue.tick()

    def _give_up(self, failure: Exception | None) -> None:
        """Nothing runs any more; there are workers left only if the thread or its loop failed."""
        if failure is not None:
            name = type(failure).__name__
            logger.warning("roark: the background thread failed (%s): calls are not sent", name)
        with self._engine.lock:
            self._retire()
            left, self._workers = self._workers, []
        for worker in left:
            worker.over()
        self._is_over.set()

    def _retire(self) -> None:
        """The next worker gets another thread."""
        if self._engine.thread is self:
            self._engine.thread = None


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
            return
        except (SystemExit, KeyboardInterrupt):  # asyncio lets one task's end all: the others go on
            continue


def _close(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(BaseException):
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


class LateThreads(ThreadPoolExecutor):
    """A thread for each lookup of a host name: a pool has none once the main thread is gone.

    That is when a call has its last requests to make.
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
