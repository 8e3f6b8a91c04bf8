"""The disk misbehaves: the call goes on, what is left of it is delivered, nothing is shifted."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from local_roark import Faults
from roark_analytics_python_livekit._call.facts import call_record
from roark_analytics_python_livekit._delivery import record_file
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS
from roark_analytics_python_livekit._delivery.outbox import Outbox
from roark_analytics_python_livekit._delivery.private_files import SpoolError
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from tests.faults.test_killed import recover
from tests.support.fake_roark import call_file, recording
from tests.support.processes import run
from tests.support.simulated_call import KEY, RATE, FastClock, Samples, SimulatedCall, facts_of, pcm
from tests.support.spool_ages import make_old

CHUNK_BYTES = DEFAULT_LIMITS.chunk_bytes

pytestmark = pytest.mark.faults

FRAMES = CHUNK_BYTES // 4  # of a whole chunk


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


def sound(calls: Path, call_id: str = "RM_1") -> Samples:
    """The left channel of the recording that the service has."""
    _, both = recording(calls, call_id)
    assert not both[:, 1].any()
    return both[:, 0]


def stereo(start: int, count: int) -> bytes:
    """The call's sound as it is recorded."""
    both = np.zeros((count, 2), "<i2")
    both[:, 0] = pcm(start, count)
    return both.tobytes()


def dead_call(
    root: Path,
    service: str,
    call_id: str = "RM_1",
    *,
    frames: int = 4 * FRAMES,
    recording: str = "chunks",
    ended: bool = False,
) -> Path:
    """What a process leaves that dies after some turns and so much sound; its directory."""
    spool = Spool(root).begin(call_id)
    facts = facts_of(call_id, started=1000.0)
    entry = call_record(facts, {}, base_url=service, api_key=KEY, recording=recording)
    store = Outbox(spool)
    store.append_record(cast(dict[str, Any], entry))
    if frames:
        store.append_record({"type": "recording", "rate": RATE, "origin": 1000.0})
        store.append_pcm(stereo(0, frames))
    for number in (1, 2, 3):
        at = 1000.0 + number
        turn = {"type": "turn", "role": "user", "text": f"turn {number}", "at": at}
        store.append_record(turn | {"id": str(number)})
    if ended:
        store.append_record(
            {"type": "end", "at": 1012.0, "reason": "done", "pcm_bytes": 4 * frames}
        )
    spool.release()
    return spool.path


def flip(path: Path, position: int) -> None:
    """Turns a bit over."""
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """For a while, which permissions new files do not get."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def whole_call(service: str, spool: Path | None, **options: Any) -> SimulatedCall:
    """A short call from beginning to end, delivered or given up when this returns."""
    speed = 20.0
    call = SimulatedCall(
        service, spool, **{"clock": FastClock(speed), "budget": 30.0 * speed} | options
    )
    call.talk(6.0)
    call.end()
    until(lambda: call.worker.done)
    return call


def assert_whole(calls: Path) -> None:
    """All turns, all sound, and a recording that says so."""
    call = call_file(calls)
    assert [row["content"] for row in call["ended"]["transcript"]][-1] == "turn 12"
    assert call["ended"]["recording"]["status"] == "complete"
    left = sound(calls)
    first = int(np.flatnonzero(left)[0])
    assert np.array_equal(left[first:], pcm(0, len(left) - first))
    assert len(left) / RATE > 5.5


def complaints(caplog: pytest.LogCaptureFixture, word: str) -> int:
    """How many lines of the log have this word."""
    return sum(word in record.getMessage() for record in caplog.records)


LIMITED = """
import resource, signal, sys, time
from pathlib import Path
from tests.support.simulated_call import FastClock, SimulatedCall

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
call = SimulatedCall(sys.argv[1], Path(sys.argv[2]), clock=FastClock(20.0), budget=600.0)
call.talk(6.0)
call.end()
while not call.worker.done:
    time.sleep(0.01)
assert call.guard.count == 0
"""


@pytest.mark.parametrize("limit", [100, 100_000])
def test_a_limit_of_file_sizes_keeps_the_call_in_memory(
    service: str, calls: Path, spool: Path, limit: int
) -> None:
    """From whichever write on it is refused: said once, and the call arrives whole (fault 15)."""
    ended = run("-c", LIMITED, service, spool, limit)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("cannot be written") == 1
    assert_whole(calls)
    assert list(spool.iterdir()) == []


class FullDisk:
    """Refuses writes while it is full.

    Args:
        room: How many more it takes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        write = record_file._write

        def refuse(file: int, payload: bytes) -> None:
            self.room -= 1
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(file, payload)

        monkeypatch.setattr(record_file, "_write", refuse)


@pytest.mark.parametrize("room", [0, 1, 9])
def test_a_full_disk_keeps_the_call_in_memory(
    service: str,
    calls: Path,
    spool: Path,
    room: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """From the beginning or later on: said once, and the call arrives whole (fault 15)."""
    FullDisk(monkeypatch, room)
    whole_call(service, spool)
    assert complaints(caplog, "cannot be written") == 1
    assert_whole(calls)
    assert list(spool.iterdir()) == []


def test_what_a_full_disk_and_a_dead_service_take_is_counted_as_dropped(
    service: str,
    faults: Faults,
    spool: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not said to be kept in the spool, where nothing of it is (fault 15)."""
    FullDisk(monkeypatch, 0)
    faults.add("*:status=503")
    call = whole_call(service, spool, budget=2.0)
    assert call.pipeline.call is not None
    stats = call.pipeline.call.uploader.stats
    assert stats.spooled == 0
    assert stats.dropped["time"] >= 4  # both events and the chunks
    assert complaints(caplog, "0 kept in the spool") == 1
    assert list(spool.iterdir()) == []


async def test_what_was_in_memory_is_written_at_the_end_if_there_is_room_by_then(
    service: str, calls: Path, faults: Faults, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full for a while, a dead service: recovered without a gap (fault 15)."""
    disk = FullDisk(monkeypatch, 8)
    faults.add("*:status=503")
    call = SimulatedCall(service, spool, clock=FastClock(20.0), budget=2.0)
    call.talk(6.0)
    disk.room = 10**6
    call.end()
    until(lambda: call.worker.done)
    faults.clear()
    monkeypatch.undo()
    (recovered,) = await recover(service, spool)
    assert recovered.outcome is Outcome.OK
    assert_whole(calls)


@pytest.mark.parametrize(
    "where", ["file", "below a file", "kernel", "nul", "link", "dangling link", "read-only"]
)
def test_a_place_that_cannot_be_used_keeps_the_call_in_memory(
    service: str, calls: Path, spool: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, and the call arrives whole (fault 15, fault 21)."""
    elsewhere = spool.with_name("elsewhere")
    elsewhere.mkdir()
    if where == "kernel" and not Path("/proc").is_dir():
        pytest.skip("no /proc here")
    if where == "read-only":
        if os.geteuid() == 0:
            pytest.skip("the superuser writes anywhere")
        elsewhere.chmod(0o500)
    if where in ("file", "below a file"):
        spool.write_text("")
    if where in ("link", "dangling link"):
        spool.symlink_to(elsewhere if where == "link" else elsewhere / "nowhere")
    path = {
        "below a file": spool / "spool",
        "kernel": Path("/proc/roark"),
        "nul": Path(f"{spool}\0"),
        "read-only": elsewhere / "spool",
    }.get(where, spool)
    whole_call(service, path)
    assert complaints(caplog, "no spool") == 1
    assert_whole(calls)
    assert list(elsewhere.iterdir()) == []


def test_a_spool_that_vanishes_in_mid_call_does_not_harm_it(
    service: str, calls: Path, faults: Faults, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was on disk only is silence, what comes later is kept in memory (fault 15)."""
    faults.add("chunk-upload-url:status=503")
    call = SimulatedCall(service, spool, clock=FastClock(20.0), budget=600.0)
    call.talk(4.0)
    until(lambda: list(spool.glob("*/000001.pcm")))
    shutil.rmtree(spool)
    faults.clear()
    call.talk(6.0)
    call.end()
    until(lambda: call.worker.done)
    ended = call_file(calls)["ended"]
    assert [row["content"] for row in ended["transcript"]][-1] == "turn 20"
    left = sound(calls)
    size = ended["recording"]["byteCount"] // 4
    assert len(left) == size  # nothing is shifted
    first = size - round(10.0 * RATE)  # the frames' first one
    begin = 3 * FRAMES
    assert np.array_equal(left[begin:], pcm(begin - first, size - begin))


@pytest.mark.parametrize("whose", ["given away", "not this user's", "a link", "a dangling link"])
def test_a_spool_that_is_a_link_or_another_users_is_refused(
    service: str,
    calls: Path,
    spool: Path,
    whose: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever owns it, or what it leads to, could read the calls (fault 21)."""
    place = spool
    if "link" in whose:
        place = spool.with_name("elsewhere")
        spool.symlink_to(place)
    if whose != "a dangling link":
        place.mkdir()
        place.chmod(0o755)
    if whose == "given away":
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            pytest.skip("only the superuser gives directories away")
        os.chown(spool, 12345, 12345)
    if whose == "not this user's":
        monkeypatch.setattr(os, "geteuid", lambda: spool.stat().st_uid + 1, raising=False)
    whole_call(service, spool)
    complaint = "is a link" if "link" in whose else "belongs to another user"
    assert complaints(caplog, f"kept in memory only: the spool directory {spool} {complaint}") == 1
    if place.exists():
        assert list(place.iterdir()) == []
        assert stat.S_IMODE(place.stat().st_mode) == 0o755
    assert place.exists() == (whose != "a dangling link")
    assert_whole(calls)


async def test_calls_that_are_links_or_of_another_user_are_left_alone(
    service: str, calls: Path, spool: Path, tmp_path: Path
) -> None:
    """A link in the spool, or one in place of a call's file, leads nowhere (fault 21)."""
    outside = dead_call(tmp_path / "spool-2", service, "RM_outside")
    Spool(spool)
    (spool / "RM_link").symlink_to(outside)
    linked_chunk = dead_call(spool, service, "RM_chunk")
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 1000)
    (linked_chunk / "000001.pcm").unlink()
    (linked_chunk / "000001.pcm").symlink_to(secret)
    linked_journal = dead_call(spool, service, "RM_journal")
    (linked_journal / "journal").rename(tmp_path / "journal")
    (linked_journal / "journal").symlink_to(tmp_path / "journal")
    found = {one.call_id: one.outcome for one in await recover(service, spool)}
    assert found == {"RM_chunk": Outcome.OK, None: Outcome.UNREADABLE}
    assert outside.is_dir() and secret.read_bytes() == b"x" * 1000
    assert not sound(calls, "RM_chunk")[FRAMES : 2 * FRAMES].any()


def test_permissions_are_ours_alone_whatever_the_umask(service: str, spool: Path) -> None:
    """Directories 0700, also those above that are made; files 0600 (fault 21)."""
    root = spool / "made" / "too"
    with umask(0):
        dead_call(root, service)
    for path in [spool, *spool.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o711, 0o1777])
def test_a_spool_that_is_open_to_others_is_tightened(
    service: str, calls: Path, spool: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It becomes 0700, before anything is in it, and is used (fault 21)."""
    spool.mkdir()
    spool.chmod(mode)
    Spool(spool)
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700
    spool.chmod(mode)
    whole_call(service, spool)
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700
    assert complaints(caplog, "no spool") == 0
    assert_whole(calls)


@pytest.mark.parametrize("recording", ["chunks", "wav"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied", "removed"])
async def test_a_damaged_chunk_is_a_gap_of_silence(
    service: str, calls: Path, spool: Path, damage: str, recording: str
) -> None:
    """The recording is partial and says where; all other sound keeps its place (fault 22)."""
    path = dead_call(spool, service, recording=recording, ended=True) / "000001.pcm"
    if damage == "flipped":
        flip(path, path.stat().st_size // 2)
    elif damage == "removed":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size // 2 if damage == "truncated" else 0)
    (recovered,) = await recover(service, spool)
    assert recovered.outcome is Outcome.OK
    ended = call_file(calls)["ended"]
    assert ended["recording"]["status"] == "partial"
    assert ended["delivery"]["dropped"] == {"damaged": 1}
    second = round(FRAMES / RATE * 1000)
    (gap,) = ended["recording"]["gaps"]
    assert second <= gap["startMs"] < gap["endMs"] <= 2 * second + 1
    left, whole = sound(calls), pcm(0, 4 * FRAMES)
    assert len(left) == len(whole)
    lost = slice(FRAMES, 2 * FRAMES)
    assert np.array_equal(np.delete(left, lost), np.delete(whole, lost))
    assert not left[lost].any()
    assert list(spool.iterdir()) == []


async def test_a_damaged_call_does_not_keep_the_others(
    service: str, calls: Path, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A torn journal, one that begins with rubbish, an empty one, a whole one (fault 22).

    Of those that tell nothing the sound is set aside.
    """
    for name in ("torn", "rubbish", "empty", "whole"):
        dead_call(spool, service, f"RM_{name}")
    (torn,) = spool.glob("RM_torn.*/journal")
    os.truncate(torn, torn.stat().st_size - 5)  # the third turn
    (rubbish,) = spool.glob("RM_rubbish.*/journal")
    flip(rubbish, 20)
    (empty,) = spool.glob("RM_empty.*/journal")
    os.truncate(empty, 0)
    found = await recover(service, spool)
    delivered = {one.call_id for one in found if one.outcome is Outcome.OK}
    assert delivered == {"RM_torn", "RM_whole"}
    assert [one.outcome for one in found].count(Outcome.UNREADABLE) == 2
    assert complaints(caplog, "without a readable journal") == 2
    assert await recover(service, spool) == []
    turns = [row["content"] for row in call_file(calls, "RM_torn")["ended"]["transcript"]]
    assert turns == ["turn 1", "turn 2"]
    for name in delivered:
        assert np.array_equal(sound(calls, cast(str, name)), pcm(0, 4 * FRAMES))
    assert {path.name.split(".")[0] for path in spool.iterdir()} == {"RM_rubbish", "RM_empty"}
    assert len(list(spool.glob("*/*.pcm"))) == 8


@pytest.mark.invented
async def test_a_torn_journal_does_not_silence_what_was_delivered(
    service: str, calls: Path, spool: Path
) -> None:
    """Chunks that are neither there nor noted may be at Roark: they are left (fault 22)."""
    path = dead_call(spool, service)
    (journal,) = spool.glob("*/journal")
    os.truncate(journal, journal.stat().st_size - 5)
    (path / "000000.pcm").unlink()
    (recovered,) = await recover(service, spool)
    assert recovered.chunks == 3
    uploads = [one for one in call_file(calls)["deliveries"] if one["endpoint"] == "uploads"]
    assert sorted(one["chunkIndex"] for one in uploads) == [1, 2, 3]


async def test_a_thousand_dead_calls_do_not_delay_the_next(
    service: str,
    calls: Path,
    spool: Path,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Old ones go by age, then the oldest by quota; a new call starts before them (fault 23)."""
    for number in range(1000):
        path = dead_call(spool, "https://elsewhere.invalid", f"RM_{number:04d}", frames=0)
        age = 8 * 24 * 3600 if number < 400 else 3600 - number
        make_old(path, age)
    size = Spool(spool).calls()[-1].size
    started = SimulatedCall(service, spool)
    assert not started.worker.done
    until(lambda: call_file(calls)["started"] if (calls / "RM_1" / "call.json").exists() else None)
    started.end()
    until(lambda: started.worker.done)
    until(lambda: complaints(caplog, "removed from the spool"))
    assert complaints(caplog, "400 calls were removed from the spool, undelivered (age)") == 1
    reasons = Spool(spool, quota=100 * size).evict()
    assert set(reasons) == {"quota"}
    left = {path.name.split(".")[0] for path in spool.iterdir()}
    assert 90 <= len(left) <= 110
    assert "RM_0999" in left and "RM_0400" not in left
    assert complaints(caplog, "(quota)") == 1
    with pytest.raises(SpoolError, match="is not a directory"):
        Spool(next(spool.iterdir()) / "journal")
