"""What is on disk is believed as far as its checksums reach, claimed by one, and bounded."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roark_analytics_python_livekit._call.facts import account_of, call_record
from roark_analytics_python_livekit._call.state import CallState, read_state
from roark_analytics_python_livekit._delivery.call_spool import CallSpool
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS
from roark_analytics_python_livekit._delivery.outbox import Outbox
from roark_analytics_python_livekit._delivery.private_files import SpoolError
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import CallStats, Outcome
from tests.support.simulated_call import facts_of
from tests.support.spool_ages import later_spool, make_old

CHUNK_BYTES = DEFAULT_LIMITS.chunk_bytes

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
entries = st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), max_size=6)


@contextmanager
def new_call() -> Iterator[CallSpool]:
    """A call in a spool that is gone afterwards."""
    with tempfile.TemporaryDirectory() as root:
        call = Spool(Path(root) / "spool").begin("RM_1")
        try:
            yield call
        finally:
            call.remove()


def reopened(call: CallSpool) -> CallSpool:
    """What the next process sees."""
    call.release()
    again = CallSpool.claim(call.path)
    assert again is not None
    return again


def damage(path: Path, where: float, flips: bool) -> None:
    """Cuts a file there, or turns a bit over."""
    data = bytearray(path.read_bytes()) if path.exists() else bytearray()
    position = int(where * len(data))
    if flips and data:
        data[position] ^= 1 << (position % 8)
    else:
        del data[position:]
    path.write_bytes(data)


def is_beginning(part: list[Any] | bytes, whole: list[Any] | bytes) -> bool:
    """Whether `whole` begins with `part`."""
    return whole[: len(part)] == part


places = st.floats(0, 1, exclude_max=True)


class TestDamage:
    """Torn and flipped files."""

    @given(entries, places, st.booleans())
    def test_a_damaged_journal_gives_all_other_records(
        self, written: list[dict[str, Any]], where: float, flips: bool
    ) -> None:
        """Also those behind the damage, and what is noted afterwards (fault 22)."""
        with new_call() as call:
            for entry in written:
                call.append_record(entry)
            as_read = list(call.read_journal().records())
            assert len(as_read) == len(written)
            damage(call.path / "journal", where, flips)
            again = reopened(call)
            found = list(again.read_journal().records())
            if flips:
                rest = [as_read[:lost] + as_read[lost + 1 :] for lost in range(len(as_read))]
                assert found in rest or not as_read
                assert not again.read_journal().is_whole or not as_read
            else:
                assert is_beginning(found, as_read)
            again.append_record({"more": 1})
            assert list(again.read_journal().records()) == [*found, {"more": 1}]
            last = reopened(again)
            assert list(last.read_journal().records()) == [*found, {"more": 1}]
            last.remove()

    @pytest.mark.parametrize("part", ["length", "checksum", "payload"])
    @pytest.mark.parametrize("number", [1, 3])
    def test_a_damaged_record_is_counted_and_a_torn_one_is_not(
        self, tmp_path: Path, part: str, number: int
    ) -> None:
        """A kill tears the last one: that is no damage (fault 16, fault 22)."""
        call = Spool(tmp_path / "spool").begin("RM_1")
        journal = call.path / "journal"
        begins = []
        for value in range(4):
            begins.append(journal.stat().st_size if journal.exists() else 0)
            call.append_record({"value": value})
        with journal.open("ab") as file:
            file.write(journal.read_bytes()[:11])
        data = bytearray(journal.read_bytes())
        data[begins[number] + {"length": 1, "checksum": 5, "payload": 12}[part]] ^= 4
        journal.write_bytes(data)
        again = reopened(call)
        assert [one["value"] for one in list(again.read_journal().records())] == [
            n for n in range(4) if n != number
        ]
        assert again.read_journal().damaged == (0 if (part, number) == ("length", 3) else 1)
        assert not again.read_journal().is_whole
        again.remove()

    @pytest.mark.parametrize("rubbish", [b"\0", b"{", b"\2\0\0\0", b"\2\0\0\0\0\0\0\0{}"])
    def test_much_rubbish_is_read_in_no_time(self, tmp_path: Path, rubbish: bytes) -> None:
        """The search for the next record looks at nothing twice (fault 22)."""
        call = Spool(tmp_path / "spool").begin("RM_1")
        call.append_record({"n": 1})
        with (call.path / "journal").open("ab") as file:
            file.write(rubbish * (4 * 1024**2 // len(rubbish)))
        again = reopened(call)
        assert list(again.read_journal().records()) == [{"n": 1}]
        again.append_record({"n": 2})
        assert list(again.read_journal().records()) == [{"n": 1}, {"n": 2}]
        again.remove()

    @given(st.lists(st.binary(max_size=300), max_size=6), places, st.booleans())
    def test_a_damaged_chunk_gives_its_beginning(
        self, written: list[bytes], where: float, flips: bool
    ) -> None:
        """Its PCM up to the damage; going on appends to that (fault 22)."""
        with new_call() as call:
            for pcm in written:
                call.append_pcm(0, pcm)
            damage(call.path / "000000.pcm", where, flips)
            again = reopened(call)
            found = again.read_chunk(0)
            assert is_beginning(found, b"".join(written))
            again.append_pcm(0, b"more")
            assert again.read_chunk(0) == found + b"more"
            again.remove()

    @given(st.binary(max_size=200))
    def test_rubbish_is_no_record(self, rubbish: bytes) -> None:
        """Whatever stands there, nothing is raised (fault 22)."""
        with new_call() as call:
            (call.path / "journal").write_bytes(rubbish)
            assert all(isinstance(record, dict) for record in list(call.read_journal().records()))
            assert read_state(list(call.read_journal().records())) is None
            assert call.read_chunk(3) == b""

    def test_a_refused_write_leaves_no_torn_record(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What comes behind a short write can be read (fault 16)."""
        call = Spool(tmp_path / "spool").begin("RM_1")
        call.append_record({"n": 1})
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:5]))
        with pytest.raises(OSError, match="short write"):
            call.append_record({"n": 2})
        monkeypatch.undo()
        call.append_record({"n": 3})
        journal = call.read_journal()
        assert list(journal.records()) == [{"n": 1}, {"n": 3}]
        assert journal.is_whole and journal.damaged == 0
        call.remove()


class TestClaims:
    """One process at a time."""

    def test_a_call_has_one_owner(self, tmp_path: Path) -> None:
        """Given up or dead, the next may have it; removed, nobody (fault 17)."""
        spool = Spool(tmp_path / "spool")
        call = spool.begin("RM_1")
        call.append_record({})
        assert list(spool.abandoned()) == []
        assert [one.claimed for one in spool.calls()] == [True]
        call.release()
        (again,) = spool.abandoned()
        assert again.path == call.path
        assert CallSpool.claim(call.path) is None
        again.remove()
        assert list(spool.abandoned()) == [] and spool.calls() == []
        with pytest.raises(OSError, match="No such file"):
            CallSpool.claim(call.path)

    def test_a_call_that_was_given_up_is_not_removed_by_who_had_it(self, tmp_path: Path) -> None:
        """Releasing and removing again change nothing: the next owner has it (fault 17)."""
        call = Spool(tmp_path / "spool").begin("RM_1")
        call.append_record({"n": 1})
        again = reopened(call)
        call.release()
        call.remove()
        assert list(again.read_journal().records()) == [{"n": 1}]
        assert CallSpool.claim(call.path) is None
        again.remove()
        again.remove()
        assert list((tmp_path / "spool").iterdir()) == []

    def test_a_call_that_somebody_just_looks_at_is_not_passed_over(self, tmp_path: Path) -> None:
        """Whoever lists the spool holds its locks for a moment: a second look finds it free."""
        spool = Spool(tmp_path / "spool")
        paths = []
        for name in ("RM_1", "RM_2", "RM_3"):
            call = spool.begin(name)
            call.append_record({})
            call.release()
            paths.append(call.path)
        looking, working = CallSpool.claim(paths[0]), CallSpool.claim(paths[2])
        assert looking is not None and working is not None
        found = spool.abandoned()
        taken = [next(found)]
        looking.release()
        taken += found
        assert [call.path for call in taken] == [paths[1], paths[0]]
        for call in [*taken, working]:
            call.remove()

    def test_a_call_that_its_owner_just_removed_is_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look and the claim it was delivered: its journal is gone (fault 17)."""
        spool = Spool(tmp_path / "spool")
        call = spool.begin("RM_1")
        call.append_record({})
        call.release()
        claim = CallSpool.claim

        def too_late(path: Path) -> CallSpool | None:
            (path / "journal").unlink()
            return claim(path)

        monkeypatch.setattr(CallSpool, "claim", too_late)
        assert list(spool.abandoned()) == []
        assert list(spool.root.iterdir()) == []

    def test_a_call_that_was_given_up_again_is_not_claimed_twice(self, tmp_path: Path) -> None:
        """One look at each call that could be had: the next try is the next process's."""
        spool = Spool(tmp_path / "spool")
        call = spool.begin("RM_1")
        call.append_record({})
        call.release()
        taken = []
        for call in spool.abandoned():
            taken.append(call.path)
            call.release()
        assert len(taken) == 1

    def test_where_there_is_no_flock_windows_locks_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first has it, the second is refused (fault 17)."""
        locked: set[int] = set()

        def locking(file: int, mode: int, size: int) -> None:
            if locked:
                raise PermissionError(errno.EACCES, "locked")
            locked.add(file)

        monkeypatch.setitem(sys.modules, "fcntl", None)
        windows = SimpleNamespace(locking=locking, LK_NBLCK=2)
        monkeypatch.setitem(sys.modules, "msvcrt", cast(Any, windows))
        call = Spool(tmp_path / "spool").begin("RM_1")
        assert CallSpool.claim(call.path) is None
        call.remove()

    def test_a_call_that_is_just_being_made_is_left_alone(self, tmp_path: Path) -> None:
        """It has no journal yet (fault 16)."""
        spool = Spool(tmp_path / "spool")
        spool.begin("RM_1").release()
        assert list(spool.abandoned()) == []

    @pytest.mark.parametrize("call_id", ["../../etc", "", ".", "a/b\0c", "x" * 1000, "Ж"])
    def test_no_id_leads_out_of_the_spool(self, tmp_path: Path, call_id: str) -> None:
        """Its directory's name is made of harmless characters (fault 21)."""
        call = Spool(tmp_path / "spool").begin(call_id)
        assert call.path.parent == tmp_path / "spool"
        call.remove()

    @pytest.mark.parametrize("path", ["a\0b", "\udcff\0", "/proc/nowhere", "/dev/null/spool"])
    def test_a_path_that_is_none_is_refused(self, path: str) -> None:
        """With the one error that is expected (fault 15)."""
        with pytest.raises(SpoolError):
            Spool(Path(path))


class TestBounds:
    """Quota and age."""

    def test_reasons_for_removing_calls(self, tmp_path: Path) -> None:
        """Too old first, then the oldest until there is room; claimed ones stay (fault 23)."""
        root = tmp_path / "spool"
        for number in range(5):
            call = Spool(root).begin(f"RM_{number}")
            call.append_record({})
            call.append_pcm(0, bytes(1000))
            if number:
                call.release()
            make_old(call.path, 1000 - 100 * number)
        spool = Spool(root, quota=3000, max_age=850)
        assert [round(one.age, -2) for one in spool.calls()] == [1000, 900, 800, 700, 600]
        assert spool.evict() == ["age", "quota", "quota"]
        left = [path.name.split(".")[0] for path in spool.root.iterdir()]
        assert sorted(left) == ["RM_0", "RM_4"]
        assert spool.evict(1500) == ["quota"]

    def test_what_a_kill_leaves_of_a_call_without_a_journal_is_cleaned(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """After an hour, when nobody can be making it any more; no call is lost (fault 16)."""
        spool = Spool(tmp_path / "spool")
        for name in ("killed", "making"):
            call = spool.begin(f"RM_{name}")
            call.append_pcm(0, bytes(1000))
            if name == "killed":
                call.release()
        assert spool.evict() == []
        later = later_spool(tmp_path / "spool", 4000)
        assert later.evict() == ["leftover"]
        assert [path.name.split(".")[0] for path in spool.root.iterdir()] == ["RM_making"]
        assert caplog.records == []

    def test_a_call_that_was_killed_before_its_first_record_is_no_loss(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An empty journal, and no sound: removed without a word, however old (fault 16)."""
        spool = Spool(tmp_path / "spool")
        call = spool.begin("RM_1")
        (call.path / "journal").touch()
        call.release()
        assert spool.evict() == [] and list(spool.abandoned()) == []
        assert [one.claimed for one in spool.calls()] == [True]  # somebody may be making it
        later = later_spool(tmp_path / "spool", 8 * 86_400)
        assert later.evict() == ["leftover"]
        assert list(spool.root.iterdir()) == [] and caplog.records == []

    def test_sound_beside_an_empty_journal_is_a_loss_that_is_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nobody empties a journal but a damaged disk (fault 22)."""
        spool = Spool(tmp_path / "spool")
        call = spool.begin("RM_1")
        (call.path / "journal").touch()
        call.append_pcm(0, bytes(1000))
        call.release()
        later = later_spool(tmp_path / "spool", 8 * 86_400)
        assert later.evict() == ["age"]
        assert "1 calls were removed from the spool, undelivered (age)" in caplog.text

    def test_calls_side_by_side_overshoot_the_quota_by_what_each_writes_between_two_looks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each of them looks now and then, not at every write (fault 23)."""
        spool = Spool(tmp_path / "spool", quota=20_000, measure_every=2000)
        calls = [spool.begin(f"RM_{number}") for number in range(4)]
        for call in calls:
            call.append_record({})
        refused = 0
        for number in range(100):
            for call in calls:
                try:
                    call.append_pcm(number, bytes(500))
                except OSError:
                    refused += 1
        taken = sum(one.size for one in spool.calls())
        assert refused > 0
        assert 20_000 - 500 - 50 < taken <= 20_000 + 4 * 2000

    @pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
    def test_ages_are_sane_when_the_clock_jumps(self, tmp_path: Path, jump: float) -> None:
        """Never negative, and a day is not a week (fault 20)."""
        spool = Spool(tmp_path / "spool", clock=lambda: time.time() + jump)
        call = spool.begin("RM_1")
        call.append_record({})
        call.release()
        (found,) = spool.calls()
        assert 0.0 <= found.age < 90_000
        assert spool.evict() == []

    def test_beyond_the_quota_the_recording_waits_in_memory_and_comes_back(
        self, tmp_path: Path
    ) -> None:
        """The call's own files count; once there is room, disk is used again (fault 23)."""
        spool = Spool(tmp_path / "spool", quota=3 * CHUNK_BYTES // 2)
        store = Outbox(call := spool.begin("RM_1"))
        store.append_record({"type": "call"})
        pcm = [bytes([number]) * CHUNK_BYTES for number in range(4)]
        for part in pcm[:3]:
            store.append_pcm(part)
        assert call.chunk_indices() == [0]
        with pytest.raises(OSError) as refused:
            call.append_pcm(9, bytes(CHUNK_BYTES))
        assert refused.value.errno == errno.EDQUOT
        for number in range(3):
            chunk = store.take()
            assert chunk is not None and chunk.open() == pcm[number]
            store.settle(chunk, Outcome.OK)
        store.append_pcm(pcm[3])
        assert call.read_chunk(3) == pcm[3]
        store.close()
        assert spool.calls() == []

    def test_an_entry_that_is_no_json_does_not_hold_up_the_journal(self, tmp_path: Path) -> None:
        """It is left out; those behind it are written (fault 11)."""
        seen: list[Any] = []
        store = Outbox(call := Spool(tmp_path / "spool").begin("RM_1"), on_record=seen.append)
        for value in (1, float("nan"), object(), 2):
            store.append_record({"value": value})
        assert list(call.read_journal().records()) == [{"value": 1}, {"value": 2}]
        assert len(seen) == 4
        store.close()

    def test_an_error_that_is_no_json_error_is_not_taken_for_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is raised, to be counted; the record is not lost without a word (fault 11)."""
        store = Outbox(call := Spool(tmp_path / "spool").begin("RM_1"))
        monkeypatch.setattr(CallSpool, "append_record", lambda self: None)
        with pytest.raises(TypeError):
            store.append_record({"n": 1})
        monkeypatch.undo()
        store.append_record({"n": 2})
        assert list(call.read_journal().records()) == [{"n": 1}, {"n": 2}]
        store.close()


def opening(recording: str = "chunks") -> dict[str, Any]:
    """A journal's first entry."""
    facts = facts_of(
        agent_name="Agent",
        is_test=False,
        job={"roomName": "r"},
        started_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        started=50.0,
    )
    entry = call_record(
        facts, {"plan": "gold"}, base_url="https://x", api_key="a", recording=recording
    )
    return cast(dict[str, Any], entry)


NO_COUNTS = CallStats().counts(recovered=True)

moments = st.floats(50, 100, allow_nan=False)
happenings = st.lists(
    st.one_of(
        st.builds(
            lambda text, at: {"type": "turn", "role": "user", "text": text, "at": at},
            st.text(max_size=10),
            moments,
        ),
        st.builds(lambda on, at: {"type": "switch", "on": on, "at": at}, st.booleans(), moments),
        st.builds(
            lambda key, value: {"type": "metadata", "values": {key: value}},
            st.text(max_size=4),
            st.integers(-1000, 1000),
        ),
        st.builds(
            lambda index, result: {
                "type": "chunk",
                "index": index,
                "start": index * CHUNK_BYTES,
                "size": CHUNK_BYTES,
                "result": result,
            },
            st.integers(0, 4),
            st.sampled_from(["ok", "refused", "full"]),
        ),
        st.builds(lambda size: {"type": "gap", "start": 8, "size": 4 * size}, st.integers(1, 9)),
    ),
    max_size=12,
)


class TestStory:
    """Alive or read back, the same entries are the same call."""

    @given(happenings, st.booleans())
    def test_the_story_read_back_is_the_one_that_was_lived(
        self, happened: list[dict[str, Any]], ended: bool
    ) -> None:
        """The same call-started, the same call-ended (fault 17)."""
        with new_call() as call:
            live = CallState()
            store = Outbox(call, on_record=live.apply)
            store.append_record(opening())
            store.append_record({"type": "recording", "rate": 24_000, "origin": 51.0})
            for entry in happened:
                store.append_record(entry)
            if ended:
                end = {"type": "end", "at": 101.0, "reason": "done", "pcm_bytes": 5 * CHUNK_BYTES}
                store.append_record({**end, "sha256": "0" * 64})
            read = read_state(list(call.read_journal().records()))
            assert read is not None and read.happened == live.happened
            assert (read.metadata, read.end) == (live.metadata, live.end)
            assert read.recording == live.recording
            assert read.started_event() == live.started_event()
            events = [state.ended_event(NO_COUNTS, [], None) for state in (live, read)]
            assert events[0] == events[1]

    def test_entries_of_another_version_are_passed_over(self, tmp_path: Path) -> None:
        """What is understood counts (fault 22)."""
        call = Spool(tmp_path / "spool").begin("RM_1")
        for entry in (opening(), {"type": "end"}, {"type": "chunk"}, {"type": "switch", "on": 1}):
            call.append_record(entry)
        call.append_record({"type": "turn", "role": "user", "text": "hello", "at": 60.0})
        state = read_state(list(call.read_journal().records()))
        assert state is not None and state.end is None and len(state.happened) == 1
        call.remove()

    @given(st.text("abcdef0123456789_", min_size=3, max_size=40))
    def test_the_account_tells_keys_apart_and_nothing_of_them(self, key: str) -> None:
        """Sixteen digits, the same for the same key (fault 25)."""
        account = account_of(f"rk_live_{key}")
        assert account == account_of(f"rk_live_{key}") != account_of(f"rk_live_{key}x")
        assert len(account) == 16 and f"rk_live_{key}" not in account
        assert "rk_live" not in json.dumps(opening())
