"""The chunks of one recording: their bytes, on disk or in memory, and the order they go in."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from .._types import ContentType
from .call_spool import CallSpool

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

    @property
    def is_wav(self) -> bool:
        """Whether it is the whole recording in one file."""
        return self.content_type == "audio/wav"


class ChunkQueue:
    """Chunks that wait to be sent: those that failed stand behind those that were never tried."""

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()
        self._put_back: Counter[int] = Counter()  # how often a chunk was

    def __len__(self) -> int:
        return len(self._chunks)

    def append(self, chunk: Chunk) -> None:
        """Adds the recording's next chunk."""
        self._chunks.append(chunk)

    def take(self) -> Chunk | None:
        """Takes the first chunk out, if there is one."""
        return self._chunks.popleft() if self._chunks else None

    def put_back(self, chunk: Chunk) -> None:
        """Returns a chunk that failed."""
        self._put_back[chunk.index] += 1
        self._chunks.append(chunk)
        self._sort()

    def reset_order(self) -> None:
        """Forgets which chunks failed: all stand in the recording's order again."""
        if self._put_back:
            self._put_back.clear()
            self._sort()

    def clear(self) -> None:
        """Forgets what waits."""
        self._chunks.clear()

    def _sort(self) -> None:
        ordered = sorted(self._chunks, key=lambda one: (self._put_back[one.index], one.index))
        self._chunks = deque(ordered)


class ChunkStore:
    """The bytes of a recording's chunks: on disk, or in bounded memory where the disk refuses."""

    def __init__(
        self,
        spool: CallSpool | None,
        on_refused: Callable[[OSError], None],
        *,
        max_memory: int,
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

    def seal(self, index: int, pcm: bytes) -> bool:
        """The chunk is full: keeps it in memory unless the disk has all of it; False if no room."""
        on_disk, self._disk_takes = self._disk_takes, self._spool is not None
        if on_disk:
            return True
        has_room = sum(map(len, self._in_memory.values())) + len(pcm) <= self._max_memory
        if has_room:
            self._in_memory[index] = pcm
        return has_room

    def read(self, index: int, size: int) -> bytes:
        """A chunk's PCM; what is missing of it is silence, so that all else keeps its place."""
        pcm = self._in_memory.get(index, b"")
        if not pcm and self._spool is not None:
            pcm = self._spool.read_chunk(index)
        return pcm[:size].ljust(size, b"\0")

    def keep(self, indices: Iterable[int]) -> None:
        """Writes what the disk refused before; what it still refuses will be a gap."""
        for index in indices:
            if self._spool is not None and index in self._in_memory:
                try:
                    self._spool.remove_chunk(index)
                    self._spool.append_pcm(index, self._in_memory[index])
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
