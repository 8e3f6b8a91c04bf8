"""Who works on a call: one process, on this host or on another that shares the disk.

    lock    locked by the process that works on the call, until it ends however it ends; as old as
            the call, whose birth stands in it
    owner   which process that is, as JSON; its time is the heartbeat

A lock is seen on its own host, and where the file system has locks at all. Elsewhere the heartbeat
decides: a call is left alone until it has missed ten.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
import uuid
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from .._process import beat, heartbeats, open_locks, shared
from .private_files import close_file, open_private
from .record_file import json_object

HEARTBEAT = 30.0  # seconds
TAKE_OVER = 300.0  # seconds without one; clocks of hosts that share a disk differ by less
LOCK = "lock"
_OWNER = "owner"
_MAX_OWNER = 4096  # bytes

# What a file system says that has no locks; everything else: another process has it.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


@dataclass(frozen=True)
class Owner:
    """A process, told apart from every other one on any host and at any time."""

    host: str
    boot: str | None  # of its kernel, which containers share; None where there is no telling
    pid: int
    started: int | None  # ticks after the boot


@dataclass(frozen=True)
class Now:
    """This moment by two clocks, in seconds: the wall's may be wrong, and outlives a boot."""

    wall: float
    uptime: float  # of the machine


class Claim:
    """This process's claim of a call, until it is given up or the process ends."""

    def __init__(self, path: Path, lock: int, *, beats: bool) -> None:
        self._path = path
        self._lock: int | None = lock
        self._beats = beats  # there is a heartbeat, for others to see
        self._is_mine = True

    @classmethod
    def take(cls, path: Path, *, is_new: bool = False) -> Claim | None:
        """Claims the call in this directory, unless somebody has it; may raise OSError.

        `is_new` if this process has just made the directory.
        """
        lock = _open_lock(path)
        try:
            locked = _try_lock(lock)
            before = b"" if is_new or locked is False else _free_from(path, locked=bool(locked))
            if before is not None and locked is not False:
                owns = _become_owner(path, before, locked=bool(locked))
                if owns is not False:
                    _write_birth(lock)
                    return cls(path, lock, beats=owns is True)
        except BaseException:
            _let_go(lock)
            raise
        _let_go(lock)
        return None

    @property
    def holds(self) -> bool:
        """Whether nobody else may touch the call's files."""
        return self._lock is not None and self._is_mine

    def beat(self) -> None:
        """Says that this process still works on the call, unless another one took it over."""
        if self._beats and self.holds:
            with contextlib.suppress(FileNotFoundError):  # the directory is gone: nobody has it
                self._is_mine = _owner_in(_read(self._path / _OWNER)) == myself()
                if self._is_mine:
                    os.utime(self._path / _OWNER)

    def give_up(self) -> None:
        """Whoever comes next may take the call at once."""
        if self._beats and self.holds:
            with contextlib.suppress(OSError):
                if _owner_in(_read(self._path / _OWNER)) == myself():
                    (self._path / _OWNER).unlink()
        if self._lock is not None:
            _unlock(self._lock)
        self.forget()

    def forget(self) -> None:
        """The claim is not this process's: a forked child has a copy of the lock, no more."""
        lock, self._lock = self._lock, None
        if lock is not None:
            _close_lock(lock)


def heartbeat() -> AbstractAsyncContextManager[None]:
    """The heart of this process beats for all its calls, while anybody needs it."""
    return heartbeats.join("calls", lambda: beat(HEARTBEAT))


def is_claimed(path: Path) -> bool:
    """Whether somebody works on the call. May raise OSError."""
    lock = _open_lock(path)
    try:
        locked = _try_lock(lock)
        return locked is False or _free_from(path, locked=bool(locked)) is None
    finally:
        _let_go(lock)


def _free_from(path: Path, *, locked: bool) -> bytes | None:
    """What stands in the owner's file, empty if there is none; None if somebody works on the call.

    `locked` if this process has the lock, which says it all for processes of the same boot.
    """
    if not path.exists():
        return None
    try:
        before, beat = _read(path / _OWNER), (path / _OWNER).stat().st_mtime
    except FileNotFoundError:  # given up, or of a version that wrote none
        before, beat = b"", path.stat().st_mtime
    owner = _owner_in(before)
    if locked and (not before or (owner is not None and _is_of_this_boot(owner))):
        return before
    return before if _now_of(path.parent) - beat > TAKE_OVER else None


def age_of(path: Path, found: os.stat_result, now: Now) -> tuple[float, bool]:
    """Seconds since a call began, by the stat of its lock; and whether no clock can be wrong there.

    The machine's uptime says it for calls of the same boot; the wall's clock for all others.
    """
    with contextlib.suppress(OSError):
        birth = json_object(_read(path / LOCK)) or {}
        began = birth.get("uptime")
        if birth.get("boot") == myself().boot is not None and isinstance(began, (int, float)):
            return max(0.0, now.uptime - began), True
    return max(0.0, now.wall - found.st_mtime), False


def myself() -> Owner:
    """This process."""
    return shared.keep("owner", _look_who)


def _look_who() -> Owner:
    return Owner(socket.gethostname(), _boot(), os.getpid(), _started())


def _boot() -> str | None:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def _started() -> int | None:
    with contextlib.suppress(OSError, IndexError, ValueError):
        behind_name = Path("/proc/self/stat").read_text().rpartition(")")[2]
        return int(behind_name.split()[19])  # the 22nd field of all
    return None


def _is_of_this_boot(owner: Owner) -> bool:
    me = myself()
    if owner.boot is None or me.boot is None:
        return owner.host == me.host
    return owner.boot == me.boot


def uptime() -> float:
    """Seconds since the boot, with those that the machine slept where that is known."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _write_birth(lock: int) -> None:
    """Says when the call began, in its new lock."""
    with contextlib.suppress(OSError):
        if not os.fstat(lock).st_size:
            os.write(lock, json.dumps({"boot": myself().boot, "uptime": uptime()}).encode())


def _become_owner(path: Path, before: bytes, *, locked: bool) -> bool | None:
    """Writes who has the call from now on; False if it is not as `before`: another was faster.

    None where the disk takes nothing more: the lock has to do, where there is one.
    """
    old, new = path / _OWNER, path / f"{_OWNER}.{uuid.uuid4().hex[:12]}"
    try:
        try:
            file = open_private(new, os.O_WRONLY | os.O_CREAT)
            try:
                os.write(file, json.dumps(asdict(myself())).encode())
            finally:
                os.close(file)  # where this fails, others may not see what was written
            return _replace(old, new, before)
        finally:
            new.unlink(missing_ok=True)
    except OSError:
        if locked:
            return None
        raise


def _replace(old: Path, new: Path, before: bytes) -> bool:
    """Puts the new owner's file in the old one's place: of several who try, one succeeds."""
    if before:
        aside = new.with_suffix(f"{new.suffix}-old")
        try:
            old.rename(aside)
        except FileNotFoundError:
            return False
        if _read(aside) != before:
            with contextlib.suppress(OSError):
                os.link(aside, old)
            aside.unlink()
            return False
        aside.unlink()
    try:
        os.link(new, old)
    except FileExistsError:
        return False
    except (OSError, AttributeError):  # no links here
        new.rename(old)
    return True


def _owner_in(text: bytes) -> Owner | None:
    """The owner; None if what stands there names none."""
    with contextlib.suppress(TypeError):
        return Owner(**(json_object(text) or {}))
    return None


def _read(path: Path) -> bytes:
    file = open_private(path, os.O_RDONLY)
    try:
        return os.read(file, _MAX_OWNER)
    finally:
        close_file(file)


def _now_of(directory: Path) -> float:
    """The time by the clock that gives the files here theirs: of a server, it is the server's."""
    probe = directory / f".{uuid.uuid4().hex[:12]}"
    file = open_private(probe, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(file, b"\0")
        return os.fstat(file).st_mtime
    finally:
        close_file(file)
        probe.unlink()


def _open_lock(path: Path) -> int:
    """A call's lock, not locked yet: a child that is forked from here on closes its copy."""
    lock = open_private(path / LOCK, os.O_RDWR | os.O_CREAT)
    open_locks.add(lock)
    return lock


def _close_lock(lock: int) -> None:
    open_locks.discard(lock)
    close_file(lock)


def _let_go(lock: int) -> None:
    """Nobody has the lock any more, whoever has a copy of its descriptor."""
    _unlock(lock)
    _close_lock(lock)


def _unlock(lock: int) -> None:
    with contextlib.suppress(ImportError, OSError):  # where there is no fork, closing it will do
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_UN)


def _try_lock(file: int) -> bool | None:
    """Locks an open file until it is closed or its process dies.

    False if another has the lock, None if the file system has none.
    """
    try:
        try:
            import fcntl
        except ImportError:
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows only
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _NO_LOCKS else False
    return True
