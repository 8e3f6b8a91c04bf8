"""A file of records: each stands behind its length and its checksum.

Writes go to the kernel at once, so that a killed process loses nothing of them. They are not
synced: a machine that loses its power may lose the last seconds.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER = struct.Struct("<II")  # length of the body, its CRC-32
_MAX_BODY = 64 * 1024 * 1024
_MIN_JSON = len("{}")
# What may be a journal's header: a length below 64 MiB, a checksum, then the body's brace.
_HEADER_OF_JSON = re.compile(rb"(?s)(?=.{3}[\x00-\x03].{4}\{)")


@dataclass(frozen=True)
class Contents:
    """What a file of records holds."""

    bodies: list[bytes]  # the records that can be believed
    damaged: int  # how many were passed over
    torn_at: int  # the byte at which the torn end begins: the file's size where there is none
    is_whole: bool  # every byte belongs to a record that can be believed

    @property
    def records(self) -> list[dict[str, Any]]:
        """Those of a journal."""
        records = []
        for body in self.bodies:
            with contextlib.suppress(ValueError):
                if isinstance(record := json.loads(body), dict):
                    records.append(record)
        return records


class RecordFile:
    """One file of records, made when something is appended.

    With `resync` its bodies are JSON objects, and reading goes on behind a damaged one; a chunk's
    sound must not be shifted.
    """

    def __init__(self, path: Path, *, resync: bool = False) -> None:
        self._path = path
        self._resync = resync
        self._file: int | None = None

    def read(self) -> Contents:
        """What can be believed of the file; nothing where it cannot be read."""
        try:
            with open(open_private(self._path, os.O_RDONLY), "rb") as file:
                data = file.read()
        except OSError:
            return Contents([], 0, 0, is_whole=True)
        return _all_records(data) if self._resync else _first_records(data)

    def append(self, body: bytes) -> None:
        """Appends a record, all of it or, with OSError, nothing; cuts off a torn end before."""
        if self._file is None:
            self._file = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            if os.fstat(self._file).st_size:  # not for each new chunk: it takes 0.1 ms
                os.ftruncate(self._file, self.read().torn_at)
        _write(self._file, body)

    def close(self) -> None:
        """Closes the file; appending opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def open_private(path: Path, flags: int) -> int:
    """Opens a file of this library's own: no link is followed, nobody else may read it."""
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o600)


def _write(file: int, body: bytes) -> None:
    """One write a record: a kill leaves all of it, or a tail that is recognised as torn."""
    record = HEADER.pack(len(body), zlib.crc32(body)) + body
    if (written := os.write(file, record)) < len(record):
        with contextlib.suppress(OSError):  # a torn record in the middle would hide all that follow
            os.ftruncate(file, os.fstat(file).st_size - written)
        raise OSError(errno.ENOSPC, "short write")


def _first_records(data: bytes) -> Contents:
    """The records up to the first that is torn or damaged."""
    bodies: list[bytes] = []
    position = 0
    while (body := _body_at(data, position)) is not None:
        bodies.append(body)
        position += HEADER.size + len(body)
    return Contents(bodies, 0, position, is_whole=position == len(data))


def _all_records(data: bytes) -> Contents:
    """The records of a journal, those behind a damaged one too.

    A damaged record ends where its length says, or where the next good one begins: its length may
    be what is damaged.
    """
    bodies: list[bytes] = []
    damaged = position = following = 0  # no good record begins before `following`
    while position < len(data):
        if position >= following:
            if body := _body_at(data, position):
                bodies.append(body)
                position += HEADER.size + len(body)
                continue
            following = _next_record(data, position + 1)
        behind = min(_behind(data, position), following)
        if behind > len(data):
            break
        damaged += 1
        position = behind
    good = sum(HEADER.size + len(body) for body in bodies)
    return Contents(bodies, damaged, position, is_whole=good == len(data))


def _body_at(data: bytes, position: int) -> bytes | None:
    """A record's body; None where no record can be believed."""
    begin = position + HEADER.size
    if begin > len(data):
        return None
    length, checksum = HEADER.unpack_from(data, position)
    body = data[begin : begin + min(length, _MAX_BODY)]
    return body if len(body) == length and zlib.crc32(body) == checksum else None


def _behind(data: bytes, position: int) -> int:
    """The byte behind a journal's record, as its length says; past the data where that is wrong."""
    begin = position + HEADER.size
    if begin <= len(data):
        length: int = HEADER.unpack_from(data, position)[0]
        if _MIN_JSON <= length <= _MAX_BODY and begin + length <= len(data):
            return begin + length
    return len(data) + 1


def _next_record(data: bytes, position: int) -> int:
    """Where the next good record of a journal begins; past the data where there is none.

    No good record's body holds what looks like a header: JSON has no control characters.
    """
    for match in _HEADER_OF_JSON.finditer(data, position):
        if len(_body_at(data, match.start()) or b"") >= _MIN_JSON:
            return match.start()
    return len(data) + 1
