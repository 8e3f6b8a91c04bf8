"""The recording: chunks on disk, joined to one WAV."""

from __future__ import annotations

import os
import shutil
import struct
import wave
from itertools import islice
from pathlib import Path

from ._names import chunk_name
from ._records import AudioFacts, JsonObject, Recording, no_recording

RECORDING = "recording.wav"
_CHUNKS = "chunks"
_SAMPLE_BYTES = 2
# An index can be any number; the list of those that are missing is for people.
_MOST_MISSING = 1000
# A WAV's size fields have 32 bits; players read a larger file to its end all the same.
_LARGEST_DATA = 2**32 - 1 - 36


def store_chunk(folder: Path, index: int, content_type: str, data: bytes) -> None:
    """Keeps one chunk in a call's folder; the same index again replaces it."""
    chunks = folder / _CHUNKS
    chunks.mkdir(parents=True, exist_ok=True)
    for older in chunks.glob(f"{index:06d}.*"):
        older.unlink()
    write_whole(chunks / chunk_name(index, content_type), data)


def assemble(folder: Path, ended: JsonObject | None, previous: Recording) -> Recording:
    """Makes `recording.wav` of what is there, as the service does when a call has ended.

    Chunks of PCM are joined by index, so a missing one shortens the recording from there on. A
    finished WAV, sent as chunk 0, becomes the recording as it is.

    Args:
        folder: The call's folder.
        ended: The call-ended event; before it has come, chunks are only counted.
        previous: What was known before.
    """
    wav = folder / _CHUNKS / chunk_name(0, "audio/wav")
    chunks = _pcm_chunks(folder)
    if ended and wav.exists():
        os.replace(wav, folder / RECORDING)
        return _describe_wav(folder)
    if not chunks:
        return _waiting([0], "audio/wav") if wav.exists() else previous
    known = _waiting(sorted(chunks), "audio/pcm", _announced(ended))
    if ended is None:
        return known
    rate, channels = ended.get("recordingSampleRate"), ended.get("recordingNumChannels")
    if not rate or not channels:
        return {**known, "problem": "call-ended has no recordingSampleRate, recordingNumChannels"}
    size = _join(folder, [chunks[index] for index in known["chunks"]], rate, channels)
    return {**known, **_facts(rate, channels, size)}


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file such that a reader finds the old one or the new one, never a part."""
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_bytes(data)
    os.replace(scratch, path)


def _pcm_chunks(folder: Path) -> dict[int, Path]:
    return {int(path.stem): path for path in (folder / _CHUNKS).glob("[0-9]*.pcm")}


def _announced(ended: JsonObject | None) -> int:
    count = (ended or {}).get("recording", {}).get("chunkCount", 0)
    return int(count)


def _waiting(chunks: list[int], content_type: str, announced: int = 0) -> Recording:
    expected = max(chunks[-1] + 1, announced)
    present = set(chunks)
    absent = (index for index in range(expected) if index not in present)
    missing = list(islice(absent, _MOST_MISSING))
    return {**no_recording(), "contentType": content_type, "chunks": chunks, "missing": missing}


def _join(folder: Path, chunks: list[Path], rate: int, channels: int) -> int:
    block = channels * _SAMPLE_BYTES
    total = sum(path.stat().st_size for path in chunks)
    scratch = folder / f".{RECORDING}.part"
    with scratch.open("wb") as out:
        header = _wav_header(total - total % block, rate, channels)
        out.write(header)
        for path in chunks:
            with path.open("rb") as chunk:
                shutil.copyfileobj(chunk, out)
        out.truncate(len(header) + total - total % block)
    os.replace(scratch, folder / RECORDING)
    return total - total % block


def _wav_header(size: int, rate: int, channels: int) -> bytes:
    size = min(size, _LARGEST_DATA)
    block = channels * _SAMPLE_BYTES
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * block, block, 8 * _SAMPLE_BYTES)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
        + struct.pack("<4sI", b"fmt ", len(form))
        + form
        + struct.pack("<4sI", b"data", size)
    )


def _describe_wav(folder: Path) -> Recording:
    known = _waiting([0], "audio/wav")
    try:
        with wave.open(str(folder / RECORDING)) as wav:
            rate, channels = wav.getframerate(), wav.getnchannels()
            size = wav.getnframes() * channels * wav.getsampwidth()
            milliseconds = wav.getnframes() * 1000 // rate
    except (wave.Error, EOFError, ZeroDivisionError) as error:
        return {**known, "file": RECORDING, "problem": f"not a PCM WAV file: {error}"}
    return {**known, **_facts(rate, channels, size), "durationMs": milliseconds}


def _facts(rate: int, channels: int, size: int) -> AudioFacts:
    return AudioFacts(
        file=RECORDING,
        sampleRate=rate,
        channels=channels,
        durationMs=size * 1000 // (rate * channels * _SAMPLE_BYTES),
        bytes=size,
    )
