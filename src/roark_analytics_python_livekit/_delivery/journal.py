"""Writes a call's journal; what the disk refuses now is written with a later record."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from .call_spool import CallSpool


class JournalWriter:
    """Appends records to a call's journal, in order, through refusals of the disk.

    Args:
        spool: The call's place on disk; None writes nothing.
        on_refused: Called with each error of the disk.

    Attributes:
        has_records: A later process knows whose call it is.
    """

    def __init__(self, spool: CallSpool | None, on_refused: Callable[[OSError], None]) -> None:
        self.has_records = False
        self._spool = spool
        self._on_refused = on_refused
        self._unwritten: deque[tuple[Mapping[str, Any], bytes | None]] = deque()

    def append(self, record: Mapping[str, Any], payload: bytes | None = None) -> None:
        """Writes a record, once those before it are written."""
        if self._spool is not None:
            self._unwritten.append((record, payload))
            self.flush()

    def flush(self) -> None:
        """Writes what was refused before, as far as the disk takes it."""
        while self._spool is not None and self._unwritten:
            try:
                self._spool.append_record(*self._unwritten[0])
                self.has_records = True
            except OSError as error:
                self._on_refused(error)
                return
            except (TypeError, ValueError, RecursionError):
                pass  # not JSON: it would be refused for ever
            self._unwritten.popleft()

    def close(self) -> None:
        """Uses the disk no more."""
        self._spool = None
