"""A disk that fails at any step: nothing is cut, deleted or told wrongly because of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from local_roark import Faults
from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._call.state import CallState, read_state, reading_state
from roark_analytics_python_livekit._delivery.call_spool import CallSpool
from roark_analytics_python_livekit._delivery.limits import Limits
from roark_analytics_python_livekit._delivery.private_files import SpoolError
from roark_analytics_python_livekit._delivery.record_file import (
    HEADER,
    MAX_FILE,
    Contents,
    RecordFile,
)
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._process import open_calls, unremoved
from tests.support.deliveries import until
from tests.support.failing_disk import FailingDisk, read_only
from tests.support.fake_roark import Roark
from tests.unit.test_call import CALL, RATE, Calling
from tests.unit.test_recovery import END, SOUND, dead_call, recover, sound_of

SMALL = Limits(chunk_bytes=RATE * 4)  # a second


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    """The spool's; that of temporary files is another one."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return FailingDisk(tmp_path / "spool", monkeypatch)


def fail_once(disk: FailingDisk, step: int, error: int) -> None:
    """Of the calls that follow, this one fails."""
    disk.count = 0
    disk.fails = lambda changes: error if disk.count - 1 == step else None


def heal(disk: FailingDisk) -> None:
    """Nothing fails any more."""
    disk.fails = lambda changes: None


def ended_dead_call(root: Path) -> Path:
    """A call that was over when its process died."""
    path = dead_call(root)
    (call,) = Spool(root).abandoned()
    call.append_record({**END, "pcm_bytes": len(SOUND)})
    call.release()
    return path


@pytest.mark.parametrize("make", [dead_call, ended_dead_call])
async def test_whichever_step_of_a_recovery_fails_once_nothing_is_lost(
    client: RoarkClient,
    roark: Roark,
    tmp_path: Path,
    disk: FailingDisk,
    make: Callable[[Path], Path],
) -> None:
    """What is not delivered then is delivered next time, complete (fault 29)."""
    make(disk.root)
    kept = tmp_path / "kept"
    shutil.copytree(disk.root, kept)
    disk.count = 0
    await recover(disk.root, client)
    steps = disk.count
    assert steps > 30
    for error in (errno.EIO, errno.ESTALE, errno.EMFILE):
        for step in range(steps):
            heal(disk)
            shutil.rmtree(disk.root, ignore_errors=True)
            shutil.copytree(kept, disk.root)
            disk.root.chmod(0o700)
            shutil.rmtree(tmp_path / "calls")
            fail_once(disk, step, error)
            try:
                await recover(disk.root, client)
            except (OSError, SpoolError) as failed:  # what the command line says
                assert os.strerror(error) in str(failed)
            heal(disk)
            for call in list(open_calls):
                call.forget()
            await recover(disk.root, client)
            assert sound_of(roark) == SOUND, (step, error)
            recording = roark.call(CALL)["ended"]["recording"]
            assert (recording["status"], recording["gaps"]) == ("complete", []), (step, error)
    unremoved.clear()


async def test_whichever_step_of_a_call_fails_once_its_claims_are_true(
    client: RoarkClient, roark: Roark, tmp_path: Path, disk: FailingDisk
) -> None:
    """Complete is complete; the call goes on, and is delivered."""
    steps = step = 0
    while step <= steps:
        fail_once(disk, step - 1, errno.EIO)  # the first time none
        shutil.rmtree(tmp_path / "calls", ignore_errors=True)
        calling = Calling(client, spool_dir=disk.root, limits=SMALL)
        calling.open()
        calling.hear(0.0, 4.0)
        calling.turn("user", "hello", 2.0)
        await calling.end(at=4.0)
        steps = steps or disk.count
        event = roark.call(CALL)["ended"]
        assert event["transcript"][0]["content"] == "hello"
        assert event["recording"]["status"] == "complete"
        assert event["recording"]["byteCount"] == 4 * RATE * 4, step
        heal(disk)
        unremoved.difference_update([call for call in unremoved if call.remove()])
        assert list(Spool(disk.root).abandoned()) == []
        step += 1
    assert steps > 30


async def live(root: Path, client: RoarkClient) -> None:
    """A call that is delivered while it lasts."""
    calling = Calling(client, spool_dir=root, limits=SMALL)
    calling.open()
    calling.hear(0.0, 2.0)
    await calling.end(at=2.0)


async def dead(root: Path, client: RoarkClient) -> None:
    """A call that a later process delivers."""
    dead_call(root)
    await recover(root, client)


@pytest.mark.parametrize("deliver", [live, dead])
async def test_a_failed_close_takes_nothing_from_the_agent(
    client: RoarkClient,
    tmp_path: Path,
    disk: FailingDisk,
    deliver: Callable[[Path, RoarkClient], Awaitable[None]],
) -> None:
    """The number is free, and the agent's next socket has it; the call is delivered, and gone."""
    agents: list[socket.socket] = []
    closes = number = 0

    def fails(changes: bool) -> int | None:
        nonlocal closes
        closes += disk.name == "close"
        if closes != number or agents:
            return None
        agents.extend(socket.socketpair())
        return errno.EIO

    while agents or not number:
        closes, number = 0, number + 1
        agents.clear()
        disk.fails = fails
        await deliver(disk.root, client)
        heal(disk)
        for one, other in zip(agents, agents[::-1], strict=True):
            one.send(b"x")
            assert other.recv(1) == b"x", number
        for one in agents:
            one.close()
        assert list(disk.root.iterdir()) == [], number
        assert not unremoved
    assert number > 10


@pytest.fixture
async def waiting(client: RoarkClient, faults: Faults, tmp_path: Path) -> Calling:
    """A call of which four seconds wait in the spool: the service does not take chunks."""
    faults.add("uploads:status=503")
    calling = Calling(client, spool_dir=tmp_path / "spool", limits=SMALL)
    calling.open()
    calling.hear(0.0, 4.5)
    await until(lambda: len(list((tmp_path / "spool").glob("*/*.pcm"))) >= 4)
    return calling


async def test_a_spool_that_is_removed_is_a_gap_and_no_silence(
    waiting: Calling, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """The service was down: what only the disk had is gone, and that is said."""
    shutil.rmtree(tmp_path / "spool")
    faults.clear()
    await waiting.end(at=6.0)
    recording = roark.call(CALL)["ended"]["recording"]
    assert (recording["status"], recording["reason"]) == ("partial", "lost on disk")
    assert recording["gaps"][0]["startMs"] == 0
    assert recording["durationMs"] == 6000


async def test_a_changed_chunk_is_a_gap(
    waiting: Calling, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """Its records can be believed one by one, and are not what was recorded."""
    (call,) = (tmp_path / "spool").iterdir()
    shutil.copy(call / "000001.pcm", call / "000002.pcm")
    data = (call / "000003.pcm").read_bytes()
    (call / "000003.pcm").write_bytes(data[: -(len(data) // 3)])
    faults.clear()
    await waiting.end(at=6.0)
    gaps = roark.call(CALL)["ended"]["recording"]["gaps"]
    assert gaps[0] == {"startMs": 2000, "endMs": 3000}
    assert gaps[1]["startMs"] >= 3000 and gaps[1]["endMs"] == 4000
    assert len(gaps) == 2


async def test_a_spool_that_is_back_is_used_again(
    waiting: Calling, client: RoarkClient, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """With all that stood in the journal: a kill after it costs what a kill costs (fault 30)."""
    waiting.turn("user", "before", 2.0)
    await until(lambda: b"before" in b"".join(map(Path.read_bytes, journals(tmp_path))))
    shutil.rmtree(tmp_path / "spool")
    waiting.hear(4.5, 8.0)
    waiting.turn("user", "after", 7.0)
    await until(lambda: b"after" in b"".join(map(Path.read_bytes, journals(tmp_path))))
    await until(lambda: bool(list((tmp_path / "spool").glob("*/000006.pcm"))))
    await killed(waiting)
    faults.clear()
    (one,) = await recover(tmp_path / "spool", client)
    assert one.outcome is Outcome.OK
    event = roark.call(CALL)["ended"]
    assert [row["content"] for row in event["transcript"]] == ["before", "after"]
    assert event["recording"]["status"] == "partial"


async def test_a_spool_that_comes_late_is_used(
    client: RoarkClient, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """There was no disk when the call began."""
    (tmp_path / "spool").write_text("in the way")
    faults.add("uploads:status=503")
    calling = Calling(client, spool_dir=tmp_path / "spool", limits=SMALL)
    calling.turn("user", "before", 1.0)
    await until(lambda: calling.pipeline.call is not None)
    (tmp_path / "spool").unlink()
    calling.turn("user", "after", 2.0)
    await until(lambda: b"after" in b"".join(map(Path.read_bytes, journals(tmp_path))))
    await killed(calling)
    faults.clear()
    await recover(tmp_path / "spool", client)
    assert [row["content"] for row in roark.call(CALL)["ended"]["transcript"]] == [
        "before",
        "after",
    ]


def journals(folder: Path) -> Iterator[Path]:
    """Those of the calls that are in the spool."""
    return (folder / "spool").glob("*/journal")


async def killed(calling: Calling) -> None:
    """What a SIGKILL leaves."""
    calling.task.cancel()
    await until(calling.task.done)


@pytest.mark.parametrize("process", ["same", "next"])
async def test_a_delivered_call_that_the_disk_keeps_is_not_delivered_again(
    client: RoarkClient, roark: Roark, disk: FailingDisk, process: str
) -> None:
    """The disk took nothing from the middle on: what is there is nobody's (fault 30)."""
    calling = Calling(client, spool_dir=disk.root, limits=SMALL)
    calling.open()
    calling.hear(0.0, 2.5)
    await until(lambda: len(list(disk.root.glob("*/*.pcm"))) >= 1)
    disk.fails = read_only
    calling.hear(2.5, 4.0)
    await calling.end(at=4.0)
    before = list(roark.seen)
    assert roark.call(CALL)["ended"]["recording"]["status"] == "complete"
    with contextlib.suppress(SpoolError):
        assert await recover(disk.root, client) == []
    if process == "next":
        for call in cast("set[CallSpool]", unremoved):
            call.release()
        unremoved.clear()
        with contextlib.suppress(SpoolError):
            assert await recover(disk.root, client) == []
    heal(disk)
    assert await recover(disk.root, client) == []
    unremoved.difference_update([call for call in unremoved if call.remove()])
    assert await recover(disk.root, client) == []
    assert roark.seen == before and list(disk.root.iterdir()) == []
    assert list(disk.root.parent.glob("temporary/*/*")) == []


@pytest.mark.parametrize("process", ["same", "next"])
async def test_a_recovered_call_that_the_disk_keeps_is_not_told_twice(
    client: RoarkClient, roark: Roark, disk: FailingDisk, process: str
) -> None:
    """By this process it is not even where nothing can be noted elsewhere (fault 30)."""
    ended_dead_call(disk.root)
    if process == "same":
        (disk.root.parent / "temporary").rmdir()
        (disk.root.parent / "temporary").write_text("no directory")
    disk.fails = lambda changes: errno.EROFS if disk.name in ("unlink", "write") else None
    (one,) = await recover(disk.root, client)
    assert one.outcome is Outcome.OK
    told = list(roark.seen)
    if process == "next":
        for call in cast("set[CallSpool]", unremoved):
            call.release()
        unremoved.clear()
    assert await recover(disk.root, client) == []
    heal(disk)
    unremoved.difference_update([call for call in unremoved if call.remove()])
    assert await recover(disk.root, client) == []
    assert roark.seen == told and list(disk.root.iterdir()) == []


# What is read has bounds, and is read in steps


def journal_of(path: Path, *bodies: bytes, tail: bytes = b"") -> RecordFile:
    """A journal with these records."""
    file = RecordFile(path, resync=True)
    for body in bodies:
        file.append(body)
    file.close()
    with path.open("ab") as more:
        more.write(tail)
    return RecordFile(path, resync=True)


def work_of(file: RecordFile) -> tuple[int, int]:
    """(steps that it takes to read a file, records that can be believed)."""
    reading, steps = file.reading(), 0
    while True:
        try:
            next(reading)
            steps += 1
        except StopIteration as end:
            return steps, len(end.value.bodies)


BODY = json.dumps({"type": "turn", "text": "x" * 200}).encode()
MIB = 1024**2
TAILS: dict[str, bytes] = {
    "zeros": bytes(8 * MIB),
    "braces": b"{" * MIB,
    "lengths that fit": (b"\0\0\1\0abcd{" * (MIB // 9)),
    "0xff": b"\xff" * MIB,
}


@pytest.mark.parametrize("tail", TAILS)
def test_a_damaged_tail_is_passed_in_bounded_work(tmp_path: Path, tail: str) -> None:
    """However it looks, the records before it count (fault 34)."""
    steps, records = work_of(journal_of(tmp_path / "journal", *[BODY] * 3, tail=TAILS[tail]))
    assert records == 3
    assert steps < 50_000


def test_a_long_journal_is_read_in_steps(tmp_path: Path) -> None:
    """Each is a small part of it: others get the interpreter in between."""
    few, _ = work_of(journal_of(tmp_path / "few", *[BODY] * 1_000))
    many, records = work_of(journal_of(tmp_path / "many", *[BODY] * 10_000))
    assert records == 10_000
    assert few >= 3 and 9 * few <= many <= 11 * few + 20


def test_no_more_is_read_than_a_call_can_write(tmp_path: Path) -> None:
    """A file of a gigabyte, of which the disk has nothing."""
    file = journal_of(tmp_path / "journal", BODY)
    os.truncate(tmp_path / "journal", 1024**3)
    contents = file.read()
    assert contents.bodies == [BODY] and not contents.is_whole
    with pytest.raises(OSError, match="too long"):
        file.append(BODY)
    assert (tmp_path / "journal").stat().st_size == 1024**3 > MAX_FILE


def test_empty_records_are_none(tmp_path: Path) -> None:
    """Zeros at the end of a chunk, as some file systems leave them, are no sound."""
    file = RecordFile(tmp_path / "chunk")
    file.append(b"1234")
    file.close()
    with (tmp_path / "chunk").open("ab") as more:
        more.write(bytes(8 * HEADER.size))
    contents = RecordFile(tmp_path / "chunk").read()
    assert contents.bodies == [b"1234"] and not contents.is_whole


def test_records_that_say_too_much_are_damaged(tmp_path: Path) -> None:
    """Absurd numbers, deep nesting, other versions' records: the others still count (fault 34)."""
    call = dead_call(tmp_path / "spool")
    absurd = (
        {"type": "end", "at": 1.0, "reason": "x", "pcm_bytes": 10**14},
        {"type": "chunk", "index": 10**12, "start": 0, "size": 4, "result": "ok"},
        {"type": "chunk", "index": 1, "start": 10**14, "size": 4, "result": "ok"},
        {"type": "gap", "start": -4, "size": 4},
        {"type": "sealed", "index": -1, "size": 4, "sha256": ""},
        {"type": "of a later version", "n": 1},
        {"type": "turn", "at": float("nan")},
    )
    file = RecordFile(call / "journal", resync=True)
    for record in absurd:
        file.append(json.dumps(record).encode())
    file.append(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    state = read_state(file.read().records())
    assert state is not None
    assert (state.end, state.recording.chunks, state.recording.gaps) == (None, {}, {})
    assert len(state.happened) == 1


def test_a_pipe_is_no_journal(tmp_path: Path) -> None:
    """Opening it would wait for ever (fault 34)."""
    path = dead_call(tmp_path / "spool")
    (path / "journal").unlink()
    os.mkfifo(path / "journal")
    done, found = threading.Event(), list[Contents]()

    def look() -> None:
        for call in Spool(tmp_path / "spool").abandoned():
            found.append(call.read_journal())
            call.release()
        done.set()

    threading.Thread(target=look, daemon=True).start()
    assert done.wait(10)
    assert [(one.bodies, one.is_whole) for one in found] == [([], False)]


def test_the_state_gives_the_records_that_give_it(tmp_path: Path) -> None:
    """A journal that is written again says what the first one said."""
    (call,) = Spool(ended_dead_call(tmp_path / "spool").parent).abandoned()
    for record in (
        {"type": "switch", "on": False, "at": 102.0, "transcripts": False},
        {"type": "metadata", "values": {"plan": "gold"}},
        {"type": "chunk", "index": 0, "start": 0, "size": 4, "result": "ok"},
        {"type": "gap", "start": 8, "size": 4, "reason": "full"},
        {"type": "ended", "event": {"event": "call-ended"}},
        {"type": "sent", "event": "call-started"},
    ):
        call.append_record(record)
    state = read_state(call.read_journal().records())
    assert state is not None
    again = read_state([json.loads(json.dumps(record)) for record in state.records()])
    assert again is not None
    assert told(again) == told(state)
    call.remove()


def told(state: CallState) -> dict[str, Any]:
    """All that is known."""
    pauses = state.pauses.rows(round, 10)
    return {**vars(state), "pauses": pauses, "recording": vars(state.recording)}


def test_a_state_is_read_in_steps() -> None:
    """A call of many hours holds nobody up."""
    records = [{"type": "turn", "at": 1.0}] * 1_000
    assert sum(1 for _ in reading_state(records)) >= 100
