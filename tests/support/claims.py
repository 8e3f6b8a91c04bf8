"""What call-ended claims of a recording, against what the service has stored of it."""

from __future__ import annotations

import hashlib
import json
import wave
from pathlib import Path
from typing import Any


def check_claims(calls: Path) -> int:
    """Every call that has ended, in a folder of local Roark; returns how many there were.

    Complete is what arrived to the last byte, as it was recorded. Of a partial one at least that is
    there which is not in its gaps: an upload whose answer was lost may have arrived.
    """
    found = [json.loads(file.read_text()) for file in calls.glob("*/call.json")]
    ended = [call for call in found if "recording" in (call.get("ended") or {})]
    for call in ended:
        check_claim(call["ended"]["recording"], pcm_chunks(calls / call["livekitCallId"]))
    return len(ended)


def check_claim(claim: dict[str, Any], chunks: list[bytes]) -> None:
    """One recording, and its chunks as they arrived."""
    pcm = b"".join(chunks)
    if claim["status"] == "complete":
        assert claim["gaps"] == []
        assert (claim["byteCount"], claim["chunkCount"]) == (len(pcm), len(chunks))
        assert claim.get("sha256", digest := hashlib.sha256(pcm).hexdigest()) == digest
    elif claim["status"] == "partial":
        assert claim["gaps"] and claim["reason"]
        assert claim["byteCount"] <= len(pcm) and claim["chunkCount"] <= len(chunks)
        assert "sha256" not in claim
    else:
        assert (claim["chunkCount"], claim["byteCount"]) == (0, 0)
        assert "sha256" not in claim


def pcm_chunks(call: Path) -> list[bytes]:
    """The chunks of a call's recording in their order; a WAV is one."""
    if chunks := sorted((call / "chunks").glob("*.pcm")):
        return [chunk.read_bytes() for chunk in chunks]
    if not (call / "recording.wav").exists():
        return []
    with wave.open(str(call / "recording.wav")) as wav:
        return [wav.readframes(wav.getnframes())]
