"""What a call has to deliver until it is delivered: on disk, or in bounded memory.

The seam between recording and shipping. With a `CallSpool` everything is on disk first and gone
once it is delivered; without one, or when the disk refuses, chunks wait in memory.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._call.records import GapRecord
from .._diagnostics import logger
from .._types import ContentType
from .spool import CallSpool
from .wav import wav_header

CHUNK_BYTES = 256 * 1024  # what the service expects a chunk to be about as large as
MAX_MEMORY = 64 * 1024 * 1024  # bytes of PCM that wait in memory: 11 minutes at 24 kHz
CHANNELS = 2
FRAME_BYTES = 2 * CHANNELS

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
    def end(self) -> int:
        """Where its PCM ends, in bytes of the recording's PCM."""
        return self.start + self.size


class Outbox:
    """One call's journal, and the PCM of its recording in pieces to deliver.

    Args:
        spool: The call's place on disk; None keeps everything in memory.
        whole: Deliver one WAV when the recording is over, instead of PCM chunks meanwhile.
        limit: Bytes of PCM that may wait in memory; a chunk on top of that becomes silence.

        tell: Told of each entry, once the journal has it.

    Attributes:
        dropped: Chunks for which there was no room; their bytes are gone, and silence of the
            same length is delivered in their place.
        refusals: Writes that the disk refused.
    """

    def __init__(
        self,
        spool: CallSpool | None = None,
        *,
        whole: bool = False,
        limit: int = MAX_MEMORY,
        tell: Callable[[Mapping[str, Any]], None] = lambda entry: None,
    ) -> None:
        self.dropped: list[Chunk] = []
        self._spool = spool
        self._whole = whole
        self._limit = limit
        self._tell = tell
        self._filling = bytearray()
        self._position = 0
        self._next_index = 0
        self._chunks: deque[Chunk] = deque()
        self._put_back: Counter[int] = Counter()  # how often a chunk was
        self._bodies: dict[int, bytes] = {}  # chunks that are in memory only
        self._on_disk = True  # the chunk that is being filled
        self._unwritten: deque[Mapping[str, Any]] = deque()
        self.refusals = 0  # writes that the disk refused
        self._opened = False  # the journal has an entry: a later process knows whose call it is

    @property
    def waiting(self) -> int:
        """How many chunks are ready to be taken."""
        return 0 if self._whole else len(self._chunks)

    @property
    def spooled(self) -> bool:
        """Whether what is not delivered now is kept for later."""
        return self._spool is not None and self._opened

    def note(self, entry: Mapping[str, Any]) -> None:
        """Adds an entry to the journal; what the disk refuses now is written with a later one."""
        if self._spool is not None:
            self._unwritten.append(entry)
            self._write_entries(self._spool)
        self._tell(entry)

    def _write_entries(self, spool: CallSpool) -> None:
        while self._unwritten:
            try:
                spool.note(self._unwritten[0])
                self._opened = True
            except OSError as error:
                self._say_refused(error)
                return
            except (TypeError, ValueError, RecursionError):  # no JSON: it would be refused for ever
                self.refusals += 1
            self._unwritten.popleft()

    def append(self, pcm: bytes) -> None:
        """Adds the recording's next samples."""
        while pcm:
            part = pcm[: CHUNK_BYTES - len(self._filling)]
            pcm = pcm[len(part) :]
            self._filling += part
            self._write(part)
            if len(self._filling) == CHUNK_BYTES:
                self._cut()

    def restore(
        self,
        settled: Iterable[int],
        length: int = 0,
        *,
        final: bool = False,
        intact: bool = True,
        gaps: Iterable[GapRecord] = (),
    ) -> int:
        """Takes over what a dead process left on disk; notes as gaps what is lost of it.

        Args:
            settled: Indices of chunks that need not be delivered any more.
            length: Bytes that the recording has at least.
            final: It has no more than that.
            intact: The journal is whole: a chunk that is neither here nor settled is lost.
            gaps: Those that are noted already.

        Returns:
            The length of the recording, in bytes.
        """
        assert self._spool is not None
        self._opened = True  # its journal is there: it has been read
        noted = {(gap["start"], gap["size"]) for gap in gaps}
        found, done = self._spool.chunks(), set(settled)
        if self._whole and done:  # the one WAV
            done.update(found)
        for index in done.intersection(found):
            self._spool.drop_chunk(index)
        found = [index for index in found if index not in done]
        if found and not final:
            length = max(length, found[-1] * CHUNK_BYTES + self._believed(found[-1]))
        if self._whole and done:  # nothing is missing, though pieces of it are gone already
            return length
        for index in range(-(-length // CHUNK_BYTES)):
            if index not in done and (intact or index in found):
                size = min(CHUNK_BYTES, length - index * CHUNK_BYTES)
                self._restore_chunk(index, size, noted)
        self._position = length
        return length

    def _restore_chunk(self, index: int, size: int, noted: set[tuple[int, int]]) -> None:
        there = self._believed(index)
        start, lost = index * CHUNK_BYTES + there, size - there
        if lost > 0 and (start, lost) not in noted:
            self.note({"type": "gap", "start": start, "size": lost})
        self._add(index, size)

    def _believed(self, index: int) -> int:
        """Bytes of a chunk that are on disk and can be believed, in whole frames."""
        assert self._spool is not None
        size = len(self._spool.chunk(index))
        return size - size % FRAME_BYTES

    def seal(self, rate: int) -> None:
        """Says that the recording is over."""
        if self._filling:
            self._cut()
        if self._whole and self._position:
            self._join(rate)

    def take(self) -> Chunk | None:
        """The next chunk to deliver, if one is complete."""
        return self._chunks.popleft() if self.waiting else None

    def put_back(self, chunk: Chunk) -> None:
        """Returns a chunk that could not be delivered for now, behind those that never were."""
        self._put_back[chunk.index] += 1
        self._chunks.append(chunk)
        self._sort()

    def in_order(self) -> None:
        """What was put back failed with everything else: nothing stands behind for it any more."""
        if self._put_back:
            self._put_back.clear()
            self._sort()

    def _sort(self) -> None:
        ordered = sorted(self._chunks, key=lambda one: (self._put_back[one.index], one.index))
        self._chunks = deque(ordered)

    def settle(self, chunk: Chunk, result: str, *, keep: bool) -> None:
        """Notes what became of a chunk, and forgets its bytes unless they are kept for later."""
        if keep:
            self._keep_on_disk(range(self._next_index) if self._is_wav(chunk) else [chunk.index])
            return
        entry = {"type": "chunk", "index": chunk.index, "start": chunk.start, "size": chunk.size}
        self.note({**entry, "result": result})
        self._bodies.pop(chunk.index, None)
        if self._spool is not None:
            with contextlib.suppress(OSError):
                indices = self._spool.chunks() if self._is_wav(chunk) else [chunk.index]
                for index in indices:
                    self._spool.drop_chunk(index)
            self._write_entries(self._spool)  # there may be room now

    def _is_wav(self, chunk: Chunk) -> bool:
        return chunk.content_type == "audio/wav"

    def _keep_on_disk(self, indices: Iterable[int]) -> None:
        """Writes what was refused before; what still is will be a gap for the next process."""
        for index in indices:
            if self._spool is not None and index in self._bodies:
                try:
                    self._spool.drop_chunk(index)
                    self._spool.append(index, self._bodies[index])
                except OSError as error:
                    self._say_refused(error)

    def close(self, *, finished: bool = True) -> None:
        """Ends the work on the call: removed from disk if it is finished, else left for later."""
        if self._spool is not None:
            if finished:
                self._spool.remove()
            else:
                self._write_entries(self._spool)
                self._spool.release()
            self._spool = None
        self._chunks.clear()
        self._bodies.clear()
        self._filling.clear()

    def _write(self, part: bytes) -> None:
        """Puts a part on disk; from the first refusal on the chunk waits in memory as a whole."""
        if self._spool is None or not self._on_disk:
            self._on_disk = False
            return
        try:
            self._spool.append(self._next_index, part)
        except OSError as error:
            self._on_disk = False
            self._say_refused(error)

    def _say_refused(self, error: OSError) -> None:
        self.refusals += 1
        if self.refusals == 1:
            logger.warning(
                "roark: the spool cannot be written (%s); going on in memory",
                error.strerror or type(error).__name__,
            )

    def _cut(self) -> None:
        """The chunk that is being filled is complete."""
        size = len(self._filling)
        if not self._on_disk:
            self._keep_in_memory(bytes(self._filling))
        self._add(self._next_index, size)
        self._filling.clear()
        self._next_index += 1
        self._position += size
        self._on_disk = self._spool is not None

    def _keep_in_memory(self, body: bytes) -> None:
        if sum(map(len, self._bodies.values())) + len(body) <= self._limit:
            self._bodies[self._next_index] = body
        else:
            self.dropped.append(
                Chunk(self._next_index, self._position, len(body), "audio/pcm", bytes)
            )

    def _add(self, index: int, size: int) -> None:
        if size:
            start = index * CHUNK_BYTES
            self._chunks.append(
                Chunk(index, start, size, "audio/pcm", lambda: self._body(index, size))
            )

    def _body(self, index: int, size: int) -> bytes:
        """A chunk's PCM; what is missing of it is silence, so that all else keeps its place."""
        body = self._bodies.get(index, b"")
        if not body and self._spool is not None:
            body = self._spool.chunk(index)
        return body[:size].ljust(size, b"\0")

    def _join(self, rate: int) -> None:
        """Makes one WAV of all chunks."""
        total = self._position
        header = wav_header(rate, CHANNELS, total)

        async def read() -> AsyncIterator[bytes]:
            yield header
            for start in range(0, total, CHUNK_BYTES):
                yield self._body(start // CHUNK_BYTES, min(CHUNK_BYTES, total - start))

        self._chunks.clear()
        self._chunks.append(Chunk(0, 0, len(header) + total, "audio/wav", read))
        self._whole = False
