"""Internal errors, which one guard swallows and counts, and a logger that tells no secret."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_KEY = re.compile(r"\brk_[A-Za-z]+_[A-Za-z0-9_-]+")  # a key of Roark's
_SECRETS = (
    (re.compile(r"(https?://)[^\s/@\"']*@"), r"\1"),  # user and password of a URL
    (re.compile(r"(https?://[^\s?\"']*)\?[^\s\"']*"), r"\1?..."),  # a presigned URL's signature
    (_KEY, "rk_..."),
    (re.compile(r"(?i)(\bbearer +|api[-_]key *[=:][=: ]*)\S+"), r"\1..."),
)


class _NoSecrets(logging.Filter):
    """The net under all the care: whatever is logged here, keys and signatures are not."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = scrub(record.getMessage()), None
        record.exc_info = record.exc_text = None  # a traceback shows the arguments of an exception
        return True


def hide_keys(text: str) -> str:
    """`text` without what looks like a key of Roark's."""
    return _KEY.sub("rk_...", text)


def scrub(text: str) -> str:
    """`text` without what looks like a key, a password or a signature."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class _SafeLogger:
    """The library's log; a handler that raises costs its own line only."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("roark_analytics_python_livekit")
        self._logger.addFilter(_NoSecrets())

    def info(self, text: str, *values: object) -> None:
        self._log(logging.INFO, text, values)

    def warning(self, text: str, *values: object) -> None:
        self._log(logging.WARNING, text, values)

    def _log(self, level: int, text: str, values: tuple[object, ...]) -> None:
        with suppress(Exception):
            self._logger.log(level, text, *values, stacklevel=3)


logger = _SafeLogger()


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
            self.swallow(where, error)

    def swallow(self, where: str, error: Exception) -> None:
        """Counts an error that was caught, and says so the first time (tests watch this)."""
        key = f"{where}: {type(error).__name__}"
        with self._lock:
            first = key not in self._counts
            self._counts[key] = self._counts.get(key, 0) + 1
        if first:
            logger.warning("roark: internal error in %s; the call goes on", key)
