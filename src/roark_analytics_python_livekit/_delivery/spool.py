"""The directory of calls on disk: who may use it, who works on which call, how much may be in it.

It belongs to this user alone (0700) and is no link.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from .._diagnostics import logger
from . import tombstones
from .call_spool import CallSpool, SpooledCall, is_aside, is_call, look_at
from .claim import Now, uptime
from .private_files import SpoolError, secure_directory, why

DEFAULT_QUOTA = 1024**3  # bytes of all calls together: three hours of audio at 24 kHz
DEFAULT_MAX_AGE = 7 * 24 * 3600.0  # seconds; an older call is of no use to anybody
MEASURE_EVERY = 8 * 1024**2  # bytes that a call writes between two looks at the quota
_LEFTOVER_AGE = 3600.0  # seconds; a call without a journal that is older will never get one


@dataclass(frozen=True)
class Spool:
    """A directory of calls; SpoolError if it cannot be made, is a link, or is somebody else's.

    Each call looks at the quota now and then only: what it writes in between may come on top, and
    the journals.
    """

    root: Path
    _: KW_ONLY
    quota: int = DEFAULT_QUOTA
    max_age: float = DEFAULT_MAX_AGE
    measure_every: int = MEASURE_EVERY
    clock: Callable[[], float] = time.time  # the wall's: ages outlive processes
    uptime: Callable[[], float] = uptime  # the machine's

    def __post_init__(self) -> None:
        secure_directory(self.root)

    def begin(self, call_id: str) -> CallSpool:
        """Makes a place for a new call, claimed by this process; raises SpoolError if it cannot."""
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", call_id)[:60]
        path = self.root / f"{safe}.{uuid.uuid4().hex[:12]}"
        try:
            path.mkdir(mode=0o700)
            claimed = CallSpool.claim(path, self._room, is_new=True)
        except OSError as error:
            raise SpoolError(why(self.root, error)) from None
        if claimed is None:
            raise SpoolError("a new call's directory is claimed already")
        return claimed

    def _room(self) -> int:
        """Bytes that a call may write until it asks again, after old calls have made room."""
        _, used = self._evict(self.measure_every, clock_is_right=False)
        return min(self.quota - used, self.measure_every)

    def abandoned(self) -> Iterator[CallSpool]:
        """Claims the calls that dead processes left, one after the other.

        First those that have waited longest since something was delivered of them, or tried.
        Those that others have are looked at once more in the end: a process that just lists the
        spool holds their locks for a moment.
        """
        others = []
        for path in self._paths():
            if (call := _claim(path)) is not None:
                yield call
            else:
                others.append(path)
        yield from filter(None, map(_claim, others))

    def calls(self) -> list[SpooledCall]:
        """All calls, oldest first."""
        found = []
        for path in self._paths():
            with contextlib.suppress(OSError):
                found.append(look_at(path, Now(self.clock(), self.uptime())))
        return sorted(found, key=lambda call: -call.age)

    def evict(self, room: int = 0, *, clock_is_right: bool = False) -> list[str]:
        """Removes unclaimed calls that are too old, then the oldest until `room` bytes are free.

        Where the machine's uptime does not say how old a call is, it is not too old unless the
        wall's `clock_is_right`. Returns why each had to go: "age", "quota", or "leftover" of a call
        that nobody misses.
        """
        return self._evict(room, clock_is_right)[0]

    def _evict(self, room: int, clock_is_right: bool) -> tuple[list[str], int]:
        """The reasons, and the bytes of the calls that are left."""
        calls = self.calls()
        total = sum(call.size for call in calls)
        reasons = []
        for call in calls:
            reason = self._reason_to_go(call, total + room, clock_is_right)
            if reason is not None and _remove(call.path):
                total -= call.size
                reasons.append(reason)
        for reason, count in Counter(reasons).items():
            if reason != "leftover":
                text = "roark: %d calls were removed from the spool, undelivered (%s)"
                logger.warning(text, count, reason)
        return reasons, total

    def _reason_to_go(self, call: SpooledCall, wanted: int, clock_is_right: bool) -> str | None:
        with contextlib.suppress(OSError):
            if not is_call(call.path):
                return "leftover" if call.age > _LEFTOVER_AGE else None
        if call.age > self.max_age and (call.is_age_certain or clock_is_right):
            return "age"
        return "quota" if wanted > self.quota else None

    def _paths(self) -> list[Path]:
        """The calls' directories in the order of their last change; links are not looked at."""
        with contextlib.suppress(OSError):
            entries = [entry for entry in os.scandir(self.root) if _is_own_directory(entry)]
            entries.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
            return [Path(entry.path) for entry in entries]
        return []


def _claim(path: Path) -> CallSpool | None:
    """Claims a call that can be delivered; None if there is none, or it cannot be seen."""
    with contextlib.suppress(OSError):
        if not is_call(path) or is_aside(path):
            return None
        call = CallSpool.claim(path)
        if call is None:
            return None
        try:
            if is_call(path) and not tombstones.has(path):
                return call
        except OSError:
            call.release()
            raise
        if not call.remove():  # whoever had it was just removing it, or could not
            call.release()
    return None


def _remove(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if (claimed := CallSpool.claim(path)) is not None:
            if claimed.remove():
                return True
            claimed.release()
    return False


def _is_own_directory(entry: os.DirEntry[str]) -> bool:
    if not entry.is_dir(follow_symlinks=False):
        return False
    return not hasattr(os, "geteuid") or entry.stat(follow_symlinks=False).st_uid == os.geteuid()
