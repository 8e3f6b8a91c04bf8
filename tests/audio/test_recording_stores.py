"""A recording goes through the store unchanged: in chunks or as one WAV, however it comes."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from roark_analytics_python_livekit._delivery.chunks import Chunk, wav_header
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.outbox import Outbox
from roark_analytics_python_livekit._delivery.stats import Outcome

CHUNK_BYTES = DEFAULT_LIMITS.chunk_bytes

steady = settings(deadline=None, derandomize=True, database=None, max_examples=40)

RATE = 24_000
PCM = bytes((i * 7 + i // 251) % 255 + 1 for i in range(3 * CHUNK_BYTES + 4000))  # never zero
PIECES = st.lists(st.integers(0, 150_000), max_size=12)


async def body_of(chunk: Chunk) -> bytes:
    """What an upload of it would send."""
    body = chunk.open()
    return body if isinstance(body, bytes) else b"".join([part async for part in body])


def pieces_of(sizes: list[int]) -> list[bytes]:
    """The PCM in pieces of these sizes, and the rest."""
    cuts = [0]
    for size in sizes:
        cuts.append(min(len(PCM), cuts[-1] + size))
    return [PCM[a:b] for a, b in zip(cuts, [*cuts[1:], len(PCM)], strict=True)]


@steady
@given(sizes=PIECES)
async def test_both_ways_give_the_same_pcm_however_it_comes(sizes: list[int]) -> None:
    """Chunks are cut at 256 KiB and say where they begin; the WAV is its header and all of it."""
    chunks, wav = Outbox(), Outbox(whole=True)
    for piece in pieces_of(sizes):
        chunks.append_pcm(piece)
        wav.append_pcm(piece)
    for store in (chunks, wav):
        store.finish_recording(RATE)
    taken = list(iter(chunks.take, None))
    assert [(chunk.index, chunk.start, chunk.size) for chunk in taken] == [
        (0, 0, CHUNK_BYTES),
        (1, CHUNK_BYTES, CHUNK_BYTES),
        (2, 2 * CHUNK_BYTES, CHUNK_BYTES),
        (3, 3 * CHUNK_BYTES, 4000),
    ]
    (file,) = iter(wav.take, None)
    assert b"".join([await body_of(chunk) for chunk in taken]) == PCM
    assert await body_of(file) == wav_header(RATE, 2, len(PCM)) + PCM
    assert file.size == len(PCM) + 44


@steady
@given(sizes=PIECES, room=st.integers(0, 4), delivered=st.lists(st.booleans(), max_size=13))
async def test_what_has_no_room_is_silence_of_its_length(
    sizes: list[int], room: int, delivered: list[bool]
) -> None:
    """Whatever was dropped while others were delivered: indices, starts and the rest stay."""
    records: list[Mapping[str, Any]] = []
    store = Outbox(limits=Limits(max_memory=room * CHUNK_BYTES), on_record=records.append)
    bodies: dict[int, bytes] = {}
    for i, piece in enumerate([*pieces_of(sizes), b""]):
        store.append_pcm(piece)
        if i < len(delivered) and delivered[i] and (chunk := store.take()) is not None:
            bodies[chunk.index] = await body_of(chunk)
            store.settle(chunk, Outcome.OK)
    store.finish_recording(RATE)
    while (chunk := store.take()) is not None:
        assert chunk.start == chunk.index * CHUNK_BYTES
        bodies[chunk.index] = await body_of(chunk)
        store.settle(chunk, Outcome.OK)
    expected = bytearray(PCM)
    gaps = [record for record in records if record["type"] == "gap"]
    for gap in gaps:
        expected[gap["start"] : gap["start"] + gap["size"]] = bytes(gap["size"])
    assert sorted(bodies) == [0, 1, 2, 3]
    assert b"".join(bodies[index] for index in sorted(bodies)) == expected
    assert room or len(gaps) == 4


async def test_a_player_opens_the_wav() -> None:
    """Two channels of 16 bits, at the recording's rate."""
    store = Outbox(whole=True)
    store.append_pcm(PCM)
    store.finish_recording(RATE)
    (file,) = iter(store.take, None)
    with wave.open(io.BytesIO(await body_of(file))) as opened:
        assert opened.getparams()[:4] == (2, 2, RATE, len(PCM) // 4)
