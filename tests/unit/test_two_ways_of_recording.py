"""`chunks` and `wav` are two ways to the same file; also a huge one, also none."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._config import RecordingMode
from roark_analytics_python_livekit._delivery.chunks import wav_data_bytes, wav_header
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.outbox import Outbox
from tests.support.fake_roark import BASE_URL, KEY, Roark
from tests.unit.test_call import CALL, Calling

CHUNK_BYTES = DEFAULT_LIMITS.chunk_bytes

GIB = 2**30
HEADER = 44  # bytes before the PCM of a plain WAV file
START = 1_000.0  # the same monotonic moment for both


async def recorded(folder: Path, recording: RecordingMode) -> bytes:
    """The file that a call of 40 s leaves at the service."""
    roark = Roark(folder)
    client = RoarkClient(KEY, base_url=BASE_URL, transport=roark)
    calling = Calling(client, recording=recording)
    calling.start = START
    calling.open()
    calling.hear(0.0, 39.0)
    calling.speak(1.0, 12.0)
    calling.speak(20.003, 31.0)
    await calling.end(at=40.0)
    return roark.recording(CALL)


async def test_both_ways_give_the_same_file_to_the_last_byte(tmp_path: Path) -> None:
    """Joined from chunks by the service, or finished here."""
    joined = await recorded(tmp_path / "chunks", "chunks")
    finished = await recorded(tmp_path / "wav", "wav")
    assert len(joined) > 4 * CHUNK_BYTES
    assert joined[HEADER:] == finished[HEADER:]


@pytest.mark.parametrize("recording", ["chunks", "wav"])
async def test_a_call_of_no_audio_has_no_file(
    client: RoarkClient, roark: Roark, recording: RecordingMode
) -> None:
    """Not an empty one: nothing is uploaded, and the manifest says why."""
    await Calling(client, recording=recording).end()
    assert roark.asked("url") == [] and roark.asked("chunk") == []
    manifest = roark.call(CALL)["ended"]["recording"]
    assert (manifest["status"], manifest["chunkCount"]) == ("disabled", 0)


@pytest.mark.parametrize("size", [0, 1, 2 * GIB - 4, 2 * GIB + 4, 4 * GIB - 40])
def test_up_to_4_gib_the_header_is_plain(size: int) -> None:
    """Its two sizes are unsigned: 2 GiB is no border."""
    header = wav_header(24_000, 2, size)
    assert len(header) == HEADER and header[:4] == b"RIFF"
    assert struct.unpack_from("<I", header, 4) == (size + HEADER - 8,)
    assert struct.unpack_from("<I", header, 40) == (size,)


@pytest.mark.parametrize("size", [4 * GIB - 4, 4 * GIB, 9 * GIB])
def test_beyond_4_gib_the_header_is_rf64(size: int) -> None:
    """EBU Tech 3306: the true sizes, in 64 bits, stand in the ds64 chunk."""
    header = wav_header(24_000, 2, size)
    assert header[:4] == b"RF64" and header[8:16] == b"WAVEds64"
    of_file, of_data, frames = struct.unpack_from("<QQQ", header, 20)
    assert (of_file, of_data, frames) == (size + len(header) - 8, size, size // 4)
    assert header[-8:] == b"data" + b"\xff" * 4


@pytest.mark.parametrize("size", [0, 1000, 4 * GIB - 40, 4 * GIB - 36, 4 * GIB - 4, 9 * GIB])
def test_the_length_of_the_sound_is_that_of_the_file_without_its_header(size: int) -> None:
    """Plain or RF64, also on both sides of the border."""
    assert wav_data_bytes(len(wav_header(24_000, 2, size)) + size) == size


async def test_what_has_no_room_is_silence_and_the_file_keeps_its_length() -> None:
    """Without a disk, memory is the limit: nothing behind the missing part moves."""
    records: list[Mapping[str, Any]] = []
    limits = Limits(max_memory=2 * CHUNK_BYTES)
    store = Outbox(whole=True, limits=limits, on_record=records.append)
    for value in (1, 2, 3):
        store.append_pcm(bytes([value]) * CHUNK_BYTES)
    store.finish_recording(24_000)
    chunk = store.take()
    assert chunk is not None
    body = b"".join([part async for part in chunk.open()])  # type: ignore[union-attr]  # a WAV is read in parts
    assert len(body) == chunk.size == HEADER + 3 * CHUNK_BYTES
    assert set(body[HEADER + 2 * CHUNK_BYTES :]) == {0}
    gaps = [record["start"] for record in records if record["type"] == "gap"]
    assert gaps == [2 * CHUNK_BYTES]
