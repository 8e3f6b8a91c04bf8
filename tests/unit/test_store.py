"""Where the recording waits: pieces by size, in order, in bounded room."""

from __future__ import annotations

import io
import wave

import pytest

from roark_analytics_python_livekit._store import (
    CHUNK_BYTES,
    Chunk,
    ChunkStore,
    RecordingStore,
    WavStore,
)

RATE = 24_000


async def body_of(chunk: Chunk) -> bytes:
    """The bytes that an upload of this chunk would send."""
    body = chunk.open()
    return body if isinstance(body, bytes) else b"".join([part async for part in body])


def taken(store: RecordingStore) -> list[Chunk]:
    """Everything that can be taken."""
    chunks = []
    while (chunk := store.take()) is not None:
        chunks.append(chunk)
    return chunks


class TestChunkStore:
    """PCM in memory."""

    async def test_pcm_comes_out_in_pieces_as_it_went_in(self) -> None:
        """Of one size, with a smaller last one; their indices count from 0."""
        pcm = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"rest"
        store = ChunkStore()
        for begin in range(0, len(pcm), 9600):
            store.append(pcm[begin : begin + 9600])
        store.seal(RATE)
        chunks = taken(store)
        assert [(chunk.index, chunk.start, chunk.size) for chunk in chunks] == [
            (0, 0, CHUNK_BYTES),
            (1, CHUNK_BYTES, CHUNK_BYTES),
            (2, 2 * CHUNK_BYTES, 4),
        ]
        assert b"".join([await body_of(chunk) for chunk in chunks]) == pcm
        assert {chunk.content_type for chunk in chunks} == {"audio/pcm"}

    def test_a_chunk_is_given_out_when_it_is_full(self) -> None:
        """Not before, except for the last."""
        store = ChunkStore()
        store.append(bytes(CHUNK_BYTES - 1))
        assert store.take() is None
        store.append(b"1")
        assert store.waiting == 1
        assert store.take() is not None
        assert store.waiting == 0

    def test_a_recording_of_whole_chunks_has_no_empty_last_one(self) -> None:
        """Storage refuses an empty upload."""
        store = ChunkStore()
        store.append(bytes(CHUNK_BYTES))
        store.seal(RATE)
        assert len(taken(store)) == 1
        empty = ChunkStore()
        empty.seal(RATE)
        assert taken(empty) == []

    def test_a_chunk_that_is_put_back_lines_up_behind_the_others(self) -> None:
        """One that fails for ever does not hold them back."""
        store = ChunkStore()
        store.append(bytes(3 * CHUNK_BYTES))
        first = store.take()
        assert first is not None
        store.put_back(first)
        assert [chunk.index for chunk in taken(store)] == [1, 2, 0]

    async def test_a_chunk_can_be_read_again_and_again(self) -> None:
        """Each try reads it anew."""
        store = ChunkStore()
        store.append(b"x" * CHUNK_BYTES)
        (chunk,) = taken(store)
        assert await body_of(chunk) == await body_of(chunk) == b"x" * CHUNK_BYTES

    def test_what_has_no_room_is_dropped_and_its_place_is_known(self) -> None:
        """The indices around it stay: the gap is a gap, not a shift."""
        store = ChunkStore(limit=2 * CHUNK_BYTES)
        store.append(bytes(3 * CHUNK_BYTES))
        assert [(chunk.index, chunk.start) for chunk in store.dropped] == [(2, 2 * CHUNK_BYTES)]
        assert store.dropped[0].open() == b""
        store.take()
        store.append(bytes(CHUNK_BYTES))
        assert [chunk.index for chunk in taken(store)] == [1, 3]

    def test_closing_forgets(self) -> None:
        """The call is over, whatever was delivered."""
        store = ChunkStore()
        store.append(bytes(CHUNK_BYTES + 5))
        store.close()
        store.seal(RATE)
        assert taken(store) == []


class FullDisk(io.BytesIO):
    """A file that takes some bytes and then no more."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes are all it gets
        if self.tell() + len(data) > self.room:
            super().write(data[: self.room - self.tell()])
            raise OSError(28, "No space left on device")
        return super().write(data)


class TestWavStore:
    """One file, at the end."""

    async def test_it_gives_one_wav_when_the_recording_is_over(self) -> None:
        """Nothing before; then a file that any player opens."""
        pcm = bytes(range(256)) * 3000
        store = WavStore()
        store.append(pcm[:1000])
        assert store.take() is None
        store.append(pcm[1000:])
        store.seal(RATE)
        assert store.waiting == 1
        (chunk,) = taken(store)
        body = await body_of(chunk)
        assert (chunk.index, chunk.content_type, chunk.size) == (0, "audio/wav", len(body))
        with wave.open(io.BytesIO(body)) as wav:
            assert wav.getparams()[:3] == (2, 2, RATE)
            assert wav.readframes(wav.getnframes()) == pcm
        store.close()

    async def test_it_can_be_put_back_and_read_again(self) -> None:
        """A failed upload begins at the file's beginning."""
        store = WavStore()
        store.append(b"1234" * 100)
        store.seal(RATE)
        (chunk,) = taken(store)
        first = await body_of(chunk)
        store.put_back(chunk)
        assert store.take() is chunk
        assert await body_of(chunk) == first
        store.close()

    def test_a_silent_call_has_no_file(self) -> None:
        """There is nothing to upload."""
        store = WavStore()
        store.seal(RATE)
        assert store.take() is None
        store.close()

    async def test_a_full_disk_ends_the_recording_where_it_was_full(self) -> None:
        """What came before is whole and in its place; what is missing is known."""
        file = FullDisk(room=1000)
        store = WavStore(lambda: file)
        store.append(b"1234" * 200)
        store.append(b"5678" * 100)
        file.room = 10**6
        store.append(b"9999" * 10)
        store.seal(RATE)
        (chunk,) = taken(store)
        assert (await body_of(chunk))[44:] == b"1234" * 200
        assert [(lost.start, lost.size) for lost in store.dropped] == [(800, 440)]

    def test_a_disk_that_is_full_from_the_start_gives_nothing(self) -> None:
        """And nothing raises."""
        store = WavStore(lambda: FullDisk(room=0))
        store.append(b"1234")
        store.seal(RATE)
        assert store.take() is None
        assert [(lost.start, lost.size) for lost in store.dropped] == [(0, 4)]


@pytest.mark.parametrize("make", [ChunkStore, WavStore])
def test_a_fresh_store_is_empty(make: type[ChunkStore | WavStore]) -> None:
    """Nothing waits, nothing is dropped."""
    store: RecordingStore = make()
    assert (store.waiting, store.take(), list(store.dropped)) == (0, None, [])
    store.close()
