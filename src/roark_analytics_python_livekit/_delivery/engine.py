"""The process's engine: one background thread with an event loop, for all calls of the process."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

TICK = 0.25  # seconds; with the recording's SETTLING, the last second that a kill may cost

T = TypeVar("T")
MakeLoop = Callable[[], asyncio.AbstractEventLoop]


class Job(Protocol):
    """What the engine runs."""

    name: str

    async def run(self) -> None:
        """Does the work, on the engine's loop."""

    def tick(self, *, ending: bool) -> None:
        """A tick has passed; `ending` says that the process's main thread is gone."""

    def over(self) -> None:
        """The work is over, or never began. Called once, on any thread."""


class Engine:
    """Runs jobs side by side on one thread, which starts with the first and ends with the last.

    The thread is not a daemon, so that the end of the process waits for what is being delivered:
    a job has to see that the main thread is gone, and then to end within its budget.

    Args:
        tick: Seconds between two ticks; one timer serves all jobs.
        make_loop: Makes the thread's loop: not the policy's, which is there for the agent.
    """

    def __init__(
        self, *, tick: float = TICK, make_loop: MakeLoop = asyncio.SelectorEventLoop
    ) -> None:
        self.seconds = tick
        self.make_loop = make_loop
        self.lock = threading.Lock()  # decides between "the last job is over" and "a new one"
        self.thread: EngineThread | None = None

    def submit(self, job: Job) -> None:
        """Runs a job as soon as the thread gets to it; waits for nothing.

        Raises:
            RuntimeError: The process can have no more threads.
        """
        with self.lock:
            if self.thread is None:
                thread = EngineThread(self)
                _thread.start_new_thread(thread.start, ())
                self.thread = thread
            self.thread.add(job)


class EngineThread:
    """The engine's thread, from a first job to a last one.

    Args:
        engine: Its lock guards the jobs and the loop.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: list[Job] = []
        self._new: deque[Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="roark", daemon=False)

    def add(self, job: Job) -> None:
        """Takes a job on; the caller holds the lock."""
        self._jobs.append(job)
        self._new.append(job)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin)

    def start(self) -> None:
        """Starts the thread, on one that may wait until it runs."""
        try:
            self._thread.start()
        except RuntimeError:  # no more threads: nobody should wait for this one
            self._give_up()

    def _run(self) -> None:
        try:
            # The jobs guard themselves: what gets here is the loop's own failure.
            with contextlib.suppress(Exception):
                self._serve(self._engine.make_loop())
        finally:
            self._give_up()

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.set_default_executor(LateThreads())
            loop.call_later(self._engine.seconds, self._tick, loop)
            with self._engine.lock:
                self._loop = loop
            self._begin()
            _run_until_stopped(loop)
        finally:
            _close(loop)

    def _begin(self) -> None:
        """Starts the jobs that are new."""
        assert self._loop is not None
        while self._new:
            job = self._new.popleft()
            task = self._loop.create_task(job.run(), name=job.name)
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._end, job))

    def _end(self, job: Job, task: asyncio.Task[None]) -> None:
        """A job is over; the last one takes the thread along."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the job guards itself: nobody else has to hear of it
        with self._engine.lock:
            self._jobs.remove(job)
            is_last = not self._jobs
            if is_last:
                self._retire()
        job.over()
        if is_last and self._loop is not None:
            self._loop.stop()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(self._engine.seconds, self._tick, loop)
        ending = not threading.main_thread().is_alive()
        for job in self._jobs:
            job.tick(ending=ending)

    def _give_up(self) -> None:
        """Nothing runs any more; there are jobs left only if the thread or its loop failed."""
        with self._engine.lock:
            self._retire()
            left, self._jobs = self._jobs, []
        for job in left:
            job.over()

    def _retire(self) -> None:
        """The next job gets another thread."""
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
    """A thread for each job, which is a host name to look up.

    A pool takes no more jobs once the main thread is gone, which is when a call has its last
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
