"""One call's files in the spool, claimed by one process.

    <call>/                 named after the call's id, with a random part
        lock, owner         say which process works on the call: see claim.py
        unreadable          there if nobody can say whose call it is: it is not tried again
        journal             the call's records: what happened, and what was delivered
        000007.pcm          a chunk of the recording, as it is being written or waits

The files never hold the API key.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._process import open_calls
from .._steps import Steps
from . import tombstones
from .claim import LOCK, Claim, Now, age_of, is_claimed
from .private_files import close_file, open_private
from .record_file import HEADER, Contents, RecordFile

_JOURNAL, _ASIDE = "journal", "unreadable"
_CHUNK_NAME = re.compile(r"^(\d{6,})\.pcm$")


def encode_record(record: Mapping[str, Any]) -> bytes:
    """A record as the journal has it; TypeError, ValueError or RecursionError if it is not JSON."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class SpoolLostError(OSError):
    """The call's files are gone, or another process's: what is written there helps nobody."""


@dataclass(frozen=True)
class SpooledCall:
    """What is known of a call without claiming it."""

    path: Path
    size: int  # bytes of its files
    age: float  # seconds since it began: each try to deliver it writes to it
    is_age_certain: bool  # no wrong clock can have made it older
    claimed: bool  # a living process works on it
    aside: bool  # it was set aside: its journal is not readable


class CallSpool:
    """One call's files, claimed by this process. Made by `Spool.begin` and `Spool.abandoned`."""

    def __init__(self, path: Path, claim: Claim, ask_room: Callable[[], int] | None = None) -> None:
        self.path = path
        self._claim = claim
        self._ask_room = ask_room
        self._room = 0  # bytes that may be written before it is asked again
        self._journal = RecordFile(path / _JOURNAL, resync=True)
        self._filling: tuple[int, RecordFile] | None = None  # the chunk that is being written
        open_calls.add(self)

    @classmethod
    def claim(
        cls, path: Path, ask_room: Callable[[], int] | None = None, *, is_new: bool = False
    ) -> CallSpool | None:
        """Takes the call in this directory, unless a living process has it; may raise OSError.

        `ask_room` gives the bytes of PCM that may be written until it is asked again. The directory
        `is_new` if this process has just made it.
        """
        claim = Claim.take(path, is_new=is_new)
        return None if claim is None else cls(path, claim, ask_room)

    def beat(self) -> None:
        """Says that this process still works on the call; raises OSError."""
        self._claim.beat()

    # The journal

    def append_record(self, record: Mapping[str, Any], encoded: bytes | None = None) -> None:
        """Appends a record, `encoded` if it is already; raises OSError if it cannot be written."""
        self._check_claim()
        try:
            self._journal.append(encode_record(record) if encoded is None else encoded)
        except FileNotFoundError as error:
            raise SpoolLostError(error.errno, "its files were removed") from None

    def read_journal(self) -> Contents:
        """The journal, as far as it can be believed; raises OSError if it cannot be read."""
        return self._journal.read()

    def reading_journal(self) -> Steps[Contents]:
        """`read_journal`, in steps."""
        return self._journal.reading()

    # The recording

    def append_pcm(self, index: int, pcm: bytes) -> None:
        """Appends PCM to a chunk; raises OSError, also where the quota is used up."""
        self._check_claim()
        self._take_room(HEADER.size + len(pcm))
        if self._filling is None or self._filling[0] != index:
            self._close_chunk()
            self._filling = (index, RecordFile(self._chunk_path(index)))
        self._filling[1].append(pcm)

    def _take_room(self, size: int) -> None:
        if self._ask_room is None:
            return
        if self._room < size:
            self._room = self._ask_room()
        if self._room < size:
            raise OSError(errno.EDQUOT, "the spool's quota is used up")
        self._room -= size

    def _check_claim(self) -> None:
        if not self._claim.holds:
            raise SpoolLostError(errno.EPERM, "another process has taken the call over")

    def read_chunk(self, index: int) -> bytes:
        """A chunk's PCM, as far as it can be believed; raises OSError if it cannot be read."""
        return b"".join(RecordFile(self._chunk_path(index)).read().bodies)

    def chunk_indices(self) -> list[int]:
        """The indices of the chunks that are here, in order; raises OSError."""
        return _chunk_indices(self.path)

    def remove_chunk(self, index: int) -> None:
        """Removes a chunk, if it is there; raises OSError."""
        if self._filling is not None and self._filling[0] == index:
            self._close_chunk()
        self._chunk_path(index).unlink(missing_ok=True)

    def _chunk_path(self, index: int) -> Path:
        return self.path / f"{index:06d}.pcm"

    def _close_chunk(self) -> None:
        if self._filling is not None:
            self._filling[1].close()
            self._filling = None

    # Letting go

    def postpone(self) -> None:
        """Lets the other calls go before this one the next time."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def set_aside(self) -> None:
        """Leaves the call to nobody: it stays until it has to go by age or quota."""
        with contextlib.suppress(OSError):
            close_file(open_private(self.path / _ASIDE, os.O_WRONLY | os.O_CREAT))

    def release(self) -> None:
        """Gives the call up without removing it: whoever comes next may claim it."""
        self._close_files()
        self._claim.give_up()

    def forget(self) -> None:
        """In a forked child: the call is the parent's."""
        self._close_files()
        self._claim.forget()

    def remove(self) -> bool:
        """Removes everything of the call, unless it was released; a kill may leave an empty one.

        Returns whether it is gone: if not, it is still claimed.
        """
        if not self._claim.holds:
            return True
        self._close_files()
        try:  # the journal first: without it nobody else looks at the rest
            (self.path / _JOURNAL).unlink(missing_ok=True)
        except OSError:
            tombstones.put(self.path)
            return False
        with contextlib.suppress(OSError):
            _remove_directory(self.path)
        tombstones.remove(self.path)
        self._claim.forget()
        return True

    def _close_files(self) -> None:
        self._close_chunk()
        self._journal.close()


# What can be seen of a call without claiming it


def is_call(path: Path) -> bool:
    """Whether there is anything to deliver: a record, or sound whose records were damaged.

    If not, it is just being made, or a kill has left it when it was made or removed. Raises OSError
    if it cannot be seen.
    """
    try:
        return (path / _JOURNAL).stat().st_size > 0 or bool(_chunk_indices(path))
    except FileNotFoundError:  # no journal: it comes first
        return False


def is_aside(path: Path) -> bool:
    """Whether a call was set aside."""
    return (path / _ASIDE).exists()


def look_at(path: Path, now: Now) -> SpooledCall:
    """What can be seen of a call. May raise OSError."""
    size, oldest = 0, path.stat()
    for entry in os.scandir(path):
        found = entry.stat(follow_symlinks=False)
        size += found.st_size
        if entry.name == LOCK:
            oldest = found
    age, is_certain = age_of(path, oldest, now)
    # it may seem claimed while another process just asks this
    claimed = not is_call(path) or is_claimed(path)
    return SpooledCall(path, size, age, is_certain, claimed, is_aside(path))


def _remove_directory(path: Path) -> None:
    """As far as it can; `shutil.rmtree` of older Pythons may close a descriptor twice."""
    for name in os.listdir(path):
        with contextlib.suppress(OSError):
            (path / name).unlink()
    path.rmdir()


def _chunk_indices(path: Path) -> list[int]:
    names = map(_CHUNK_NAME.match, os.listdir(path))
    return sorted(int(name[1]) for name in names if name)
