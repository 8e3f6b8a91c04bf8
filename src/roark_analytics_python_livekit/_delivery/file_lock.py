"""A lock on an open file, on POSIX and on Windows: freed when it is closed or its process dies."""

from __future__ import annotations


def try_lock(file: int) -> bool:
    """Locks an open file; False if another process, or another open file, has the lock."""
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
