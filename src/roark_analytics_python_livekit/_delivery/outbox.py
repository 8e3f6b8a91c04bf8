"""What a call has to deliver, until it is delivered: its journal, and chunks of its recording.

The seam between recording and uploading. With a `CallSpool` everything is on disk first and gone
once it is delivered; without one, or where the disk refuses, chunks wait in memory.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from .._call.records import FRAME_BYTES, ChunkRecord, GapRecord
from .._diagnostics import logger
from .call_spool import CallSpool, encode_record
from .chunks import CHANNELS, Chunk, ChunkQueue, ChunkStore
from .limits import DEFAULT_LIMITS, Limits
from .stats import Outcome
from .wav import wav_header


class Outbox:
    """One call's journal, and the PCM of its recording in chunks.

    Args:
        spool: The call's place on disk; None keeps everything in memory.
        whole: Deliver one WAV when the recording is over, instead of PCM chunks meanwhile.
        limits: The size of a chunk, and how much may wait in memory.
        on_record: Called with each record, once the journal has it.

    Attributes:
        dropped: Chunks for which there was no room; their bytes are gone, and silence of the
            same length is delivered in their place.
    """

    def __init__(
        self,
        spool: CallSpool | None = None,
        *,
        whole: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        on_record: Callable[[Mapping[str, Any]], None] = lambda record: None,
    ) -> None:
        self.dropped: list[Chunk] = []
        self._spool = spool
        self._whole = whole
        self._chunk_bytes = limits.chunk_bytes
        self._on_record = on_record
        self._unwritten: deque[tuple[Mapping[str, Any], bytes]] = deque()
        self._has_records = False  # on disk: a later process knows whose call it is
        self._store = ChunkStore(spool, self._say_refused, max_memory=limits.max_memory)
        self._queue = ChunkQueue()
        self._filling = bytearray()
        self._next_index = 0
        self._sealed_bytes = 0
        self._was_refused = False

    @property
    def waiting(self) -> int:
        """How many chunks are ready to be taken."""
        return 0 if self._whole else len(self._queue)

    @property
    def is_spooled(self) -> bool:
        """Whether what is not delivered now is kept for later."""
        return self._spool is not None and self._has_records

    # What comes in

    def append_record(self, record: Mapping[str, Any], payload: bytes | None = None) -> None:
        """Adds a record to the journal; `payload` is the record encoded, if it is already.

        What the disk refuses now is written with a later record.
        """
        if self._spool is not None:
            with contextlib.suppress(TypeError, ValueError, RecursionError):  # it is not JSON
                self._unwritten.append((record, payload or encode_record(record)))
            self._write_records(self._spool)
        self._on_record(record)

    def _write_records(self, spool: CallSpool) -> None:
        while self._unwritten:
            try:
                spool.append_record(*self._unwritten[0])
            except OSError as error:
                self._say_refused(error)
                return
            self._has_records = True
            self._unwritten.popleft()

    def append_pcm(self, pcm: bytes) -> None:
        """Adds the recording's next samples."""
        while pcm:
            part = pcm[: self._chunk_bytes - len(self._filling)]
            pcm = pcm[len(part) :]
            self._filling += part
            self._store.append(self._next_index, part)
            if len(self._filling) == self._chunk_bytes:
                self._seal_chunk()

    def finish_recording(self, rate: int) -> None:
        """The recording is over; its rate is in samples a second."""
        if self._filling:
            self._seal_chunk()
        if self._whole and self._sealed_bytes:
            self._queue_wav(rate)

    def _seal_chunk(self) -> None:
        index, size = self._next_index, len(self._filling)
        if not self._store.seal(index, bytes(self._filling)):
            self.dropped.append(Chunk(index, self._sealed_bytes, size, "audio/pcm", bytes))
        self._queue_chunk(index, size)
        self._filling.clear()
        self._next_index += 1
        self._sealed_bytes += size

    def _queue_chunk(self, index: int, size: int) -> None:
        def read() -> bytes:
            return self._store.read(index, size)

        start = index * self._chunk_bytes
        self._queue.append(Chunk(index, start, size, "audio/pcm", read))

    def _queue_wav(self, rate: int) -> None:
        """One WAV takes the place of all chunks."""
        total, step = self._sealed_bytes, self._chunk_bytes
        header = wav_header(rate, CHANNELS, total)

        async def read() -> AsyncIterator[bytes]:
            yield header
            for start in range(0, total, step):
                yield self._store.read(start // step, min(step, total - start))

        self._queue.clear()
        self._queue.append(Chunk(0, 0, len(header) + total, "audio/wav", read))
        self._whole = False

    # What a dead process left

    def restore(
        self,
        settled: Iterable[int],
        length: int = 0,
        *,
        final: bool = False,
        intact: bool = True,
        gaps: Iterable[GapRecord] = (),
    ) -> int:
        """Takes over what a dead process left on disk; what is lost of it becomes a gap record.

        Args:
            settled: Indices of chunks that need not be delivered any more.
            length: Bytes that the recording has at least.
            final: It has no more than that.
            intact: The journal is whole: a chunk that is neither here nor settled is lost.
            gaps: Those that the journal has already.

        Returns:
            The length of the recording, in bytes.
        """
        assert self._spool is not None
        self._has_records = True  # they have been read
        known_gaps = {(gap["start"], gap["size"]) for gap in gaps}
        found, done = self._spool.chunk_indices(), set(settled)
        if self._whole and done:  # the service has the one WAV: nothing is missing
            self._remove_from_disk(found)
            return length
        self._remove_from_disk(done.intersection(found))
        left = [index for index in found if index not in done]
        if left and not final:
            length = max(length, left[-1] * self._chunk_bytes + self._bytes_on_disk(left[-1]))
        for index in range(-(-length // self._chunk_bytes)):
            if index not in done and (intact or index in left):
                size = min(self._chunk_bytes, length - index * self._chunk_bytes)
                self._restore_chunk(index, size, known_gaps)
        self._sealed_bytes = length
        return length

    def _remove_from_disk(self, indices: Iterable[int]) -> None:
        assert self._spool is not None
        for index in indices:
            self._spool.remove_chunk(index)

    def _restore_chunk(self, index: int, size: int, known_gaps: set[tuple[int, int]]) -> None:
        there = self._bytes_on_disk(index)
        start, lost = index * self._chunk_bytes + there, size - there
        if lost > 0 and (start, lost) not in known_gaps:
            gap: GapRecord = {"type": "gap", "start": start, "size": lost}
            self.append_record(gap)
        self._queue_chunk(index, size)

    def _bytes_on_disk(self, index: int) -> int:
        """How many bytes of a chunk can be believed, in whole frames."""
        assert self._spool is not None
        size = len(self._spool.read_chunk(index))
        return size - size % FRAME_BYTES

    # What goes out

    def take(self) -> Chunk | None:
        """The next chunk to deliver, if one is ready."""
        return self._queue.take() if self.waiting else None

    def put_back(self, chunk: Chunk) -> None:
        """Returns a chunk that could not be delivered for now, behind those that never were."""
        self._queue.put_back(chunk)

    def reset_order(self) -> None:
        """What was put back failed with everything else: it stands where it was recorded again."""
        self._queue.reset_order()

    def settle(self, chunk: Chunk, outcome: Outcome) -> None:
        """Records what became of a chunk for good, and forgets its bytes."""
        record: ChunkRecord = {
            "type": "chunk",
            "index": chunk.index,
            "start": chunk.start,
            "size": chunk.size,
            "result": outcome.value,
        }
        self.append_record(record)
        self._store.remove(chunk)
        if self._spool is not None:
            self._write_records(self._spool)  # there may be room now

    def keep(self, chunk: Chunk) -> None:
        """Leaves a chunk on disk for a later process."""
        self._store.keep(range(self._next_index) if chunk.is_wav else [chunk.index])

    def close(self, *, finished: bool = True) -> None:
        """Ends the work on the call: removed from disk if it is finished, else left for later."""
        if self._spool is not None:
            if finished:
                self._spool.remove()
            else:
                self._write_records(self._spool)
                self._spool.release()
            self._spool = None
        self._store.close()
        self._queue.clear()
        self._filling.clear()

    def _say_refused(self, error: OSError) -> None:
        if not self._was_refused:
            self._was_refused = True
            logger.warning(
                "roark: the spool cannot be written (%s); going on in memory",
                error.strerror or type(error).__name__,
            )
