"""An error of the library's own costs what it hit, and nothing is called delivered that is not."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._call.records import end_record
from roark_analytics_python_livekit._call.state import CallState
from roark_analytics_python_livekit._delivery.limits import Limits
from roark_analytics_python_livekit._delivery.outbox import Outbox
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.worker import Engine, Worker
from roark_analytics_python_livekit._pipeline import Call
from roark_analytics_python_livekit.audio import AudioCapture
from tests.support.deliveries import until
from tests.support.fake_roark import BASE_URL, KEY, Roark
from tests.unit.test_call import CALL, Calling

SECOND = 2 * 2 * 8000  # bytes of the recording


class Panic(BaseException):
    """What an extension written in another language may raise."""


def panic(*_: object) -> None:
    """Breaks anything off."""
    raise Panic


class Broken(logging.Handler):
    """A user's handler that raises."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError("broken handler")


@pytest.fixture
def broken_log() -> Iterator[None]:
    """Nothing can be logged."""
    logger, handler = logging.getLogger("roark_analytics_python_livekit"), Broken()
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def expected(internal_errors: list[Exception]) -> Iterator[None]:
    """Each test in here makes some."""
    yield
    internal_errors.clear()


def client_of(roark: Roark) -> RoarkClient:
    return RoarkClient(KEY, base_url=BASE_URL, transport=roark)


def ended_of(roark: Roark) -> Any:
    return roark.call(CALL)["ended"]


async def hear(calling: Calling, seconds: int) -> None:
    """The caller speaks, second by second, and each is taken before the next."""
    calling.open()
    for second in range(seconds):
        calling.hear(second, second + 1)
        calling.queue.tick()
        await until(lambda: not calling.queue._items)


async def call_of(calling: Calling) -> Call:
    """The call, once it is made."""
    await until(lambda: calling.pipeline.call is not None)
    assert calling.pipeline.call is not None
    return calling.pipeline.call


def broken(*_: Any, **__: Any) -> Any:
    """Stands in the place of something that does not work."""
    raise KeyError("broken")


async def test_a_call_whose_end_cannot_be_told_stays_in_the_spool(
    roark: Roark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not called delivered either."""
    monkeypatch.setattr(CallState, "ended_event", broken)
    await Calling(client_of(roark), spool_dir=tmp_path / "spool").end()
    assert roark.accepted() == ["call-started"]
    assert len(Spool(tmp_path / "spool").calls()) == 1
    assert "not delivered: the rest, after an internal error" in caplog.text
    assert " delivered: sent" not in caplog.text


@pytest.mark.parametrize("recording", ["chunks", "wav"])
async def test_a_recording_without_its_last_moment_is_delivered(
    roark: Roark, recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end fails, as a resampler's may: all that was settled before arrives, and is told."""
    monkeypatch.setattr(AudioCapture, "finish", broken)
    calling = Calling(client_of(roark), recording=recording)
    calling.open()
    calling.hear(0.0, 6.0)
    call = await call_of(calling)
    calling.queue.tick()
    await until(lambda: call.recorder.pcm_bytes > 0)
    await calling.end()
    ended = ended_of(roark)
    assert ended["callEndedReason"] == "participant_disconnected"
    assert ended["recording"]["byteCount"] == call.recorder.pcm_bytes
    assert ended["recording"]["status"] == "complete"
    assert ended["delivery"]["dropped"] == {"internal_error": 1}


async def test_a_call_ends_that_can_take_nothing_more(
    roark: Roark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the process nor the job waits for ever; the next process tells what is known."""
    calling = Calling(client_of(roark), spool_dir=tmp_path / "spool", budget=1.0)
    monkeypatch.setattr(Call, "_route", panic)
    calling.add_metadata(plan="gold")
    await asyncio.wait({calling.task}, timeout=20)
    assert isinstance(calling.task.exception(), Panic)  # the worker, for one, lets nothing out
    assert len(Spool(tmp_path / "spool").calls()) == 1


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, Panic])
async def test_a_value_that_raises_anything_costs_nothing_but_itself(
    roark: Roark, error: type[BaseException]
) -> None:
    """In the metadata of the beginning, and in what is added."""

    class Raising:
        def __str__(self) -> str:
            raise error

    calling = Calling(client_of(roark), metadata={"first": Raising()})
    calling.add_metadata(more=Raising())
    await calling.end()
    assert ended_of(roark)["metadata"] == {"first": "<Raising>", "more": "<Raising>"}


async def test_a_call_that_breaks_off_before_it_has_begun_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody would ever hear of it."""

    async def main(queue: object) -> None:
        panic()

    worker = Worker(main, "roark-RM_1", engine=Engine())
    worker.start()
    await until(lambda: worker.done)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["roark: roark-RM_1 broke off (Panic)"]


async def test_a_log_that_raises_costs_nothing(roark: Roark, broken_log: None) -> None:
    """An internal error is said there, and what became of the call."""
    calling = Calling(client_of(roark))
    calling.queue.put_urgent({"type": "turn"})  # without a role
    calling.turn("user", "hello", 1.0)
    await calling.end()
    assert roark.accepted() == ["call-started", "call-ended"]
    assert [row["content"] for row in ended_of(roark)["transcript"]] == ["hello"]


async def test_a_chunk_that_fails_in_here_costs_no_other(
    roark: Roark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as missing, and the spool keeps the call."""
    settle, settled = Outbox.settle, []

    def fail_once(self: Outbox, chunk: Any, outcome: Any) -> None:
        settled.append(chunk.index)
        if len(settled) == 1:
            raise KeyError("once")
        settle(self, chunk, outcome)

    monkeypatch.setattr(Outbox, "settle", fail_once)
    calling = Calling(
        client_of(roark), spool_dir=tmp_path / "spool", limits=Limits(chunk_bytes=SECOND)
    )
    await hear(calling, 8)
    await calling.end(at=8.0)
    recording = ended_of(roark)["recording"]
    assert sorted(settled) == list(range(recording["chunkCount"] + 1))
    assert (recording["status"], len(settled) > 7) == ("partial", True)
    assert [gap["startMs"] for gap in recording["gaps"]] == [settled[0] * 1000]
    assert len(Spool(tmp_path / "spool").calls()) == 1


async def test_a_chunk_without_room_is_lost_once(roark: Roark) -> None:
    """Whether it was tried or not."""
    roark.broken |= {f"chunk {number}" for number in range(6)}
    limits = Limits(chunk_bytes=SECOND, max_memory=2 * SECOND)
    calling = Calling(client_of(roark), limits=limits, budget=1.0)
    await hear(calling, 5)
    await calling.end(at=5.0)
    ended = ended_of(roark)
    starts = [gap["startMs"] for gap in ended["recording"]["gaps"]]
    assert starts == sorted(set(starts))
    assert sum(ended["delivery"]["dropped"].values()) == len(starts)


async def test_the_last_words_before_the_process_ends_are_taken(
    roark: Roark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main thread says them and ends, while the worker is at what came before."""
    calling = Calling(client_of(roark), recording="off")
    call = await call_of(calling)
    route, main = call._route, threading.main_thread()
    alive = True

    class MainThread:
        daemon = False

        def is_alive(self) -> bool:
            return alive and main.is_alive()

    def route_and_end(item: Any) -> None:
        nonlocal alive
        route(item)
        if item.get("text") == "first":
            calling.turn("user", "last words", 3.0)
            calling.queue.put_urgent(end_record(calling.start + 4, "user_initiated"))
            alive = False

    monkeypatch.setattr(call, "_route", route_and_end)
    monkeypatch.setattr(threading, "main_thread", MainThread)
    calling.queue._source = threading.Thread()
    calling.turn("user", "first", 2.0)
    await asyncio.wait_for(calling.task, 20)
    ended = ended_of(roark)
    assert ended["callEndedReason"] == "user_initiated"
    assert [row["content"] for row in ended["transcript"]] == ["first", "last words"]


def test_a_thread_without_a_loop_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """As where there are no descriptors left: nobody waits, and nothing is queued for ever."""

    def no_loop() -> asyncio.AbstractEventLoop:
        raise OSError(24, "Too many open files")

    async def never(_: object) -> None:
        raise AssertionError

    worker = Worker(never, "call", engine=Engine(make_loop=no_loop))
    worker.start()
    ended = asyncio.run(worker.wait(20.0))
    worker.queue.put("a frame")
    assert ended
    assert asyncio.run(worker.queue.take()) == []
    assert "the background thread failed (OSError)" in caplog.text
