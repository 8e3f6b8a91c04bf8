"""The crash-safe store of calls on disk: append, list, claim, quota. It never holds the API key.

    <spool>/                    0700, owned by this user, no link
        <call>/                 one call: a name made of its id, and a random part
            lock                locked by the process that works on the call; freed when it dies;
                                as old as the call, as nothing is written to it
            unreadable          there if nobody can tell whose call it is: it is not tried again
            journal             what happened and what was delivered, one record after the other
            000007.pcm          a chunk of the recording, as it is being written or waits

Every record of a file stands behind its length and its checksum. What a kill leaves half-written at
the end is cut when the file is read. A record of the journal with flipped bits is passed over; in a
chunk it ends what is believed of it, so that no sound is shifted.
Writes go to the kernel at once (a killed process loses nothing of them) and are not synced: a
machine that loses its power may lose the last seconds.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import struct
import time
import uuid
import weakref
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._diagnostics import logger

DEFAULT_QUOTA = 1024**3  # bytes of all calls together: three hours of audio at 24 kHz
DEFAULT_MAX_AGE = 7 * 24 * 3600.0  # seconds; an older call is of no use to anybody
_LEFTOVER_AGE = 3600.0  # seconds; a call without a journal that is older will never get one
_MEASURE_EVERY = 8 * 1024 * 1024  # bytes that a call writes between two looks at the quota
_HEADER = struct.Struct("<II")  # length of the payload, its CRC-32
_MAX_RECORD = 64 * 1024 * 1024
_JOURNAL, _LOCK, _ASIDE = "journal", "lock", "unreadable"
_HEADER_AT = re.compile(rb"(?s)(?=.{3}[\x00-\x03].{4}\{)")  # of a record of the journal, maybe
_CHUNK_NAME = re.compile(r"^(\d{6,})\.pcm$")


class SpoolError(Exception):
    """The spool cannot be used; the text says why and is fit for a log."""


@dataclass(frozen=True)
class SpooledCall:
    """What is known of a call in the spool without claiming it.

    Attributes:
        path: Its directory.
        size: Bytes of its files.
        age: Seconds since it began: each try to deliver it writes to it.
        claimed: Whether a living process works on it.
        aside: Whether it was set aside: its journal is not readable.
    """

    path: Path
    size: int
    age: float
    claimed: bool
    aside: bool = False


class Spool:
    """A directory of calls.

    Args:
        root: The directory; made if it is not there.
        quota: Bytes that all calls may take together. Each call looks at it before it writes
            another 8 MiB of sound: so much, and the journals, may come on top.
        max_age: Seconds after which a call that nobody works on is removed.
        clock: The wall clock, in seconds: ages outlive processes.

    Raises:
        SpoolError: The directory cannot be made, is a link, or belongs to somebody else.
    """

    def __init__(
        self,
        root: Path,
        *,
        quota: int = DEFAULT_QUOTA,
        max_age: float = DEFAULT_MAX_AGE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self.quota = quota
        self._max_age = max_age
        self._clock = clock
        _secure_directory(root)

    def begin(self, call_id: str) -> CallSpool:
        """Makes a place for a new call, claimed by this process.

        Raises:
            SpoolError: It cannot be made.
        """
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", call_id)[:60]
        path = self.root / f"{safe}.{uuid.uuid4().hex[:12]}"
        try:
            path.mkdir(mode=0o700)
            claimed = CallSpool.claim(path, self._room)
        except OSError as error:
            raise SpoolError(_why(error)) from None
        if claimed is None:
            raise SpoolError("a new call's directory is claimed already")
        return claimed

    def _room(self) -> int:
        """Bytes that may still be written, after what is too old or too much has gone."""
        self.evict(_MEASURE_EVERY)
        return self.quota - sum(call.size for call in self.calls())

    def abandoned(self) -> Iterator[CallSpool]:
        """Claims the calls that dead processes left, one after the other.

        First those that have waited longest since something was delivered of them, or tried.

        Those that others have are looked at once more in the end: a process that just lists the
        spool holds their locks for a moment.
        """
        others = []
        for path in self._paths():
            if (call := self._claim(path)) is not None:
                yield call
            else:
                others.append(path)
        for path in others:
            if (call := self._claim(path)) is not None:
                yield call

    def _claim(self, path: Path) -> CallSpool | None:
        with contextlib.suppress(OSError):
            if not _is_call(path) or _is_aside(path):
                return None
            call = CallSpool.claim(path)
            if call is None or _is_call(path):
                return call
            call.remove()  # whoever had it was just removing it
        return None

    def calls(self) -> list[SpooledCall]:
        """All calls, oldest first."""
        found = []
        for path in self._paths():
            with contextlib.suppress(OSError):
                size, begun = _measure(path)
                age = max(0.0, self._clock() - begun)
                found.append(SpooledCall(path, size, age, _is_claimed(path), _is_aside(path)))
        return sorted(found, key=lambda call: -call.age)

    def evict(self, room: int = 0) -> list[str]:
        """Removes unclaimed calls that are too old, then the oldest until `room` bytes are free.

        Returns:
            Why each removed call had to go: "age", "quota" or, for what a kill has left of a call
            that nobody misses, "leftover".
        """
        calls = self.calls()
        total = sum(call.size for call in calls)
        reasons = []
        for call in calls:
            reason = self._reason_to_go(call, total + room)
            if reason is not None and self._remove(call.path):
                total -= call.size
                reasons.append(reason)
        _say_lost(reasons)
        return reasons

    def _reason_to_go(self, call: SpooledCall, wanted: int) -> str | None:
        if not _is_call(call.path):
            return "leftover" if call.age > _LEFTOVER_AGE else None
        if call.age > self._max_age:
            return "age"
        return "quota" if wanted > self.quota else None

    def _remove(self, path: Path) -> bool:
        with contextlib.suppress(OSError):
            if (claimed := CallSpool.claim(path)) is not None:
                claimed.remove()
                return True
        return False

    def _paths(self) -> list[Path]:
        """The calls' directories in the order of their last change; links are not looked at."""
        with contextlib.suppress(OSError):
            entries = [entry for entry in os.scandir(self.root) if _is_own_directory(entry)]
            entries.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
            return [Path(entry.path) for entry in entries]
        return []


class CallSpool:
    """One call's files, claimed by this process. Made by `Spool.begin` and `Spool.abandoned`.

    Attributes:
        path: The call's directory.
        torn: Bytes that were cut off or passed over because they were torn or corrupt.
        damaged: Records of the journal that were passed over when it was last read.
    """

    def __init__(self, path: Path, lock: int, room: Callable[[], int] | None = None) -> None:
        self.path = path
        self.torn = 0
        self.damaged = 0
        self._lock = lock
        self._room = room
        self._allowed = 0  # bytes that may be written before the quota is looked at again
        self._journal: int | None = None
        self._chunk: tuple[int, int] | None = None  # (index, descriptor) of the one being written
        _open_calls.add(self)

    @classmethod
    def claim(cls, path: Path, room: Callable[[], int] | None = None) -> CallSpool | None:
        """Takes a call, unless a living process has it.

        Args:
            path: The call's directory.
            room: Tells how many bytes may still be written; None is without limit.

        Raises:
            OSError: The directory or its lock cannot be opened.
        """
        lock = _open(path / _LOCK, os.O_RDWR | os.O_CREAT)
        if not _try_lock(lock) or not path.exists():
            os.close(lock)
            return None
        return cls(path, lock, room)

    # The journal

    def note(self, record: Mapping[str, Any]) -> None:
        """Appends a record to the journal.

        Raises:
            OSError: It cannot be written.
        """
        if self._journal is None:
            self._journal = self._open_appending(_JOURNAL)
        payload = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        _append(self._journal, payload.encode("utf-8", "replace"))

    def records(self) -> list[dict[str, Any]]:
        """The journal, as far as it can be believed."""
        found = []
        for payload in self._read_journal()[0]:
            try:
                record = json.loads(payload)
            except ValueError:
                continue
            if isinstance(record, dict):
                found.append(record)
        return found

    # The recording

    def append(self, index: int, pcm: bytes) -> None:
        """Appends PCM to the chunk with this index.

        Raises:
            OSError: It cannot be written, or the quota is used up.
        """
        self._check_quota(_HEADER.size + len(pcm))
        if self._chunk is None or self._chunk[0] != index:
            self._close_chunk()
            self._chunk = (index, self._open_appending(_chunk_name(index)))
        _append(self._chunk[1], pcm)

    def _check_quota(self, size: int) -> None:
        if self._room is None:
            return
        if self._allowed < size:
            self._allowed = min(self._room(), _MEASURE_EVERY)
        if self._allowed < size:
            raise OSError(errno.EDQUOT, "the spool's quota is used up")
        self._allowed -= size

    def chunk(self, index: int) -> bytes:
        """A chunk's PCM, as far as it can be believed."""
        return b"".join(self._read(_chunk_name(index)))

    def chunks(self) -> list[int]:
        """The indices of the chunks that are here, in order."""
        names = (_CHUNK_NAME.match(name) for name in os.listdir(self.path))
        return sorted(int(match[1]) for match in names if match)

    def drop_chunk(self, index: int) -> None:
        """Removes a chunk."""
        if self._chunk is not None and self._chunk[0] == index:
            self._close_chunk()
        (self.path / _chunk_name(index)).unlink(missing_ok=True)

    # The end

    def postpone(self) -> None:
        """Lets the other calls go before this one the next time."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def set_aside(self) -> None:
        """Leaves the call to nobody: it stays until it has to go by age or quota."""
        with contextlib.suppress(OSError):
            os.close(_open(self.path / _ASIDE, os.O_WRONLY | os.O_CREAT))

    def release(self) -> None:
        """Gives the call up without removing it: whoever comes next may claim it."""
        self._close_files()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def remove(self) -> None:
        """Removes everything of the call. Killed in the middle, an empty call is left."""
        self._close_files()
        with contextlib.suppress(OSError):  # first: without it nobody else looks at the rest
            (self.path / _JOURNAL).unlink()
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def _close_files(self) -> None:
        self._close_chunk()
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def _close_chunk(self) -> None:
        if self._chunk is not None:
            os.close(self._chunk[1])
            self._chunk = None

    def _open_appending(self, name: str) -> int:
        """Opens a file to append to it, its torn end cut off before."""
        path = self.path / name
        file = _open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        if name == _JOURNAL:
            good = self._read_journal()[1]
        else:
            good = sum(_HEADER.size + len(payload) for payload in self._read(name))
        os.ftruncate(file, good)
        return file

    def _read_journal(self) -> tuple[list[bytes], int]:
        """(the journal's records that can be believed, where its torn end begins)."""
        try:
            data = _read_all(self.path / _JOURNAL)
        except OSError:
            return [], 0
        found, self.damaged, end = _believable(data)
        self.torn += len(data) - sum(_HEADER.size + len(payload) for payload in found)
        return found, end

    def _read(self, name: str) -> Iterator[bytes]:
        """The payloads of a chunk, up to the first that is torn or corrupt."""
        try:
            data = _read_all(self.path / name)
        except OSError:
            return
        position = 0
        while (payload := _payload_at(data, position)) is not None:
            yield payload
            position += _HEADER.size + len(payload)
        self.torn += len(data) - position


_open_calls: weakref.WeakSet[CallSpool] = weakref.WeakSet()


def _release_in_child() -> None:
    """A forked child lets go of its parent's calls: a lock lasts until every copy is closed."""
    for call in list(_open_calls):
        with contextlib.suppress(OSError):
            call.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


def _chunk_name(index: int) -> str:
    return f"{index:06d}.pcm"


def _append(file: int, payload: bytes) -> None:
    """One write a record: a kill leaves the whole record, or a tail that is recognised as torn."""
    record = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
    end = os.lseek(file, 0, os.SEEK_END)
    try:
        written = os.write(file, record)
        if written < len(record):
            raise OSError(errno.ENOSPC, "short write")
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, end)  # a torn record in the middle would hide all that follow
        raise


def _believable(data: bytes) -> tuple[list[bytes], int, int]:
    """(the records of a journal that can be believed, how many cannot, where its torn end begins).

    A record that cannot be believed ends where its length says, or where the next good one begins:
    its length may be what is damaged.
    """
    found: list[bytes] = []
    damaged = position = following = 0
    while position < len(data):
        if payload := _payload_at(data, position):
            found.append(payload)
            position += _HEADER.size + len(payload)
            continue
        if following <= position:
            following = _next_record(data, position + 1)
        end = min(_end_at(data, position), following)
        if end > len(data):
            break
        damaged += 1
        position = end
    return found, damaged, position


def _payload_at(data: bytes, position: int) -> bytes | None:
    """A record's payload; None where no record can be believed."""
    if position + _HEADER.size > len(data):
        return None
    length, checksum = _HEADER.unpack_from(data, position)
    if length > _MAX_RECORD:
        return None
    payload = data[position + _HEADER.size : position + _HEADER.size + length]
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _end_at(data: bytes, position: int) -> int:
    """Where a journal's record ends, as its length says; behind the file where that is none."""
    nowhere = len(data) + 1
    if position + _HEADER.size > len(data):
        return nowhere
    length, _ = _HEADER.unpack_from(data, position)
    end: int = position + _HEADER.size + length
    return end if len("{}") <= length <= _MAX_RECORD and end <= len(data) else nowhere


def _next_record(data: bytes, position: int) -> int:
    """Where the next good record of a journal begins; behind the file where there is none.

    No good record's payload holds what looks like a header: JSON has no control characters.
    """
    for match in _HEADER_AT.finditer(data, position):
        if _end_at(data, match.start()) <= len(data) and _payload_at(data, match.start()):
            return match.start()
    return len(data) + 1


def _read_all(path: Path) -> bytes:
    with open(_open(path, os.O_RDONLY), "rb") as file:
        return file.read()


def _open(path: Path, flags: int) -> int:
    """Opens a file of ours: no link is followed, nobody else may read it."""
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o600)


def _secure_directory(root: Path) -> None:
    """Makes the directory, or checks and tightens the one that is there."""
    try:
        for parent in reversed(root.parents):  # mkdir(parents=True) leaves their mode to the umask
            if not parent.exists():
                parent.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            root.mkdir(mode=0o700)
        found = root.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise SpoolError("the spool directory is a link")
        if not stat.S_ISDIR(found.st_mode):
            raise SpoolError("the spool directory is not a directory")
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
            raise SpoolError("the spool directory belongs to another user")
        if stat.S_IMODE(found.st_mode) != 0o700:
            root.chmod(0o700)
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            raise SpoolError("the spool directory cannot be written")
    except OSError as error:
        raise SpoolError(_why(error)) from None
    except ValueError:  # a NUL in the path
        raise SpoolError("the spool directory's path is not one") from None


def _say_lost(reasons: list[str]) -> None:
    for reason, count in Counter(reasons).items():
        if reason != "leftover":
            logger.warning(
                "roark: %d calls were removed from the spool, undelivered (%s)", count, reason
            )


def _why(error: OSError) -> str:
    return f"the spool directory cannot be used ({error.strerror or type(error).__name__})"


def _is_own_directory(entry: os.DirEntry[str]) -> bool:
    if not entry.is_dir(follow_symlinks=False):
        return False
    return not hasattr(os, "geteuid") or entry.stat(follow_symlinks=False).st_uid == os.geteuid()


def _measure(path: Path) -> tuple[int, float]:
    """(bytes of a call's files, when it began): nothing is ever written to its lock."""
    size, begun = 0, path.stat().st_mtime
    for entry in os.scandir(path):
        found = entry.stat(follow_symlinks=False)
        size += found.st_size
        if entry.name == _LOCK:
            begun = found.st_mtime
    return size, begun


def _is_call(path: Path) -> bool:
    """Whether there is anything to deliver: a record, or sound whose records were damaged.

    If not, it is just being made, or a kill has left it when it was made or removed.
    """
    try:
        if (path / _JOURNAL).stat().st_size:
            return True
        return any(_CHUNK_NAME.match(name) for name in os.listdir(path))
    except OSError:  # no journal
        return False


def _is_aside(path: Path) -> bool:
    return (path / _ASIDE).exists()


def _is_claimed(path: Path) -> bool:
    """Whether somebody works on a call. It may seem so while somebody else just asks this."""
    if not _is_call(path):
        return True
    call = CallSpool.claim(path)
    if call is None:
        return True
    call.release()
    return False


def _try_lock(file: int) -> bool:
    """Locks an open file until it is closed or its process dies; False if somebody has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return _try_lock_windows(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _try_lock_windows(file: int) -> bool:
    import msvcrt

    try:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows only
    except OSError:
        return False
    return True
