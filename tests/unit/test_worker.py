"""The background thread and its queue: bounded, awake in time, and gone when it is done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from roark_analytics_python_livekit._delivery.worker import EventQueue, Worker


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
        for number in range(5):
            queue.put(number)
        queue.put_urgent("the end")
        assert queue.dropped == 2
        assert await queue.take() == [0, 1, 2, "the end"]
        queue.put("again")
        assert await queue.take() == ["again"]

    async def test_what_matters_most_is_bounded_too(self) -> None:
        """Twice as many: only a thread that takes nothing at all gets there."""
        queue = EventQueue(limit=3)
        queue.bind()
        for number in range(10):
            queue.put_urgent(number)
        assert queue.dropped == 4
        assert await queue.take() == [0, 1, 2, 3, 4, 5]

    async def test_it_wakes_without_waiting_for_a_tick(self) -> None:
        """Events are shipped at once: here a tick would be an hour."""
        queue = EventQueue(tick=3600.0)
        queue.bind()
        taking = asyncio.ensure_future(queue.take())
        await asyncio.sleep(0)
        threading.Thread(target=queue.put_urgent, args=("now",)).start()
        assert await asyncio.wait_for(taking, 10) == ["now"]

    async def test_audio_is_looked_at_once_a_tick(self) -> None:
        """It does not wake the thread, 200 times a second."""
        queue = EventQueue(tick=0.01)
        queue.bind()
        taking = asyncio.ensure_future(queue.take())
        await asyncio.sleep(0)
        queue.put("audio")
        assert await taking == ["audio"]

    async def test_an_empty_queue_gives_nothing_after_a_tick(self) -> None:
        """So that the thread can look at other things, the main thread's end among them."""
        queue = EventQueue(tick=0.001)
        queue.bind()
        assert await queue.take() == []

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
    """The thread."""

    async def test_it_runs_the_work_on_a_named_thread_until_it_returns(self) -> None:
        """Not a daemon: the process's end waits for it."""
        work = Work()
        worker = Worker(work, name="roark-RM_1")
        worker.start()
        worker.queue.put_urgent("end")
        assert await worker.wait(10)
        assert worker.done
        assert work.thread is not None
        assert (work.thread.name, work.thread.daemon) == ("roark-RM_1", False)
        await gone(work.thread)

    async def test_work_that_raises_ends_the_wait(self) -> None:
        """An error in there must not hang the job's shutdown."""

        async def broken(queue: EventQueue) -> None:
            raise RuntimeError("internal")

        worker = Worker(broken, name="roark")
        worker.start()
        assert await worker.wait(10)

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    async def test_so_does_work_that_is_torn_down(
        self, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever ends the thread."""
        threads: list[threading.Thread] = []

        async def torn(queue: EventQueue) -> None:
            threads.append(threading.current_thread())
            raise error

        monkeypatch.setattr(threading, "excepthook", lambda args: None)
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

    async def test_two_threads_have_two_loops(self) -> None:
        """Calls do not meet."""
        loops: list[asyncio.AbstractEventLoop] = []

        async def note(queue: EventQueue) -> None:
            loops.append(asyncio.get_running_loop())

        workers = [Worker(note, name=f"roark-{number}") for number in range(2)]
        for worker in workers:
            worker.start()
        assert all([await worker.wait(10) for worker in workers])
        assert loops[0] is not loops[1]
        assert asyncio.get_running_loop() not in loops

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


async def gone(thread: threading.Thread) -> None:
    """Waits until a thread has ended."""
    await asyncio.get_running_loop().run_in_executor(None, thread.join, 10)
    assert not thread.is_alive()
