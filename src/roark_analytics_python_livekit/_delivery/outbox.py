"""What a call has to deliver, until it is delivered: its journal, and chunks of its recording.

With a `CallSpool` everything is on disk first and gone once it is delivered; without one, or where
the disk refuses, chunks wait in memory.
"""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, cast

from .._call.records import FRAME_BYTES, ChunkRecord, GapRecord, SealedRecord
from .._process import remove_later
from .._steps import Steps
from .call_spool import CallSpool
from .chunks import CHANNELS, Chunk, ChunkStore, digest_of, wav_header
from .journal_file import JournalFile, Reopening
from .limits import DEFAULT_LIMITS, Limits
from .stats import Outcome

_STEP = 64  # chunks


@dataclass(frozen=True)
class Left:
    """What a dead process's journal says of its recording."""

    settled: Set[int]  # the chunks that nothing has to be done about
    sealed: Mapping[int, SealedRecord]  # by index
    gaps: Set[int]  # their first bytes
    length: int  # in bytes, as far as it is known


class Outbox:
    """One call's journal, and the PCM of its recording in chunks.

    With `whole` one WAV is delivered when the recording is over, instead of PCM chunks meanwhile.
    `on_record` is called with each record. `reopening` gives the call a place on disk where it has
    none, or where it was taken away.
    """

    def __init__(
        self,
        spool: CallSpool | None = None,
        *,
        whole: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        on_record: Callable[[Mapping[str, Any]], None] = lambda record: None,
        reopening: Reopening | None = None,
    ) -> None:
        self._whole = whole
        self._chunk_bytes = limits.chunk_bytes
        self._on_record = on_record
        self._store = ChunkStore(spool, self._refused, max_memory=limits.max_memory)
        self._journal = JournalFile(spool, reopening, self._store.use)
        self._queue: deque[Chunk] = deque()
        self._put_back: Counter[int] = Counter()  # how often a chunk was
        self._gaps: dict[int, int] = {}  # a chunk's index → from which byte silence is delivered
        self._filling: list[bytes] = []  # the parts of the chunk that is not full
        self._filled_bytes = 0  # of it
        self._sealed_bytes = 0

    @property
    def waiting(self) -> int:
        """How many chunks are ready to be taken."""
        return 0 if self._whole else len(self._queue)

    @property
    def is_spooled(self) -> bool:
        """Whether what is not delivered now is kept for later."""
        return self._journal.spool is not None and self._journal.has_records

    # What comes in

    def append_record(self, record: Mapping[str, Any], encoded: bytes | None = None) -> None:
        """Adds a record, `encoded` if it is already."""
        self._on_record(record)
        self._journal.append(record, encoded)

    def appending(self, records: Iterable[Mapping[str, Any]]) -> Steps[None]:
        """Adds records, in steps."""
        for record in records:
            self.append_record(record)
            yield

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
        sealed: SealedRecord = {
            "type": "sealed",
            "index": index,
            "size": size,
            "sha256": digest_of(self._filling),
        }
        self.append_record(sealed)
        if not self._store.seal(index, self._filling):
            self._note_gap(self._sealed_bytes, size, reason=Outcome.FULL.value)
        self._queue_chunk(index, size, sealed["sha256"])
        self._filling.clear()
        self._filled_bytes = 0
        self._sealed_bytes += size

    def _queue_chunk(self, index: int, size: int, sha256: str | None) -> None:
        read = functools.partial(self._read_chunk, index, size, sha256)
        self._queue.append(Chunk(index, index * self._chunk_bytes, size, "audio/pcm", read))

    def _read_chunk(self, index: int, size: int, sha256: str | None) -> bytes:
        """A chunk as it was sealed; what is lost of it is silence, so that the rest has its place.

        Raises OSError where it cannot be read now: it is not lost.
        """
        pcm = self._store.read(index)
        if sha256 is not None and len(pcm) >= size and digest_of([pcm]) != sha256:
            pcm = b""
        there = min(size, len(pcm) - len(pcm) % FRAME_BYTES)
        self._note_gap(index * self._chunk_bytes + there, size - there)
        return pcm[:there].ljust(size, b"\0")

    def _note_gap(self, start: int, size: int, reason: str | None = None) -> None:
        """Silence is delivered for these bytes of the recording: said once, in the journal."""
        index = start // self._chunk_bytes
        if not size or self._gaps.get(index, start + 1) <= start:
            return
        self._gaps[index] = start
        gap: GapRecord = {"type": "gap", "start": start, "size": size}
        if reason is not None:
            gap["reason"] = reason
        self.append_record(gap)

    def _queue_wav(self, rate: int) -> None:
        """One WAV takes the place of all chunks."""
        total, parts = self._sealed_bytes, list(self._queue)
        header = wav_header(rate, CHANNELS, total)

        async def read() -> AsyncIterator[bytes]:
            yield header
            for part in parts:
                yield cast(bytes, part.open())

        self._queue.clear()
        self._queue.append(Chunk(0, 0, len(header) + total, "audio/wav", read))
        self._whole = False

    # What a dead process left

    def restoring(self, left: Left, *, final: bool, intact: bool) -> Steps[int]:
        """Takes over what a dead process left on disk; what is lost of it becomes a gap record.

        The recording has `left.length` bytes at least, and no more than that if it is `final`. If
        the journal is `intact`, a chunk that is neither here nor settled is lost. Returns the
        recording's length in bytes; raises OSError where the disk cannot be read.
        """
        spool = self._journal.spool
        assert spool is not None
        self._journal.has_records = True  # they have been read
        for start in sorted(left.gaps, reverse=True):
            self._gaps[start // self._chunk_bytes] = start
        found, length = spool.chunk_indices(), left.length
        has_wav = self._whole and bool(left.settled)  # the service has the one file: all is there
        for index in found:
            if has_wav or index in left.settled:
                spool.remove_chunk(index)
        if has_wav:
            return length
        here = {index for index in found if index not in left.settled}
        if (known := here | left.sealed.keys()) and not final:
            last = max(known)
            length = max(length, last * self._chunk_bytes + self._size_of(last, left))
        for index in range(-(-length // self._chunk_bytes)):
            if index not in left.settled and (intact or self._whole or index in here):
                self._restore_chunk(index, length, left)
            if index % _STEP == 0:
                yield
        self._sealed_bytes = length
        return length

    def _restore_chunk(self, index: int, length: int, left: Left) -> None:
        size = min(self._chunk_bytes, length - index * self._chunk_bytes)
        sealed = left.sealed.get(index)
        if sealed is None or sealed["size"] != size:
            there = min(size, self._bytes_on_disk(index))
            self._note_gap(index * self._chunk_bytes + there, size - there)
            sealed = None
        self._queue_chunk(index, size, None if sealed is None else sealed["sha256"])

    def _size_of(self, index: int, left: Left) -> int:
        sealed = left.sealed.get(index)
        return self._bytes_on_disk(index) if sealed is None else sealed["size"]

    def _bytes_on_disk(self, index: int) -> int:
        """How many bytes of a chunk can be believed, in whole frames."""
        size = len(self._store.read(index))
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
        self._journal.write()  # there may be room now

    def keep(self, chunk: Chunk) -> None:
        """Writes a chunk that waits in memory to disk, for a later process."""
        self._store.keep(chunk)

    def close(self, *, finished: bool = True) -> None:
        """Ends the work on the call: removed from disk if it is finished, else left for later."""
        # all that is delivered is marked, where it cannot be removed now
        if (spool := self._journal.close()) is not None:
            if not finished:
                spool.release()
            elif not spool.remove():
                remove_later(spool)
        self._store.close()
        self._queue.clear()
        self._filling.clear()

    def _refused(self, error: OSError) -> None:
        self._journal.say_refused(error)
