"""Faults of disk, service and clock, and kills, at random over many short calls of one spool.

Processes are tasks here: a kill stops their system calls and their requests at any step, and then
lets their locks go. `test_kill_sweep.py` kills real ones.

    ROARK_TEST_SEEDS=0:5000 uv run pytest -m faults tests/faults/test_random_faults.py
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from roark_analytics_python_livekit import RoarkClient, _pipeline
from roark_analytics_python_livekit._delivery import claim
from roark_analytics_python_livekit._delivery.call_spool import CallSpool
from roark_analytics_python_livekit._delivery.limits import Limits, RetryPolicy
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._process import SharedTasks, unremoved
from roark_analytics_python_livekit._recovery import recover_all
from tests.support.claims import check_claim, pcm_chunks
from tests.support.failing_disk import FailingDisk
from tests.support.fake_roark import BASE_URL, KEY, Roark, call_file
from tests.support.spool_ages import later_spool
from tests.unit.test_call import RATE, Calling

FAILED_ONCE: list[int] = []  # seeds with which something was found: they stay
BATCHES = 20
MOST_TURNS = 6
SECOND = RATE * 4  # bytes
LIMITS = Limits(
    chunk_bytes=SECOND // 2,
    retry=RetryPolicy(base=0.001, cap=0.01, burst=10_000, rate=10_000.0),
)
DISK_ERRORS = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOSPC)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


def seeds() -> list[int]:
    """200 and those that failed once; or what the environment says."""
    first, _, last = os.environ.get("ROARK_TEST_SEEDS", "1000:1200").partition(":")
    return [*FAILED_ONCE, *range(int(first), int(last))]


@dataclass(eq=False)
class Process:
    """A process that runs calls one after the other, until it ends or is killed."""

    number: int
    alive: bool = True
    open: list[CallSpool] = field(default_factory=list)
    recoveries: SharedTasks = field(default_factory=SharedTasks)


@dataclass
class Held:
    """A call, and what is known of it.

    Attributes:
        turns: What was handed over.
        seconds: How long it was, once it was over.
        over: It ran to its end: the process was not killed before.
        dropped: What the library says that it gave up.
        kept: How much it says is kept for later.
    """

    turns: list[str] = field(default_factory=list)
    seconds: float = 0.0
    over: bool = False
    dropped: dict[str, int] = field(default_factory=dict)
    kept: int = 0


class CallClock:
    """A monotonic clock that runs ahead with what is heard."""

    def __init__(self) -> None:
        self.passed = 0.0  # seconds of the call

    def __call__(self) -> float:
        return time.monotonic() + self.passed


current: ContextVar[Process | None] = ContextVar("current", default=None)


class Service(httpx.AsyncBaseTransport):
    """Roark, which at times does not answer, answers wrongly, or answers into the void."""

    def __init__(self, roark: Roark, dice: random.Random) -> None:
        self.trouble = 0.0  # the part of the requests that fail
        self._roark = roark
        self._dice = dice

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        how = self._dice.random() / self.trouble if self.trouble else 1.0
        if (process := current.get()) is not None and not process.alive:
            raise httpx.ConnectError("it was killed")
        if how < 0.3:
            raise httpx.ConnectError("refused")
        if how < 0.6:
            return httpx.Response(self._dice.choice([429, 500, 502, 503]))
        if how < 0.7 and request.method == "POST":
            return httpx.Response(200, html="<html>a proxy's page</html>")
        response = await self._roark.handle_async_request(request)
        if how < 1.0 or (process is not None and not process.alive):
            raise httpx.ReadError("reset")
        return response


class World:
    """One spool, one service, and processes that come and go."""

    def __init__(self, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dice = random.Random(seed)
        self.calls = folder / "calls"
        self.roark = Roark(self.calls)
        self.service = Service(self.roark, self.dice)
        self.disk = FailingDisk(folder / "spool", monkeypatch)
        self.disk.fails = self._disk_fails
        self.disk_trouble = 0.0
        self.clock_error = 0.0
        self.held: dict[str, Held] = {}
        self._patch(monkeypatch)

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made, wall = CallSpool.__init__, time.time

        def note(spool: CallSpool, *args: Any, **options: Any) -> None:
            made(spool, *args, **options)
            if (process := current.get()) is not None:
                process.open.append(spool)

        monkeypatch.setattr(CallSpool, "__init__", note)
        monkeypatch.setattr(time, "time", lambda: wall() + self.clock_error)
        monkeypatch.setattr(_pipeline, "recoveries", OfProcess())
        monkeypatch.setattr(claim, "heartbeats", OfProcess())

    def _disk_fails(self, changes: bool) -> int | None:
        process = current.get()
        if process is not None and not process.alive:
            return errno.EIO
        failing = self.disk_trouble and self.dice.random() < self.disk_trouble
        return self.dice.choice(DISK_ERRORS) if failing else None

    async def live(self) -> None:
        """Some processes side by side, each with some calls."""
        dice = self.dice
        for number in range(dice.randint(2, 4)):
            self.service.trouble = dice.choice([0.0, 0.2, 0.5, 0.9])
            self.disk_trouble = dice.choice([0.0, 0.0, 0.01, 0.05])
            self.clock_error = dice.choice([0.0, 0.0, 8 * 86_400.0, -8 * 86_400.0])
            processes = [Process(10 * number + one) for one in range(dice.randint(1, 3))]
            await asyncio.gather(*map(self._run, processes))
        self.service.trouble = self.disk_trouble = self.clock_error = 0.0
        for process in range(3):  # a call's turn may have ended
            await self._in(Process(100 + process), self._recover())

    async def _run(self, process: Process) -> None:
        """One process; one of three is killed somewhere."""
        work = asyncio.ensure_future(self._in(process, self._hold_calls(process)))
        if self.dice.random() < 0.35:
            for _ in range(self.dice.randint(1, 400)):
                await asyncio.sleep(0)
            process.alive = False
            work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        for spool in process.open:
            spool.forget()
        if process.alive:
            await work

    async def _in(self, process: Process, work: Coroutine[Any, Any, None]) -> None:
        token = current.set(process)
        try:
            await work
        finally:
            current.reset(token)

    async def _recover(self) -> None:
        client = RoarkClient(KEY, base_url=BASE_URL, transport=self.service)
        async with client:
            await recover_all(Spool(self.disk.root), client, Guard(), limits=LIMITS)

    async def _hold_calls(self, process: Process) -> None:
        for number in range(self.dice.randint(1, 3)):
            await self._hold(f"RM_{process.number}_{number}")

    async def _hold(self, name: str) -> None:
        held = self.held[name] = Held()
        client = RoarkClient(KEY, base_url=BASE_URL, transport=self.service)
        recording = "wav" if self.dice.random() < 0.2 else "chunks"
        calling = Calling(
            client,
            spool_dir=self.disk.root,
            limits=LIMITS,
            budget=self.dice.choice([0.05, 0.3, 2.0]),
            call_id=name,
            recording=recording,  # type: ignore[arg-type]  # a choice of two literals
            clock=(clock := CallClock()),
            begun=0.0,
        )
        try:
            calling.open()
            for number in range(self.dice.randint(0, MOST_TURNS)):
                clock.passed += 0.5
                calling.hear(number / 2, number / 2 + 0.5)
                held.turns.append(f"turn {number}")
                calling.turn("user", held.turns[-1], number / 2 + 0.2)
                for _ in range(self.dice.randint(0, 30)):
                    await asyncio.sleep(0)
            held.seconds = len(held.turns) / 2 + 0.25
            await calling.end(at=held.seconds)
            held.over = True
        finally:
            calling.task.cancel()
            await asyncio.gather(calling.task, return_exceptions=True)
            if (call := calling.pipeline.call) is not None:
                held.dropped = dict(call.uploader.stats.dropped)
                held.kept = call.uploader.stats.spooled

    def check(self, sounds: list[bytes]) -> Counter[str]:
        """Nothing is lost that is not counted, nothing is told twice; how many calls fared how."""
        fates: Counter[str] = Counter()
        for name, held in self.held.items():
            fates[self._check_call(name, held, sounds)] += 1
        return fates

    def _check_call(self, name: str, held: Held, sounds: list[bytes]) -> str:
        if not (self.calls / name / "call.json").exists():
            assert not held.over or held.dropped, (name, held)
            return "never told" if held.over else "killed before it was on disk"
        call = call_file(self.calls, name)
        fresh = Counter(
            one["event"]
            for one in call["deliveries"]
            if one["endpoint"] == "events" and not one["duplicate"] and one["status"] == 200
        )
        assert fresh["call-started"] <= 1, name
        if call["ended"] is None:
            assert not held.over or held.dropped, (name, held)
            return "only begun"
        told = [row["content"] for row in call["ended"]["transcript"]]
        assert told == held.turns[: len(told)], (name, told, held)
        claim = call["ended"]["recording"]
        chunks = pcm_chunks(self.calls / name)
        check_claim(claim, chunks)
        if held.over and call["ended"]["callEndedReason"] != "process_died":
            assert told == held.turns, (name, told, held)
            assert claim["durationMs"] == round(held.seconds * 1000)
        if claim["status"] == "complete":
            pcm = b"".join(chunks)
            whole = [sounds[len(held.turns)], sounds[-1]]  # of one that was killed, the beginning
            assert pcm in [sound[: len(pcm)] for sound in whole], name
        if held.over and call["ended"]["callEndedReason"] == "process_died":
            return "over, but its end was not on disk"
        return f"{'over' if held.over else 'killed'}, {claim['status']}"


class OfProcess:
    """In the place of a process's shared tasks: those of the process that asks."""

    def join(
        self, kind: Hashable, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> AbstractAsyncContextManager[None]:
        process = current.get()
        assert process is not None
        return process.recoveries.join((id(self), kind), work)


@pytest.fixture
async def sounds(tmp_path: Path) -> list[bytes]:
    """What a call of no, one, two and more turns sounds like, where nothing fails."""
    roark = Roark(tmp_path / "golden")
    client = RoarkClient(KEY, base_url=BASE_URL, transport=roark)
    for turns in range(MOST_TURNS + 1):
        calling = Calling(client, call_id=f"RM_{turns}", begun=0.0)
        calling.open()
        for number in range(turns):
            calling.hear(number / 2, number / 2 + 0.5)
        await calling.end(at=turns / 2 + 0.25)
    folders = [tmp_path / "golden" / f"RM_{turns}" for turns in range(MOST_TURNS + 1)]
    return [b"".join(pcm_chunks(folder)) for folder in folders]


@pytest.mark.parametrize("batch", range(BATCHES))
async def test_nothing_is_lost_uncounted_or_told_twice(
    batch: int,
    tmp_path: Path,
    sounds: list[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever fails in whichever order; the seed is in the failure's text (fault 39)."""
    fates: Counter[str] = Counter()
    for seed in seeds()[batch::BATCHES]:
        with pytest.MonkeyPatch.context() as monkeypatch:
            try:
                fates += await one_world(seed, tmp_path / str(seed), monkeypatch, sounds)
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error
        caplog.clear()
    print(dict(fates))
    assert fates.total() > 5


async def one_world(
    seed: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    sounds: list[bytes],
) -> Counter[str]:
    """The fates of the calls of one seed."""
    folder.mkdir()
    world = World(seed, folder, monkeypatch)
    await asyncio.wait_for(world.live(), 60)
    for call in list(unremoved):
        assert call.remove()
        unremoved.discard(call)
    assert list(Spool(world.disk.root).abandoned()) == []
    assert set(later_spool(world.disk.root, 7200).evict()) <= {"leftover"}
    assert list(world.disk.root.iterdir()) == []
    return world.check(sounds)
