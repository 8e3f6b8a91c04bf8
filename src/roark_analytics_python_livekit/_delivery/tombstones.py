"""Notes which calls have to go though their disk does not let them, on another one.

A disk that has become read-only keeps what it has of a call that is delivered. The process that
knows better may be gone when it can be written again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from .private_files import SpoolError, close_file, open_private, secure_directory


def put(call: Path) -> None:
    """Notes that the call in this directory is to be removed, not delivered."""
    with contextlib.suppress(OSError, SpoolError):
        secure_directory(_directory())
        close_file(open_private(_stone(call), os.O_WRONLY | os.O_CREAT))


def has(call: Path) -> bool:
    """Whether that is noted."""
    with contextlib.suppress(OSError, SpoolError):
        if _stone(call).exists():
            secure_directory(_directory())
            return True
    return False


def remove(call: Path) -> None:
    """The call is gone."""
    with contextlib.suppress(OSError):
        _stone(call).unlink(missing_ok=True)


def _stone(call: Path) -> Path:
    return _directory() / call.name  # whose random part no other call has


def _directory() -> Path:
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    return Path(tempfile.gettempdir()) / f"roark-analytics-python-livekit-{user}"
