"""One owner a call: a lock on one host, a heartbeat between hosts; and how old a call is."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from roark_analytics_python_livekit._delivery import claim
from roark_analytics_python_livekit._delivery.call_spool import CallSpool, SpoolLostError
from roark_analytics_python_livekit._delivery.claim import TAKE_OVER
from roark_analytics_python_livekit._delivery.spool import Spool

WEEK = 7 * 86_400.0


class Hosts:
    """Hosts that share a directory and do not see one another's locks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._me = claim.myself()
        monkeypatch.setattr(claim, "_try_lock", lambda file: True)

    def on(self, name: str, *, later: float = 0.0) -> None:
        """What follows happens on this host, so many seconds later."""
        other = replace(self._me, host=name, boot=f"boot of {name}")
        self._monkeypatch.setattr(claim, "myself", lambda: other)
        self._monkeypatch.setattr(claim, "_now_of", lambda directory: time.time() + later)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """Two of them; the first begins."""
    hosts = Hosts(monkeypatch)
    hosts.on("a")
    return hosts


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """The directory that they share."""
    return Spool(tmp_path / "spool")


def begun(spool: Spool) -> CallSpool:
    """A call that goes on."""
    call = spool.begin("RM_1")
    call.append_record({"n": 1})
    return call


class TestTwoHosts:
    """A volume that several mount."""

    def test_a_live_call_is_left_alone(self, spool: Spool, hosts: Hosts) -> None:
        """As long as its heart beats, however long it takes (fault 31)."""
        call = begun(spool)
        hosts.on("b")
        assert list(spool.abandoned()) == [] and spool.evict(spool.quota) == []
        assert [one.claimed for one in spool.calls()] == [True]
        hosts.on("b", later=TAKE_OVER - 1)
        assert list(spool.abandoned()) == []
        hosts.on("a")
        call.append_record({"n": 2})

    def test_a_dead_hosts_call_is_taken_over_once(self, spool: Spool, hosts: Hosts) -> None:
        """After ten missed heartbeats; the third host comes too late (fault 31)."""
        begun(spool)
        hosts.on("b", later=TAKE_OVER + 1)
        (taken,) = spool.abandoned()
        assert list(taken.read_journal().records()) == [{"n": 1}]
        hosts.on("c", later=TAKE_OVER - 1)
        assert list(spool.abandoned()) == []

    def test_of_two_who_find_it_dead_one_gets_it(
        self, spool: Spool, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where both have looked before either has it."""
        path = begun(spool).path
        hosts.on("b", later=TAKE_OVER + 1)
        both: list[CallSpool | None] = []
        free_from = claim._free_from

        def meanwhile(path: Path, *, locked: bool) -> bytes | None:
            before = free_from(path, locked=locked)
            if not both:
                both.append(None)
                hosts.on("c", later=TAKE_OVER + 1)
                both[0] = CallSpool.claim(path)
                hosts.on("b", later=TAKE_OVER + 1)
            return before

        monkeypatch.setattr(claim, "_free_from", meanwhile)
        both.append(CallSpool.claim(path))
        assert [one is not None for one in both] == [True, False]
        assert both[0] is not None
        both[0].append_record({"n": 2})

    def test_a_host_that_comes_back_keeps_off(self, spool: Spool, hosts: Hosts) -> None:
        """It was asleep, say: what it has of the call goes elsewhere."""
        call = begun(spool)
        hosts.on("b", later=TAKE_OVER + 1)
        (taken,) = spool.abandoned()
        hosts.on("a")
        call.beat()
        for write in (lambda: call.append_record({"n": 2}), lambda: call.append_pcm(0, b"1234")):
            with pytest.raises(SpoolLostError):
                write()
        call.release()
        assert list(taken.read_journal().records()) == [{"n": 1}]
        hosts.on("c")
        assert list(spool.abandoned()) == []

    def test_a_call_that_was_given_up_waits_for_nobody(self, spool: Spool, hosts: Hosts) -> None:
        """The next host need not wait until its heart would have stopped."""
        begun(spool).release()
        hosts.on("b")
        assert len(list(spool.abandoned())) == 1

    def test_the_heart_beats(self, spool: Spool, hosts: Hosts) -> None:
        """A beat is seen by the clock of the files."""
        call = begun(spool)
        owner = call.path / "owner"
        before = owner.stat().st_mtime
        os.utime(owner, (before - 100, before - 100))
        call.beat()
        assert owner.stat().st_mtime > before - 1


@pytest.fixture
def fork() -> Iterator[Callable[[], None]]:
    """Forks a child that lives as long as the test."""
    children: list[int] = []
    lives, ends = os.pipe(), os.pipe()

    def begin() -> None:
        if not (child := os.fork()):
            try:
                os.close(ends[1])
                os.write(lives[1], b"x")
                os.read(ends[0], 1)
            finally:
                os._exit(0)
        children.append(child)
        assert os.read(lives[0], 1) == b"x"

    yield begin
    os.close(ends[1])
    for child in children:
        os.waitpid(child, 0)
    for end in (*lives, ends[0]):
        os.close(end)


def claimed_by_one_who_dies(path: Path) -> None:
    """All that a kill does to a lock: it is closed."""
    call = CallSpool.claim(path)
    assert call is not None
    call.forget()


class TestForks:
    """A child has a copy of its parent's descriptors, and a lock is of all who have one."""

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    @pytest.mark.parametrize("look", [claim.is_claimed, claimed_by_one_who_dies])
    def test_a_child_that_is_forked_in_the_middle_has_no_lock(
        self,
        spool: Spool,
        monkeypatch: pytest.MonkeyPatch,
        fork: Callable[[], None],
        look: Callable[[Path], object],
    ) -> None:
        """Neither of a call that is just claimed, nor of one that is looked at (fault 24)."""
        call = begun(spool)
        call.release()
        free_from = claim._free_from

        def meanwhile(path: Path, *, locked: bool) -> bytes | None:
            assert locked
            fork()
            return free_from(path, locked=locked)

        with monkeypatch.context() as patched:
            patched.setattr(claim, "_free_from", meanwhile)
            look(call.path)
        assert len(list(spool.abandoned())) == 1

    @pytest.mark.parametrize("look", [claim.is_claimed, CallSpool.claim])
    def test_a_copy_that_nobody_knows_of_holds_no_call_that_was_given_up(
        self,
        spool: Spool,
        monkeypatch: pytest.MonkeyPatch,
        look: Callable[[Path], CallSpool | bool],
    ) -> None:
        """A child got it before it was noted whose it is (fault 24)."""
        call = begun(spool)
        call.release()
        copies: list[int] = []
        open_private = claim.open_private

        def copied(path: Path, flags: int) -> int:
            file = open_private(path, flags)
            if path.name == claim.LOCK:
                copies.append(os.dup(file))
            return file

        with monkeypatch.context() as patched:
            patched.setattr(claim, "open_private", copied)
            if isinstance(taken := look(call.path), CallSpool):
                taken.release()
        assert len(list(spool.abandoned())) == 1
        (copy,) = copies
        os.close(copy)


class TestWithoutLocks:
    """File systems that have none."""

    @pytest.fixture(autouse=True, params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
    def no_locks(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """What they answer."""

        def refuse(file: int, operation: int) -> None:
            raise OSError(request.param, "no locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)

    def test_calls_are_spooled_all_the_same(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The heartbeat says who works on them, also to processes of the same host."""
        call = begun(spool)
        assert list(spool.abandoned()) == []
        call.forget()  # as a kill does
        assert list(spool.abandoned()) == []
        monkeypatch.setattr(claim, "_now_of", lambda directory: time.time() + TAKE_OVER + 1)
        (taken,) = spool.abandoned()
        assert list(taken.read_journal().records()) == [{"n": 1}]
        taken.remove()
        assert list(spool.root.iterdir()) == []

    def test_they_go_by_quota(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is left for ever."""
        begun(spool).forget()
        monkeypatch.setattr(claim, "_now_of", lambda directory: time.time() + TAKE_OVER + 1)
        assert spool.evict(spool.quota) == ["quota"]
        assert list(spool.root.iterdir()) == []


class TestAge:
    """A wrong clock deletes nothing that a right one would keep."""

    @pytest.fixture
    def late(self, tmp_path: Path) -> Spool:
        """The spool, as a clock sees it that is eight days ahead."""
        return Spool(tmp_path / "spool", clock=lambda: time.time() + WEEK + 86_400)

    def test_a_clock_that_is_ahead_deletes_nothing(self, spool: Spool, late: Spool) -> None:
        """The machine's uptime says how old the call is, whatever else is known (fault 32)."""
        begun(spool).release()
        assert late.evict() == [] and late.evict(clock_is_right=True) == []
        assert len(list(late.abandoned())) == 1

    def test_nor_does_it_after_a_restart(
        self, spool: Spool, late: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Unless the service has said that the clock is right."""
        begun(spool).release()
        restarted = replace(claim.myself(), boot="the next boot")
        monkeypatch.setattr(claim, "myself", lambda: restarted)
        assert late.evict() == []
        assert spool.evict(clock_is_right=True) == []
        assert late.evict(clock_is_right=True) == ["age"]

    def test_what_is_too_old_goes(self, spool: Spool) -> None:
        """By the uptime, no clock is needed."""
        begun(spool).release()
        late = Spool(spool.root, uptime=lambda: claim.uptime() + WEEK + 1)
        assert late.evict() == ["age"]

    @pytest.mark.parametrize("birth", [b"", b"{", b"[1]", json.dumps({"uptime": "x"}).encode()])
    def test_a_lock_that_does_not_say_it_is_as_old_as_its_file(
        self, spool: Spool, late: Spool, birth: bytes
    ) -> None:
        """Older versions wrote nothing there."""
        call = begun(spool)
        call.release()
        (call.path / "lock").write_bytes(birth)
        assert late.evict() == []
        assert late.evict(clock_is_right=True) == ["age"]
