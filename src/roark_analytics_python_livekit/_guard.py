"""The one guard: an error of this package is swallowed and counted, never the agent's problem."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ._log import logger


class Guard:
    """Swallows and counts the internal errors of one call.

    The first error of each kind is logged with its type and place only: a message or a traceback
    could carry a transcript, a key or a presigned URL.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    @property
    def count(self) -> int:
        """How many internal errors were swallowed so far."""
        with self._lock:
            return sum(self._counts.values())

    @contextmanager
    def __call__(self, where: str) -> Iterator[None]:
        """Runs a block whose errors must not reach the agent; `where` names it in the log."""
        try:
            yield
        except Exception as error:
            self.note(where, error)

    def note(self, where: str, error: Exception) -> None:
        """Counts an error that was caught, and says so the first time (tests watch this)."""
        key = f"{where}: {type(error).__name__}"
        with self._lock:
            first = key not in self._counts
            self._counts[key] = self._counts.get(key, 0) + 1
        if first:
            logger.warning("roark: internal error in %s; the call goes on", key)
