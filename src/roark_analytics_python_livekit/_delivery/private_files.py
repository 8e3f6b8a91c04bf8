"""Files and directories that belong to this user alone."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path


class SpoolError(Exception):
    """The spool cannot be used; the text says why and is fit for a log."""


class NoRegularFileError(OSError):
    """A link, a pipe or a device stands where a file should."""


def open_private(path: Path, flags: int) -> int:
    """Opens a regular file of this library's own: no link, no pipe; nobody else may read it."""
    for flag in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY", "O_NONBLOCK"):
        flags |= getattr(os, flag, 0)
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NoRegularFileError(error.errno, "a link") from None
        raise
    try:
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        raise NoRegularFileError(errno.EINVAL, "not a regular file")
    except OSError:
        close_file(file)
        raise


def close_file(file: int) -> None:
    """Closes a file for good: its number is free, and soon another's, also where closing failed.

    What was written may not be on the disk then. Nobody relies on that: records have checksums,
    chunks a digest, and what is lost of them is said when they are read.
    """
    with contextlib.suppress(OSError):
        os.close(file)


def secure_directory(root: Path) -> None:
    """Makes the directory, or checks and tightens the one that is there; may raise SpoolError."""
    try:
        for parent in reversed(root.parents):  # mkdir(parents=True) leaves their mode to the umask
            if not parent.exists():
                parent.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            root.mkdir(mode=0o700)
        found = root.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise SpoolError(f"the spool directory {root} is a link")
        if not stat.S_ISDIR(found.st_mode):
            raise SpoolError(f"the spool directory {root} is not a directory")
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
            raise SpoolError(f"the spool directory {root} belongs to another user")
        if stat.S_IMODE(found.st_mode) != 0o700:
            root.chmod(0o700)
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
            raise SpoolError(f"the spool directory {root} cannot be written")
    except OSError as error:
        raise SpoolError(why(root, error)) from None
    except ValueError:  # a NUL in the path
        raise SpoolError("the spool directory's path is not one") from None


def why(root: Path, error: OSError) -> str:
    """Why the directory cannot be used, fit for a log."""
    return f"the spool directory {root} cannot be used ({error.strerror or type(error).__name__})"
