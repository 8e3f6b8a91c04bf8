"""System calls on one directory that fail when a test wants it."""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LOOKS = ("fstat", "listdir", "lstat", "scandir", "stat")
CHANGES = ("ftruncate", "link", "mkdir", "rename", "rmdir", "unlink", "utime", "write")


class FailingDisk:
    """Asks `fails` before each call, which gives the error that it fails with, if any.

    It is told whether the call would change something. `count` says how many calls there were,
    `name` which one it is. A file is closed also where closing it fails, as on Linux.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.count = 0
        self.name = ""
        self.fails: Callable[[bool], int | None] = lambda changes: None
        self._files: set[int] = set()
        accessor = getattr(pathlib, "_NormalAccessor", None)  # of Python 3.10
        for name in (*LOOKS, *CHANGES, "open", "close"):
            wrapped = self._wrap(name, getattr(os, name))
            monkeypatch.setattr(os, name, wrapped)
            if hasattr(accessor, name) and name != "open":  # that one is `io.open`
                monkeypatch.setattr(accessor, name, staticmethod(wrapped))

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            ours = bool(args) and self._is_ours(args[0])
            if name == "close":
                self._files.discard(args[0])
                call(*args)
            if ours:
                self._step(name, args)
            if name == "close":
                return None
            result = call(*args, **options)
            if name == "open":
                (self._files.add if ours else self._files.discard)(result)
            return result

        return wrapped

    def _is_ours(self, what: object) -> bool:
        if isinstance(what, int):
            return what in self._files
        return isinstance(what, (str, Path)) and str(what).startswith(str(self.root))

    def _step(self, name: str, args: tuple[Any, ...]) -> None:
        self.count += 1
        self.name = name
        opens_to_write = name == "open" and args[1] & (os.O_CREAT | os.O_RDWR | os.O_WRONLY)
        error = self.fails(name in CHANGES or bool(opens_to_write))
        if error is not None:
            raise OSError(error, os.strerror(error))


def read_only(changes: bool) -> int | None:
    """What a disk answers that was mounted again read-only, after an error."""
    return errno.EROFS if changes else None
