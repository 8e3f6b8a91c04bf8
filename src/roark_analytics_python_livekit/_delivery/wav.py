"""The header that turns s16le PCM into a WAV file, RF64 where 32 bits cannot count it."""

from __future__ import annotations

import struct

SAMPLE_BYTES = 2
_RIFF_LIMIT = 2**32 - 1


def wav_header(rate: int, channels: int, data_bytes: int) -> bytes:
    """The bytes that stand before `data_bytes` of interleaved s16le PCM, `rate` samples a second.

    From 4 GiB on the header is RF64 (EBU Tech 3306), which current players and libraries read.
    """
    frame = channels * SAMPLE_BYTES
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame, frame, 16)
    if data_bytes + 36 <= _RIFF_LIMIT:
        riff = struct.pack("<4sI4s", b"RIFF", data_bytes + 36, b"WAVE")
        return riff + fmt + struct.pack("<4sI", b"data", data_bytes)
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, data_bytes + 72, data_bytes, data_bytes // frame, 0)
    riff = struct.pack("<4sI4s", b"RF64", _RIFF_LIMIT, b"WAVE")
    return riff + ds64 + fmt + struct.pack("<4sI", b"data", _RIFF_LIMIT)


def wav_data_bytes(size: int) -> int:
    """The length of the PCM in a file of `size` bytes that begins with `wav_header`."""
    plain = len(wav_header(1, 1, 0))
    return size - (plain if size - 8 <= _RIFF_LIMIT else len(wav_header(1, 1, _RIFF_LIMIT)))
