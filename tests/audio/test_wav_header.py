"""The WAV header: what any reader takes, and RF64 where 32 bits cannot count."""

from __future__ import annotations

import io
import struct
import wave

import pytest

from roark_analytics_python_livekit._delivery.chunks import wav_header

GIB = 2**30


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (24_000, 2), (48_000, 2)])
@pytest.mark.parametrize("frames", [0, 1, 1000])
def test_the_standard_library_reads_it(rate: int, channels: int, frames: int) -> None:
    """Rate, channels, width and length are what was said."""
    pcm = bytes(range(256)) * 16
    pcm = pcm[: frames * channels * 2]
    with wave.open(io.BytesIO(wav_header(rate, channels, len(pcm)) + pcm)) as file:
        assert file.getparams()[:4] == (channels, 2, rate, len(pcm) // channels // 2)
        assert file.readframes(frames) == pcm


def test_the_sizes_are_those_of_the_file() -> None:
    """RIFF counts everything behind its own 8 bytes."""
    header = wav_header(24_000, 2, 4000)
    assert len(header) == 44
    assert struct.unpack("<I", header[4:8])[0] == 44 + 4000 - 8
    assert struct.unpack("<I", header[40:44])[0] == 4000


def test_the_largest_that_32_bits_can_count_is_a_plain_wav() -> None:
    """One frame less than RF64 needs."""
    largest = 4 * GIB - 1 - 36
    header = wav_header(48_000, 2, largest - largest % 4)
    assert header[:4] == b"RIFF"
    assert header[12:16] == b"fmt "


@pytest.mark.parametrize("size", [4 * GIB - 32, 4 * GIB, 10 * GIB])
def test_from_4_gib_on_it_is_rf64(size: int) -> None:
    """The true sizes stand in the ds64 chunk, before all others (EBU Tech 3306)."""
    header = wav_header(48_000, 2, size)
    assert header[:4] == b"RF64"
    assert header[4:8] == header[-4:] == b"\xff\xff\xff\xff"
    assert header[8:16] == b"WAVEds64"
    length, riff, data, frames, table = struct.unpack("<IQQQI", header[16:48])
    assert (length, riff, data) == (28, len(header) + size - 8, size)
    assert (frames, table) == (size // 4, 0)
    assert header[48:52] == b"fmt "
    assert header[72:76] == b"data"
    assert len(header) == 80
