"""What a call has to deliver, until it is delivered: the seam between recording and shipping."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from ._types import ContentType
from ._wav import wav_header

CHUNK_BYTES = 256 * 1024  # what the service expects a chunk to be about as large as
MAX_MEMORY = 64 * 1024 * 1024  # bytes of PCM that wait in memory: 11 minutes at 24 kHz
CHANNELS = 2

Body = bytes | AsyncIterator[bytes]


@dataclass(frozen=True)
class Chunk:
    """One piece of the recording that goes through one presigned URL.

    Attributes:
        index: Its place in the recording.
        start: Where its PCM begins, in bytes of the recording's PCM.
        size: How many bytes the upload has.
        content_type: What they are.
        open: Gives the bytes, anew for each try.
    """

    index: int
    start: int
    size: int
    content_type: ContentType
    open: Callable[[], Body]


class RecordingStore(Protocol):
    """Takes PCM as it comes and gives it out in pieces to deliver."""

    @property
    def dropped(self) -> Sequence[Chunk]:
        """Chunks for which there was no room; their bytes are gone."""
        ...

    @property
    def waiting(self) -> int:
        """How many chunks are neither taken nor settled."""
        ...

    def append(self, pcm: bytes) -> None:
        """Adds the recording's next samples."""
        ...

    def seal(self, rate: int) -> None:
        """Says that the recording is over."""
        ...

    def take(self) -> Chunk | None:
        """The next chunk to deliver, if one is complete."""
        ...

    def put_back(self, chunk: Chunk) -> None:
        """Returns a chunk that could not be delivered for now, behind all others."""
        ...

    def close(self) -> None:
        """Forgets everything."""
        ...


class ChunkStore:
    """Chunks of PCM in bounded memory, each gone once it is taken and not put back.

    Args:
        limit: Bytes that may wait; a chunk on top of that is dropped, its index kept free.
    """

    def __init__(self, limit: int = MAX_MEMORY) -> None:
        self.dropped: list[Chunk] = []
        self._limit = limit
        self._filling = bytearray()
        self._position = 0
        self._next_index = 0
        self._chunks: deque[Chunk] = deque()

    @property
    def waiting(self) -> int:
        return len(self._chunks)

    def append(self, pcm: bytes) -> None:
        self._filling += pcm
        while len(self._filling) >= CHUNK_BYTES:
            self._cut(CHUNK_BYTES)

    def seal(self, rate: int) -> None:
        if self._filling:
            self._cut(len(self._filling))

    def take(self) -> Chunk | None:
        return self._chunks.popleft() if self._chunks else None

    def put_back(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)

    def close(self) -> None:
        self._chunks.clear()
        self._filling.clear()

    def _cut(self, size: int) -> None:
        body = bytes(self._filling[:size])
        del self._filling[:size]
        index, start = self._next_index, self._position
        self._next_index += 1
        self._position += size
        if (len(self._chunks) + 1) * CHUNK_BYTES > self._limit:
            self.dropped.append(Chunk(index, start, size, "audio/pcm", bytes))
        else:
            self._chunks.append(Chunk(index, start, size, "audio/pcm", lambda: body))


class WavStore:
    """The whole recording in a nameless temporary file, delivered as one WAV when it is over.

    It ends at the first write that fails: nothing after it would stand where it belongs.
    """

    def __init__(self, open_file: Callable[[], IO[bytes]] = tempfile.TemporaryFile) -> None:
        self.dropped: list[Chunk] = []
        self._file = open_file()
        self._size = 0
        self._refused = 0
        self._chunk: Chunk | None = None

    @property
    def waiting(self) -> int:
        return 0 if self._chunk is None else 1

    def append(self, pcm: bytes) -> None:
        if not self._refused and self._write(pcm):
            self._size += len(pcm)
        else:
            self._refused += len(pcm)

    def seal(self, rate: int) -> None:
        if self._size:
            header = wav_header(rate, CHANNELS, self._size)
            self._chunk = Chunk(
                0, 0, len(header) + self._size, "audio/wav", lambda: self._read(header)
            )
        if self._refused:
            self.dropped.append(Chunk(1, self._size, self._refused, "audio/wav", bytes))

    def take(self) -> Chunk | None:
        chunk, self._chunk = self._chunk, None
        return chunk

    def put_back(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def close(self) -> None:
        self._file.close()

    def _write(self, pcm: bytes) -> bool:
        try:
            self._file.write(pcm)
            self._file.flush()
        except OSError:
            return False
        return True

    async def _read(self, header: bytes) -> AsyncIterator[bytes]:
        yield header
        for part in self._parts():
            yield part

    def _parts(self) -> Iterator[bytes]:
        left, position = self._size, 0
        while left > 0:
            self._file.seek(position)
            part = self._file.read(min(CHUNK_BYTES, left))
            if not part:
                return
            position += len(part)
            left -= len(part)
            yield part
