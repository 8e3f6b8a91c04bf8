"""The chunks of one recording, and their bytes: on disk or in memory."""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from .._types import ContentType
from .call_spool import CallSpool

CHANNELS = 2
_SAMPLE_BYTES = 2
_RIFF_LIMIT = 2**32 - 1  # bytes that a WAV file can count


@dataclass(frozen=True)
class Chunk:
    """One piece of the recording that goes through one presigned URL."""

    index: int  # its place in the recording
    start: int  # where its PCM begins, in bytes of the recording's PCM
    size: int  # bytes of the upload
    content_type: ContentType
    open: Callable[[], bytes | AsyncIterator[bytes]]  # gives the bytes, anew for each try; OSError

    @property
    def is_wav(self) -> bool:
        """Whether it is the whole recording in one file."""
        return self.content_type == "audio/wav"


class ChunkStore:
    """The bytes of a recording's chunks: on disk, or in bounded memory where the disk refuses."""

    def __init__(
        self, spool: CallSpool | None, on_refused: Callable[[OSError], None], *, max_memory: int
    ) -> None:
        self._spool = spool
        self._max_memory = max_memory
        self._on_refused = on_refused
        self._in_memory: dict[int, bytes] = {}
        self._disk_takes = spool is not None  # the chunk that is being filled

    def append(self, index: int, pcm: bytes) -> None:
        """Writes a part of the chunk that is being filled.

        From the first refusal on the chunk waits in memory as a whole: see `seal`.
        """
        if self._spool is None or not self._disk_takes:
            return
        try:
            self._spool.append_pcm(index, pcm)
        except OSError as error:
            self._disk_takes = False
            self._on_refused(error)

    def seal(self, index: int, parts: list[bytes]) -> bool:
        """The chunk is full: keeps it in memory unless the disk has all of it; False if no room."""
        on_disk, self._disk_takes = self._disk_takes, self._spool is not None
        if on_disk:
            return True
        pcm = b"".join(parts)
        has_room = sum(map(len, self._in_memory.values())) + len(pcm) <= self._max_memory
        if has_room:
            self._in_memory[index] = pcm
        return has_room

    def read(self, index: int) -> bytes:
        """What there is of a chunk's PCM; OSError where it cannot be read."""
        if (pcm := self._in_memory.get(index)) is not None:
            return pcm
        return b"" if self._spool is None else self._spool.read_chunk(index)

    def use(self, spool: CallSpool | None) -> None:
        """From the next chunk on the disk is used that there is now."""
        self._spool = spool
        self._disk_takes = False

    def keep(self, chunk: Chunk) -> None:
        """Writes what the disk refused of a chunk before; what it still refuses will be a gap."""
        for index in list(self._in_memory) if chunk.is_wav else [chunk.index]:
            if self._spool is not None and index in self._in_memory:
                try:
                    pcm = self._in_memory[index]
                    there = self._spool.read_chunk(index)
                    if not pcm.startswith(there):
                        self._spool.remove_chunk(index)
                        there = b""
                    if missing := pcm[len(there) :]:
                        self._spool.append_pcm(index, missing)
                except OSError as error:
                    self._on_refused(error)

    def remove(self, chunk: Chunk) -> None:
        """Forgets the bytes of a chunk that is settled; a WAV's are those of all chunks."""
        self._in_memory.pop(chunk.index, None)
        if self._spool is not None:
            with contextlib.suppress(OSError):
                for index in self._spool.chunk_indices() if chunk.is_wav else [chunk.index]:
                    self._spool.remove_chunk(index)

    def close(self) -> None:
        """Forgets what is in memory, and uses the disk no more."""
        self._spool = None
        self._in_memory.clear()


def digest_of(parts: Iterable[bytes]) -> str:
    """The SHA-256 of a chunk, as it stands in the journal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def wav_header(rate: int, channels: int, data_bytes: int) -> bytes:
    """The bytes that stand before `data_bytes` of interleaved s16le PCM, `rate` samples a second.

    From 4 GiB on the header is RF64 (EBU Tech 3306), which current players and libraries read.
    """
    frame = channels * _SAMPLE_BYTES
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame, frame, 16)
    if data_bytes + 36 <= _RIFF_LIMIT:
        riff = struct.pack("<4sI4s", b"RIFF", data_bytes + 36, b"WAVE")
        return riff + fmt + struct.pack("<4sI", b"data", data_bytes)
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, data_bytes + 72, data_bytes, data_bytes // frame, 0)
    riff = struct.pack("<4sI4s", b"RF64", _RIFF_LIMIT, b"WAVE")
    return riff + ds64 + fmt + struct.pack("<4sI", b"data", _RIFF_LIMIT)


def wav_data_bytes(size: int) -> int:
    """The length of the PCM in a file of `size` bytes that begins with `wav_header`."""
    plain = len(wav_header(1, 1, 0))
    return size - (plain if size - 8 <= _RIFF_LIMIT else len(wav_header(1, 1, _RIFF_LIMIT)))
