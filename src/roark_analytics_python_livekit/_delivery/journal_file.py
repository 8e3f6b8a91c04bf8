"""A call's journal on disk: written again from the start where the disk was gone and is back."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._call.records import Record
from .._diagnostics import logger
from .call_spool import CallSpool, SpoolLostError, encode_record


@dataclass(frozen=True)
class Reopening:
    """How a call gets a place on disk in its middle."""

    reopen: Callable[[], CallSpool | None]  # None if there is none yet
    records: Callable[[], Iterable[Record]]  # all that its journal has to hold


class JournalFile:
    """Writes the records of a call; what the disk refuses is written before the next one."""

    def __init__(
        self,
        spool: CallSpool | None,
        reopening: Reopening | None,
        on_change: Callable[[CallSpool | None], None],
    ) -> None:
        self.spool = spool
        self.has_records = False  # on disk: a later process knows whose call it is
        self._reopening = reopening
        self._on_change = on_change
        self._unwritten: deque[tuple[Mapping[str, Any], bytes]] = deque()
        self._was_refused = False

    def append(self, record: Mapping[str, Any], encoded: bytes | None = None) -> None:
        """Adds a record, `encoded` if it is already; `Reopening.records` give it from now on."""
        if self.spool is not None:
            self._to_write(record, encoded)
            self.write()
        if self.spool is None and self._reopening is not None:
            self._begin_again(self._reopening)

    def write(self) -> None:
        """Writes what was refused before, as far as the disk takes it."""
        while self._unwritten and self.spool is not None:
            try:
                self.spool.append_record(*self._unwritten[0])
            except OSError as error:
                self.say_refused(error)
                if isinstance(error, SpoolLostError):
                    self.spool.forget()
                    self._use(None)
                return
            self.has_records = True
            self._unwritten.popleft()

    def close(self) -> CallSpool | None:
        """Writes no more; returns the call's place on disk."""
        self.write()
        spool, self.spool, self._reopening = self.spool, None, None
        return spool

    def say_refused(self, error: OSError) -> None:
        """The disk does not take something: said once."""
        if not self._was_refused:
            self._was_refused = True
            logger.warning(
                "roark: the spool cannot be written (%s); going on in memory",
                error.strerror or type(error).__name__,
            )

    def _to_write(self, record: Mapping[str, Any], encoded: bytes | None = None) -> None:
        with contextlib.suppress(TypeError, ValueError, RecursionError):  # it is not JSON
            self._unwritten.append((record, encoded or encode_record(record)))

    def _begin_again(self, reopening: Reopening) -> None:
        if (spool := reopening.reopen()) is not None:
            self._use(spool)
            for record in reopening.records():
                self._to_write(record)
            self.write()

    def _use(self, spool: CallSpool | None) -> None:
        self.spool, self.has_records = spool, False
        self._unwritten.clear()
        self._on_change(spool)
