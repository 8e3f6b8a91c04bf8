"""Where the recording waits: pieces by size, in order, in bounded room."""

from __future__ import annotations

import errno
import io
import wave
from pathlib import Path
from typing import Any

import pytest

from roark_analytics_python_livekit._delivery.call_spool import CallSpool
from roark_analytics_python_livekit._delivery.chunks import Chunk
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.outbox import Left, Outbox
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._steps import at_once

CHUNK_BYTES = DEFAULT_LIMITS.chunk_bytes

RATE = 24_000


async def body_of(chunk: Chunk) -> bytes:
    """The bytes that an upload of this chunk would send."""
    body = chunk.open()
    return body if isinstance(body, bytes) else b"".join([part async for part in body])


def taken(store: Outbox) -> list[Chunk]:
    """Everything that can be taken."""
    chunks = []
    while (chunk := store.take()) is not None:
        chunks.append(chunk)
    return chunks


class TestChunks:
    """PCM in memory."""

    async def test_pcm_comes_out_in_pieces_as_it_went_in(self) -> None:
        """Of one size, with a smaller last one; their indices count from 0."""
        pcm = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"rest"
        store = Outbox()
        for begin in range(0, len(pcm), 9600):
            store.append_pcm(pcm[begin : begin + 9600])
        store.finish_recording(RATE)
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
        store = Outbox()
        store.append_pcm(bytes(CHUNK_BYTES - 1))
        assert store.take() is None
        store.append_pcm(b"1")
        assert store.waiting == 1
        assert store.take() is not None
        assert store.waiting == 0

    def test_a_recording_of_whole_chunks_has_no_empty_last_one(self) -> None:
        """Storage refuses an empty upload."""
        store = Outbox()
        store.append_pcm(bytes(CHUNK_BYTES))
        store.finish_recording(RATE)
        assert len(taken(store)) == 1
        empty = Outbox()
        empty.finish_recording(RATE)
        assert taken(empty) == []

    def test_a_chunk_that_is_put_back_lines_up_behind_the_others(self) -> None:
        """One that fails for ever does not hold them back."""
        store = Outbox()
        store.append_pcm(bytes(3 * CHUNK_BYTES))
        first = store.take()
        assert first is not None
        store.put_back(first)
        assert [chunk.index for chunk in taken(store)] == [1, 2, 0]

    async def test_a_chunk_can_be_read_again_and_again(self) -> None:
        """Each try reads it anew."""
        store = Outbox()
        store.append_pcm(b"x" * CHUNK_BYTES)
        (chunk,) = taken(store)
        assert await body_of(chunk) == await body_of(chunk) == b"x" * CHUNK_BYTES

    async def test_what_has_no_room_is_silence_and_its_place_is_known(self) -> None:
        """The indices around it stay, and so does the time line: a gap, not a shift."""
        records: list[Any] = []
        store = Outbox(limits=Limits(max_memory=2 * CHUNK_BYTES), on_record=records.append)
        store.append_pcm(b"x" * 3 * CHUNK_BYTES)
        gaps = [record for record in records if record["type"] == "gap"]
        assert gaps == [
            {"type": "gap", "start": 2 * CHUNK_BYTES, "size": CHUNK_BYTES, "reason": "full"}
        ]
        first = store.take()
        assert first is not None
        store.settle(first, Outcome.OK)
        store.append_pcm(b"y" * CHUNK_BYTES)
        bodies = {chunk.index: await body_of(chunk) for chunk in taken(store)}
        assert list(bodies) == [1, 2, 3]
        assert bodies[2] == bytes(CHUNK_BYTES) and bodies[3] == b"y" * CHUNK_BYTES

    def test_closing_forgets(self) -> None:
        """The call is over, whatever was delivered."""
        store = Outbox()
        store.append_pcm(bytes(CHUNK_BYTES + 5))
        store.close()
        store.finish_recording(RATE)
        assert taken(store) == []


class TestOneWav:
    """One file, at the end."""

    async def test_it_gives_one_wav_when_the_recording_is_over(self) -> None:
        """Nothing before; then a file that any player opens."""
        pcm = bytes(range(256)) * 3000
        store = Outbox(whole=True)
        store.append_pcm(pcm[:1000])
        assert store.take() is None
        store.append_pcm(pcm[1000:])
        store.finish_recording(RATE)
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
        store = Outbox(whole=True)
        store.append_pcm(b"1234" * 100)
        store.finish_recording(RATE)
        (chunk,) = taken(store)
        first = await body_of(chunk)
        store.put_back(chunk)
        assert store.take() is chunk
        assert await body_of(chunk) == first
        store.close()

    def test_a_silent_call_has_no_file(self) -> None:
        """There is nothing to upload."""
        store = Outbox(whole=True)
        store.finish_recording(RATE)
        assert store.take() is None
        store.close()

    async def test_what_has_no_room_is_silence_in_the_file(self) -> None:
        """All that was kept stands where it belongs."""
        records: list[Any] = []
        limits = Limits(max_memory=CHUNK_BYTES)
        store = Outbox(whole=True, limits=limits, on_record=records.append)
        store.append_pcm(b"\1" * CHUNK_BYTES + b"\2" * CHUNK_BYTES)
        store.finish_recording(RATE)
        (chunk,) = taken(store)
        assert (await body_of(chunk))[44:] == b"\1" * CHUNK_BYTES + bytes(CHUNK_BYTES)
        assert [one["start"] for one in records if one["type"] == "gap"] == [CHUNK_BYTES]


class TestOnDisk:
    """With a place in the spool."""

    def test_records_that_a_full_disk_refuses_are_written_once_a_chunk_made_room(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """In their order; the refusal is said once, and until then nothing counts as spooled."""
        outbox = Outbox(call := Spool(tmp_path / "spool").begin("RM_1"))
        append_record, remove_chunk, full = CallSpool.append_record, CallSpool.remove_chunk, [True]

        def append_or_refuse(self: CallSpool, *record: Any) -> None:
            if full[0]:
                raise OSError(errno.ENOSPC, "full")
            append_record(self, *record)

        def make_room(self: CallSpool, index: int) -> None:
            remove_chunk(self, index)
            full[0] = False

        monkeypatch.setattr(CallSpool, "append_record", append_or_refuse)
        monkeypatch.setattr(CallSpool, "remove_chunk", make_room)
        outbox.append_record({"n": 1})
        outbox.append_pcm(bytes(CHUNK_BYTES))
        (chunk,) = taken(outbox)
        outbox.append_record({"n": 2})
        assert not outbox.is_spooled and list(call.read_journal().records()) == []
        outbox.settle(chunk, Outcome.OK)
        records = list(call.read_journal().records())
        assert outbox.is_spooled and (records[0], records[2]) == ({"n": 1}, {"n": 2})
        assert [record["type"] for record in (records[1], *records[3:])] == ["sealed", "chunk"]
        assert caplog.text.count("cannot be written") == 1
        outbox.close()

    def test_a_wav_that_is_settled_leaves_nothing_of_its_pieces(self, tmp_path: Path) -> None:
        """The disk is free again, though the call may wait for days."""
        call = Spool(tmp_path / "spool").begin("RM_1")
        outbox = Outbox(call, whole=True)
        outbox.append_pcm(bytes(2 * CHUNK_BYTES + 4))
        outbox.finish_recording(RATE)
        (wav,) = taken(outbox)
        assert call.chunk_indices() == [0, 1, 2]
        outbox.settle(wav, Outcome.OK)
        assert call.chunk_indices() == []
        outbox.close()

    @pytest.mark.parametrize("intact", [True, False])
    def test_only_a_whole_journal_says_that_a_chunk_is_lost(
        self, tmp_path: Path, intact: bool
    ) -> None:
        """Where records are missing, the one that says it was delivered may be among them."""
        call = Spool(tmp_path / "spool").begin("RM_1")
        call.append_pcm(1, bytes(CHUNK_BYTES))
        outbox = Outbox(call)
        left = Left(settled=set(), sealed={}, gaps=set(), length=0)
        restored = at_once(outbox.restoring(left, final=False, intact=intact))
        assert restored == 2 * CHUNK_BYTES
        assert [chunk.index for chunk in taken(outbox)] == ([0, 1] if intact else [1])
        assert bool(list(call.read_journal().records())) == intact
        outbox.close()


@pytest.mark.parametrize("whole", [False, True])
def test_a_fresh_store_is_empty(whole: bool) -> None:
    """Nothing waits, nothing is dropped."""
    store = Outbox(whole=whole)
    assert (store.waiting, store.take()) == (0, None)
    store.close()
