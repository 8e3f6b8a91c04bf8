"""What belongs to the process: shared by its calls, and made anew in a forked child."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator

import pytest

from roark_analytics_python_livekit._process import (
    SharedObjects,
    SharedTasks,
    beat,
    open_calls,
    unremoved,
)
from tests.support.deliveries import until


class Thing:
    """Something that can be kept."""


class TestSharedObjects:
    """Objects by key."""

    def test_what_is_kept_is_made_once(self) -> None:
        """For each key."""
        shared = SharedObjects()
        first = id(shared.keep("a", Thing))
        assert id(shared.keep("a", Thing)) == first
        assert id(shared.keep("b", Thing)) != first

    def test_a_forked_child_makes_its_own(self) -> None:
        """Whatever it inherits."""
        shared = SharedObjects()
        kept = shared.keep("a", Thing)
        shared.forget()
        assert shared.keep("a", Thing) is not kept


class Work:
    """Work that goes on until it is cancelled, and counts."""

    def __init__(self) -> None:
        self.begun = self.going_on = 0
        self.finish = asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        self.going_on += 1
        try:
            await self.finish.wait()
        finally:
            self.going_on -= 1


class TestSharedTasks:
    """Work that is done once for several."""

    async def test_there_is_one_at_a_time_until_the_last_leaves(self) -> None:
        """Whoever began it may leave first."""
        tasks, work = SharedTasks(), Work()
        first, second = tasks.join("a", work), tasks.join("a", work)
        await first.__aenter__()
        await second.__aenter__()
        await asyncio.sleep(0)
        assert (work.begun, work.going_on) == (1, 1)
        await first.__aexit__(None, None, None)
        assert work.going_on == 1
        await second.__aexit__(None, None, None)
        assert (work.begun, work.going_on) == (1, 0)

    async def test_another_kind_is_other_work(self) -> None:
        """Another key or service, another spool."""
        tasks, work = SharedTasks(), Work()
        async with tasks.join("a", work), tasks.join("b", work):
            await asyncio.sleep(0)
            assert work.going_on == 2

    async def test_what_is_finished_is_done_again_for_the_next(self) -> None:
        """A later call looks again; there may be something new."""
        tasks, work = SharedTasks(), Work()
        work.finish.set()
        async with tasks.join("a", work):
            while work.begun == 0 or work.going_on:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            async with tasks.join("a", work):
                await asyncio.sleep(0)
        assert work.begun == 2

    def test_two_loops_share_no_task(self) -> None:
        """Each does its own."""
        tasks = SharedTasks()
        works = []

        async def join() -> None:
            works.append(Work())
            async with tasks.join("a", works[-1]):
                await asyncio.sleep(0)

        for _ in range(2):
            asyncio.run(join())
        assert [work.begun for work in works] == [1, 1]


class Call:
    """A call of this process, which its disk does not let go of at first."""

    def __init__(self, *, refusals: int = 0) -> None:
        self.beats = self.tries = 0
        self.refusals = refusals

    def beat(self) -> None:
        """It still has it."""
        self.beats += 1

    def remove(self) -> bool:
        """It is delivered."""
        self.tries += 1
        if self.tries <= self.refusals:
            raise OSError(errno.EIO, "a broken disk")
        return True

    def forget(self) -> None:
        """It is none of a child's."""


class TestBeat:
    """The heartbeat of all calls."""

    @pytest.fixture(autouse=True)
    def no_calls_are_left(self) -> Iterator[None]:
        """For the other tests."""
        yield
        unremoved.clear()

    async def test_a_removal_that_fails_stops_no_heart(self) -> None:
        """It is tried again, and the others' removals with it."""
        live, kept, other = Call(), Call(refusals=2), Call()
        open_calls.add(live)
        unremoved.update([kept, other])
        beating = asyncio.ensure_future(beat(0.0))
        await until(lambda: live.beats > 5 or beating.done())
        assert not beating.done()
        beating.cancel()
        assert (kept.tries, other.tries) == (3, 1)
        assert not unremoved
