"""A file of records: each stands behind its length and its checksum.

Writes go to the kernel at once, so that a killed process loses nothing of them. They are not
synced: a machine that loses its power may lose the last seconds. What is in a file is believed as
far as the checksums go, whatever it is; how much of it is read has a bound.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._steps import Steps, at_once
from .private_files import NoRegularFileError, close_file, open_private

HEADER = struct.Struct("<II")  # length of the body, its CRC-32
MAX_FILE = 64 * 1024 * 1024  # bytes of a file that are read: four times what a call may write
_MIN_JSON = len("{}")
_PIECE = 1024 * 1024  # bytes that are read in one step
_STEP = 64 * 1024  # bytes that are looked at in one step, each record and brace as _RECORD more
_RECORD = 128
_PATIENCE = 16  # how often all of a file may be looked at for records behind damaged ones


@dataclass(frozen=True)
class Contents:
    """What a file of records holds."""

    bodies: list[bytes]  # the records that can be believed
    damaged: int  # how many were passed over
    torn_at: int  # the byte at which the torn end begins: the file's size where there is none
    is_whole: bool  # every byte belongs to a record that can be believed

    def records(self) -> Iterator[dict[str, Any]]:
        """Those of a journal, each read when it is asked for."""
        for body in self.bodies:
            if (record := json_object(body)) is not None:
                yield record


NOTHING = Contents([], 0, 0, is_whole=True)


class RecordFile:
    """One file of records, made when something is appended.

    With `resync` its bodies are JSON objects, and reading goes on behind a damaged one; a chunk's
    sound must not be shifted.
    """

    def __init__(self, path: Path, *, resync: bool = False) -> None:
        self._path = path
        self._resync = resync
        self._file: int | None = None
        self._good_bytes: int | None = None  # where its torn end begins, once it has been read

    def read(self) -> Contents:
        """What can be believed of the file, nothing where there is none; OSError if it fails."""
        return at_once(self.reading())

    def reading(self) -> Steps[Contents]:
        """`read`, in steps."""
        try:
            data, is_all = yield from _bytes_of(self._path)
        except FileNotFoundError:
            return NOTHING
        except NoRegularFileError:  # whoever put it there: it is none of this library's
            return Contents([], 1, 0, is_whole=False)
        contents = yield from _all_records(data) if self._resync else _first_records(data)
        if not is_all:
            return Contents(contents.bodies, contents.damaged + 1, len(data), is_whole=False)
        self._good_bytes = contents.torn_at
        return contents

    def append(self, body: bytes) -> None:
        """Appends a record, all of it or, with OSError, nothing; cuts off a torn end before."""
        if self._file is None:
            self._file = self._open()
        elif not os.fstat(self._file).st_nlink:  # what is written to it would be lost
            self.close()
            raise FileNotFoundError(errno.ENOENT, "the file was removed")
        try:
            _write(self._file, body)
        except OSError as error:
            if error.errno == errno.ESTALE:  # the file may be opened again
                self.close()
            raise

    def _open(self) -> int:
        file = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            if size := os.fstat(file).st_size:
                if self._good_bytes is None:
                    self.read()
                if self._good_bytes is None:
                    raise OSError(errno.EFBIG, "the file is too long")
                if self._good_bytes < size:
                    os.ftruncate(file, self._good_bytes)
        except BaseException:
            close_file(file)
            raise
        self._good_bytes = None  # it changes from here on
        return file

    def close(self) -> None:
        """Closes the file; appending opens it again."""
        file, self._file = self._file, None
        if file is not None:
            close_file(file)


def json_object(body: bytes) -> dict[str, Any] | None:
    """What a journal's record says; None where it says nothing that can be read."""
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(record := json.loads(body), dict):
            return record
    return None


def _bytes_of(path: Path) -> Steps[tuple[bytearray, bool]]:
    """A file's first bytes, and whether these are all."""
    number = open_private(path, os.O_RDONLY)
    try:
        file = open(number, "rb", buffering=0, closefd=False)
        size = os.fstat(number).st_size
        data = bytearray(min(size, MAX_FILE))
        filled = 0
        while filled < len(data):
            got = file.readinto(memoryview(data)[filled : filled + _PIECE])
            if not got:
                break
            filled += got
            if filled < len(data):
                yield
    finally:
        close_file(number)
    del data[filled:]
    return data, size <= MAX_FILE


def _write(file: int, body: bytes) -> None:
    """One write a record: a kill leaves all of it, or a tail that is recognised as torn."""
    record = HEADER.pack(len(body), zlib.crc32(body)) + body
    if (written := os.write(file, record)) < len(record):
        with contextlib.suppress(OSError):  # a torn record in the middle would hide all that follow
            os.ftruncate(file, os.fstat(file).st_size - written)
        raise OSError(errno.ENOSPC, "short write")


def _first_records(data: bytearray) -> Steps[Contents]:
    """The records up to the first that is torn or damaged."""
    bodies: list[bytes] = []
    position = worked = 0
    while (body := _body_at(data, position)) is not None:
        bodies.append(body)
        position += HEADER.size + len(body)
        if position + len(bodies) * _RECORD - worked > _STEP:
            worked = position + len(bodies) * _RECORD
            yield
    return Contents(bodies, 0, position, is_whole=position == len(data))


def _all_records(data: bytearray) -> Steps[Contents]:
    """The records of a journal, those behind a damaged one too.

    A damaged record ends where its length says, or where the next good one begins: its length may
    be what is damaged.
    """
    bodies: list[bytes] = []
    search = _Search(data)
    damaged = good = position = worked = 0
    while position < len(data):
        body = _body_at(data, position) if position >= search.found else None
        if body is not None:
            bodies.append(body)
            good += HEADER.size + len(body)
            position += HEADER.size + len(body)
        else:
            if position >= search.found:
                yield from search.next_record(position + 1)
            behind = min(_behind(data, position), search.found)
            if behind > len(data):
                break
            damaged += 1
            position = behind
        if good + (len(bodies) + damaged) * _RECORD - worked > _STEP:
            worked = good + (len(bodies) + damaged) * _RECORD
            yield
    return Contents(bodies, damaged, position, is_whole=good == len(data))


def _body_at(data: bytearray, position: int) -> bytes | None:
    """A record's body; None where no record can be believed. None is empty: zeros are no record."""
    begin = position + HEADER.size
    if begin >= len(data):
        return None
    length, checksum = HEADER.unpack_from(data, position)
    if not length or begin + length > len(data):
        return None
    with memoryview(data)[begin : begin + length] as body:
        return bytes(body) if zlib.crc32(body) == checksum else None


def _behind(data: bytearray, position: int) -> int:
    """The byte behind a journal's record, as its length says; past the data where that is wrong."""
    begin = position + HEADER.size
    if begin <= len(data):
        length: int = HEADER.unpack_from(data, position)[0]
        if length >= _MIN_JSON and begin + length <= len(data):
            return begin + length
    return len(data) + 1


class _Search:
    """Looks for the next good record of a journal behind a damaged one.

    Every record has a brace behind its header. Garbage may be full of braces behind lengths, each
    of which makes the rest of the file a body to check: that has an end.
    """

    def __init__(self, data: bytearray) -> None:
        self.found = 0  # no good record begins before it; past the data where there is none
        self._data = data
        self._left = _PATIENCE * len(data)  # bytes to check

    def next_record(self, position: int) -> Steps[None]:
        """Sets `found` to where it begins, at `position` or later."""
        data, worked = self._data, 0
        brace = data.find(b"{", position + HEADER.size)
        while brace >= 0 and self._left > 0:
            length: int = HEADER.unpack_from(data, brace - HEADER.size)[0]
            worked += _RECORD
            if _MIN_JSON <= length <= len(data) - brace:
                if _body_at(data, brace - HEADER.size) is not None:
                    self.found = brace - HEADER.size
                    return
                self._left -= length
                worked += length
            if worked > _STEP:
                worked = 0
                yield
            brace = data.find(b"{", brace + 1)
        self.found = len(data) + 1
