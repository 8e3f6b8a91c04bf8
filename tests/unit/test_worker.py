"""The engine and its queues: bounded, awake in time, and gone when all is done."""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from roark_analytics_python_livekit._delivery import worker as worker_module
from roark_analytics_python_livekit._delivery.worker import TICK, Engine, Worker
from roark_analytics_python_livekit._queue import EventQueue


async def nothing(queue: EventQueue) -> None:
    """Work that is over at once."""


class Work:
    """Work that lasts until it is told to end, and notes what it got."""

    def __init__(self) -> None:
        self.items: list[object] = []
        self.got = threading.Event()
        self.thread: threading.Thread | None = None

    async def __call__(self, queue: EventQueue) -> None:
        self.thread = threading.current_thread()
        while "end" not in self.items:
            await queue.wait()
            self.items += await queue.take()
            if self.items:
                self.got.set()


class TestEventQueue:
    """The queue."""

    async def test_items_are_taken_in_the_order_they_were_put(self) -> None:
        """By either way."""
        queue = EventQueue()
        queue.bind()
        for number in range(5):
            (queue.put if number % 2 else queue.put_urgent)(number)
        assert await queue.take() == [0, 1, 2, 3, 4]

    async def test_what_is_put_before_the_thread_runs_is_not_lost(self) -> None:
        """The call begins before its thread does."""
        queue = EventQueue()
        queue.put_urgent("early")
        queue.put("audio")
        queue.bind()
        assert await queue.take() == ["early", "audio"]

    async def test_it_is_bounded_and_counts_what_it_drops(self) -> None:
        """The newest is dropped; what matters most is taken all the same."""
        queue = EventQueue(limit=3)
        queue.bind()
        items = [SimpleNamespace(at=float(number)) for number in range(5)]
        for item in items:
            queue.put(item)
        queue.put_urgent("the end")
        assert queue.dropped == 2
        assert await queue.take() == [*items[:3], "the end"]
        queue.put(items[4])
        assert await queue.take() == [items[4]]

    async def test_it_says_when_what_it_drops_came(self) -> None:
        """What is lost in a row is one span."""
        queue = EventQueue(limit=0)
        for at in (1.0, 1.9, 2.8, 5.0, 9.0, 9.5):
            queue.put(SimpleNamespace(at=at))
        assert queue.lost == [(1.0, 2.8), (5.0, 5.0), (9.0, 9.5)]

    async def test_the_last_item_is_never_dropped(self) -> None:
        """Its call would not end; once it is closed nothing is taken."""
        queue = EventQueue(limit=1)
        for number in range(5):
            queue.put_urgent(number)
        queue.put_last("the end")
        assert await queue.take() == [0, 1, "the end"]
        queue.close()
        queue.put_last("again")
        assert await queue.take() == []

    async def test_what_matters_most_is_bounded_too(self) -> None:
        """Twice as many: only a thread that takes nothing at all gets there."""
        queue = EventQueue(limit=3)
        queue.bind()
        for number in range(10):
            queue.put_urgent(number)
        assert queue.dropped == 4
        assert await queue.take() == [0, 1, 2, 3, 4, 5]

    async def test_what_matters_most_wakes_without_a_tick(self) -> None:
        """Events are shipped at once: here no tick ever comes."""
        queue = EventQueue()
        queue.bind()
        waiting = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0)
        threading.Thread(target=queue.put_urgent, args=("now",)).start()
        await asyncio.wait_for(waiting, 10)
        assert await queue.take() == ["now"]

    async def test_many_at_once_wake_it_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A burst of events costs one wake-up; what comes after it costs another."""
        queue, wakes = EventQueue(), []
        queue.bind()
        loop = SimpleNamespace(call_soon_threadsafe=wakes.append)
        monkeypatch.setattr(queue, "_loop", loop)
        for number in range(3):
            queue.put_urgent(number)
        assert len(wakes) == 1
        wakes.pop()()
        await queue.wait()
        queue.put_urgent(3)
        assert len(wakes) == 1
        assert await queue.take() == [0, 1, 2, 3]

    async def test_audio_is_looked_at_once_a_tick(self) -> None:
        """It does not wake the thread, 200 times a second."""
        queue = EventQueue()
        queue.bind()
        waiting = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0)
        queue.put("audio")
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        queue.tick()
        await asyncio.wait_for(waiting, 10)
        assert await queue.take() == ["audio"]

    @pytest.mark.parametrize(
        ("needs_ticks", "is_abandoned", "wakes"),
        [(True, False, True), (False, False, False), (False, True, True)],
    )
    async def test_a_tick_without_an_item_wakes_who_wants_it(
        self,
        needs_ticks: bool,
        is_abandoned: bool,
        wakes: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A recording goes on in silence; a call without one only looks out for the end."""
        queue = EventQueue()
        queue.bind()
        queue.needs_ticks = needs_ticks
        waiting = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0)
        monkeypatch.setattr(EventQueue, "is_abandoned", is_abandoned)
        queue.tick()
        for _ in range(5):
            await asyncio.sleep(0)
        assert waiting.done() is wakes
        waiting.cancel()

    async def test_a_tick_brings_what_waits_to_whoever_wants_no_others(self) -> None:
        """It did not wake the thread itself."""
        queue = EventQueue()
        queue.bind()
        queue.needs_ticks = False
        waiting = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0)
        queue.put("item")
        queue.tick()
        await asyncio.wait_for(waiting, 10)
        assert await queue.take() == ["item"]

    async def test_what_was_not_taken_is_not_waited_for(self) -> None:
        """Neither by a wake-up nor by a tick."""
        queue = EventQueue()
        queue.bind()
        queue.put("audio")
        await asyncio.wait_for(queue.wait(), 10)
        assert await queue.take() == ["audio"]

    async def test_a_full_queue_leaves_the_loop_to_others(self) -> None:
        """The delivery runs on the same loop, and must not starve under a backlog."""
        queue = EventQueue()
        queue.bind()
        turns = 0

        async def other() -> None:
            nonlocal turns
            while turns < 10:
                turns += 1
                await asyncio.sleep(0)

        delivering = asyncio.ensure_future(other())
        for _ in range(20):
            queue.put("audio")
            await queue.wait()
            await queue.take()
        assert delivering.done()

    def test_putting_into_the_queue_of_a_thread_that_is_gone_is_harmless(self) -> None:
        """A late event of a call that is over."""
        queue = EventQueue()

        async def bind() -> None:
            queue.bind()

        asyncio.run(bind())
        queue.put_urgent("late")
        queue.put("late")
        assert queue.dropped == 0


class TestWorker:
    """One call on the engine."""

    async def test_it_runs_the_work_on_the_engines_thread_until_it_returns(self) -> None:
        """A daemon: the process's end waits for another, which knows how long it may take."""
        work = Work()
        worker = Worker(work, name="roark-RM_1")
        worker.start()
        worker.queue.put_urgent("end")
        assert await worker.wait(10)
        assert worker.done
        assert work.thread is not None
        assert (work.thread.name, work.thread.daemon) == ("roark", True)
        await gone(work.thread)

    async def test_work_that_raises_ends_the_wait(self) -> None:
        """An error in there must not hang the job's shutdown."""

        async def broken(queue: EventQueue) -> None:
            raise RuntimeError("internal")

        worker = Worker(broken, name="roark")
        worker.start()
        assert await worker.wait(10)

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    async def test_so_does_work_that_is_torn_down(self, error: type[BaseException]) -> None:
        """Whatever ends the work."""
        threads: list[threading.Thread] = []

        async def torn(queue: EventQueue) -> None:
            threads.append(threading.current_thread())
            raise error

        worker = Worker(torn, name="roark")
        worker.start()
        assert await worker.wait(10)
        await gone(threads[0])

    async def test_a_wait_is_over_at_its_time_and_the_work_goes_on(self) -> None:
        """What is not delivered by then may still be."""
        work = Work()
        worker = Worker(work, name="roark")
        worker.start()
        assert not await worker.wait(0.01)
        assert not worker.done
        worker.queue.put_urgent("end")
        assert await worker.wait(10)

    def test_the_thread_may_outlive_the_loop_that_waited(self) -> None:
        """The job's loop is closed; the thread finishes later, and nobody complains."""
        work = Work()
        worker = Worker(work, name="roark")
        worker.start()
        assert not asyncio.run(worker.wait(0.01))
        worker.queue.put_urgent("end")
        assert asyncio.run(worker.wait(10))
        assert work.thread is not None
        work.thread.join(10)
        assert not work.thread.is_alive()

    async def test_waiting_for_what_is_over_returns_at_once(self) -> None:
        """As often as one likes."""
        worker = Worker(nothing, name="roark")
        worker.start()
        assert await worker.wait(10)
        assert await worker.wait(0.0)

    async def test_several_can_wait(self) -> None:
        """The session's close and the job's shutdown both do."""
        work = Work()
        worker = Worker(work, name="roark")
        worker.start()
        waits = [asyncio.ensure_future(worker.wait(10)) for _ in range(3)]
        await asyncio.sleep(0)
        worker.queue.put_urgent("end")
        assert await asyncio.gather(*waits) == [True, True, True]

    @pytest.mark.parametrize("work", [lambda: 42, lambda: int("x")])
    async def test_host_names_are_looked_up_on_a_thread(self, work: Callable[[], int]) -> None:
        """The loop's own executor, with results and errors as ever."""
        results: list[object] = []

        async def look_up(queue: EventQueue) -> None:
            loop = asyncio.get_running_loop()
            results.extend(
                await asyncio.gather(loop.run_in_executor(None, work), return_exceptions=True)
            )

        worker = Worker(look_up, name="roark")
        worker.start()
        assert await worker.wait(10)
        assert results == [42] or isinstance(results[0], ValueError)


class TestEngine:
    """One thread for all calls of a process."""

    async def test_two_calls_share_the_thread(self) -> None:
        """And its loop, which is neither the agent's nor of the agent's policy."""
        loops: list[asyncio.AbstractEventLoop] = []
        works = [Work(), Work()]

        def making(work: Work) -> Callable[[EventQueue], Any]:
            async def main(queue: EventQueue) -> None:
                loops.append(asyncio.get_running_loop())
                await work(queue)

            return main

        workers = [Worker(making(work), name=f"roark-{n}") for n, work in enumerate(works)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.queue.put_urgent("end")
            assert await worker.wait(10)
        assert works[0].thread is works[1].thread
        assert loops[0] is loops[1]
        assert type(loops[0]) is asyncio.SelectorEventLoop
        assert loops[0] is not asyncio.get_running_loop()

    @pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, SystemExit])
    @pytest.mark.parametrize("nested", [False, True])
    async def test_a_call_that_raises_does_not_touch_the_other(
        self, error: type[BaseException], nested: bool
    ) -> None:
        """Also in a task of its own, from where asyncio lets some errors end the loop."""
        work, reached = Work(), threading.Event()

        async def fail() -> None:
            reached.set()
            raise error

        async def broken(queue: EventQueue) -> None:
            await (asyncio.ensure_future(fail()) if nested else fail())

        good, bad = Worker(work, name="roark-good"), Worker(broken, name="roark-bad")
        good.start()
        bad.start()
        assert await bad.wait(10)
        assert reached.is_set()
        assert not good.done
        good.queue.put_urgent("end")
        assert await good.wait(10)
        assert work.items == ["end"]

    async def test_the_thread_ends_with_the_last_call_and_a_later_one_has_a_new_one(self) -> None:
        """Nothing of the library runs between two calls."""
        engine, threads = Engine(), []
        for _ in range(2):
            works = [Work(), Work()]
            workers = [Worker(work, name="roark", engine=engine) for work in works]
            for worker in workers:
                worker.start()
            workers[0].queue.put_urgent("end")
            assert await workers[0].wait(10)
            thread = works[0].thread
            assert thread is not None and thread.is_alive()
            workers[1].queue.put_urgent("end")
            assert await workers[1].wait(10)
            await gone(thread)
            threads.append(thread)
        assert threads[0] is not threads[1]

    async def test_calls_that_begin_while_the_last_one_ends_are_not_lost(self) -> None:
        """From two threads at once, again and again."""
        engine = Engine()

        def begin_many() -> list[Worker]:
            workers = [Worker(nothing, name="roark", engine=engine) for _ in range(100)]
            for worker in workers:
                worker.start()
            return workers

        loop = asyncio.get_running_loop()
        both = await asyncio.gather(*(loop.run_in_executor(None, begin_many) for _ in range(2)))
        assert all([await worker.wait(10) for workers in both for worker in workers])

    async def test_no_thread_is_left_ends_every_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The process can have no more threads: the calls are over, and a later one tries again."""

        class NoThread(threading.Thread):
            def start(self) -> None:
                raise RuntimeError("can't start new thread")

        engine = Engine()
        worker = Worker(Work(), name="roark", engine=engine)
        with monkeypatch.context() as patch:
            patch.setattr(worker_module.threading, "Thread", NoThread)
            worker.start()
            assert await worker.wait(10)
        later = Worker(nothing, name="roark", engine=engine)
        later.start()
        assert await later.wait(10)

    async def test_a_loop_that_cannot_be_made_ends_every_wait(self) -> None:
        """No more descriptors, say."""

        def no_loop() -> asyncio.AbstractEventLoop:
            raise OSError("too many open files")

        worker = Worker(Work(), name="roark", engine=Engine(make_loop=no_loop))
        worker.start()
        assert await worker.wait(10)

    @pytest.mark.parametrize("calls", [1, 40])
    async def test_it_wakes_four_times_a_second_however_many_calls(self, calls: int) -> None:
        """A minute in which nothing happens but audio, by the loop's own clock."""
        idle = IdleMinute()
        engine = Engine(make_loop=lambda: idle)
        workers = [Worker(idle.hear, name="roark", engine=engine) for _ in range(calls)]
        for worker in workers:
            worker.start()
        assert all([await worker.wait(30) for worker in workers])
        assert idle.looks == calls * 60 / TICK
        assert idle.sleeps <= 60 / TICK + 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    async def test_a_forked_child_has_an_engine_of_its_own(self) -> None:
        """The parent's thread does not run there, and its jobs are the parent's."""
        work = Work()
        worker = Worker(work, name="roark")
        worker.start()
        worker.queue.put_urgent("begun")
        assert await asyncio.get_running_loop().run_in_executor(None, work.got.wait, 10)
        child = os.fork()
        if not child:
            other = Worker(nothing, name="roark")
            other.start()
            try:
                other._done.result(10)
                os._exit(0)
            except BaseException:
                os._exit(1)
        status = await asyncio.get_running_loop().run_in_executor(None, os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status[1]) == 0
        worker.queue.put_urgent("end")
        assert await worker.wait(10)
        assert work.items == ["begun", "end"]


class IdleMinute(asyncio.SelectorEventLoop):
    """A loop whose clock runs from timer to timer for a minute, and counts the times it slept."""

    def __init__(self) -> None:
        self.sleeps = self.looks = 0
        self._now = 0.0
        super().__init__(_CountingSelector(self))

    def time(self) -> float:
        """Seconds since it was made."""
        return self._now

    def pass_(self, seconds: float) -> None:
        """Sleeps."""
        self.sleeps += 1
        self._now += seconds

    async def hear(self, queue: EventQueue) -> None:
        """A call that only has audio, of which some waits whenever it looks."""
        while self._now < 60.0:
            queue.put("audio")
            await queue.take()
            await queue.wait()
            self.looks += 1


class _CountingSelector(selectors.DefaultSelector):
    def __init__(self, loop: IdleMinute) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:  # nothing is to come but another thread's call
            return super().select(timeout)
        events = super().select(0)
        if not events and timeout > 0:
            self._loop.pass_(timeout)
        return events


async def gone(thread: threading.Thread) -> None:
    """Waits until a thread has ended."""
    await asyncio.get_running_loop().run_in_executor(None, thread.join, 10)
    assert not thread.is_alive()
