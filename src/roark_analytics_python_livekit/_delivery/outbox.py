"""What a call has to deliver, until it is delivered: its journal, and chunks of its recording.

With a `CallSpool` everything is on disk first and gone once it is delivered; without one, or where
the disk refuses, chunks wait in memory.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from .._call.records import FRAME_BYTES, ChunkRecord, GapRecord
from .._diagnostics import logger
from .call_spool import CallSpool, encode_record
from .chunks import CHANNELS, Chunk, ChunkStore, wav_header
from .limits import DEFAULT_LIMITS, Limits
from .stats import Outcome


class Outbox:
    """One call's journal, and the PCM of its recording in chunks.

    With `whole` one WAV is delivered when the recording is over, instead of PCM chunks meanwhile.
    `on_record` is called with each record, once the journal has it.
    """

    def __init__(
        self,
        spool: CallSpool | None = None,
        *,
        whole: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        on_record: Callable[[Mapping[str, Any]], None] = lambda record: None,
    ) -> None:
        self.dropped: list[Chunk] = []  # there was no room: silence is delivered in their place
        self._spool = spool
        self._whole = whole
        self._chunk_bytes = limits.chunk_bytes
        self._on_record = on_record
        self._unwritten: deque[tuple[Mapping[str, Any], bytes]] = deque()
        self._has_records = False  # on disk: a later process knows whose call it is
        self._store = ChunkStore(spool, self._say_refused, max_memory=limits.max_memory)
        self._queue: deque[Chunk] = deque()
        self._put_back: Counter[int] = Counter()  # how often a chunk was
        self._filling: list[bytes] = []  # the parts of the chunk that is not full
        self._filled_bytes = 0  # of it
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

    def append_record(self, record: Mapping[str, Any], encoded: bytes | None = None) -> None:
        """Adds a record, `encoded` if it is already; what the disk refuses is written later."""
        if self._spool is not None:
            with contextlib.suppress(TypeError, ValueError, RecursionError):  # it is not JSON
                self._unwritten.append((record, encoded or encode_record(record)))
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
            part = pcm[: self._chunk_bytes - self._filled_bytes]
            pcm = pcm[len(part) :]
            self._filling.append(part)
            self._filled_bytes += len(part)
            self._store.append(self._sealed_bytes // self._chunk_bytes, part)
            if self._filled_bytes == self._chunk_bytes:
                self._seal_chunk()

    def finish_recording(self, rate: int) -> None:
        """The recording is over; its rate is in samples a second."""
        if self._filling:
            self._seal_chunk()
        if self._whole and self._sealed_bytes:
            self._queue_wav(rate)

    def _seal_chunk(self) -> None:
        index, size = self._sealed_bytes // self._chunk_bytes, self._filled_bytes
        if not self._store.seal(index, self._filling):
            self.dropped.append(Chunk(index, self._sealed_bytes, size, "audio/pcm", bytes))
        self._queue_chunk(index, size)
        self._filling.clear()
        self._filled_bytes = 0
        self._sealed_bytes += size

    def _queue_chunk(self, index: int, size: int) -> None:
        read = functools.partial(self._store.read, index, size)
        self._queue.append(Chunk(index, index * self._chunk_bytes, size, "audio/pcm", read))

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

        The recording has `length` bytes at least, and no more than that if it is `final`. If the
        journal is `intact`, a chunk that is neither here nor `settled` is lost. The `gaps` are in
        the journal already. Returns the recording's length in bytes.
        """
        assert self._spool is not None
        self._has_records = True  # they have been read
        known_gaps = {(gap["start"], gap["size"]) for gap in gaps}
        found, done = self._spool.chunk_indices(), set(settled)
        has_wav = self._whole and bool(done)  # the service has the one file: nothing is missing
        for index in found:
            if has_wav or index in done:
                self._spool.remove_chunk(index)
        if has_wav:
            return length
        left = [index for index in found if index not in done]
        if left and not final:
            length = max(length, left[-1] * self._chunk_bytes + self._bytes_on_disk(left[-1]))
        for index in range(-(-length // self._chunk_bytes)):
            if index not in done and (intact or index in left):
                size = min(self._chunk_bytes, length - index * self._chunk_bytes)
                self._restore_chunk(index, size, known_gaps)
        self._sealed_bytes = length
        return length

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
        return self._queue.popleft() if self.waiting else None

    def put_back(self, chunk: Chunk) -> None:
        """Returns a chunk that could not be delivered for now, behind those that never were."""
        self._put_back[chunk.index] += 1
        self._queue.append(chunk)
        self._sort_queue()

    def reset_order(self) -> None:
        """What was put back failed with everything else: it stands where it was recorded again."""
        if self._put_back:
            self._put_back.clear()
            self._sort_queue()

    def _sort_queue(self) -> None:
        ordered = sorted(self._queue, key=lambda one: (self._put_back[one.index], one.index))
        self._queue = deque(ordered)

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
        """Writes a chunk that waits in memory to disk, for a later process."""
        self._store.keep(chunk)

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
