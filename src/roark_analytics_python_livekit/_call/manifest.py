"""What call-ended says of the recording: whether it is whole, and where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .._types import Pause, Recording
from .records import FRAME_BYTES, ChunkRecord, GapRecord


@dataclass
class RecordingState:
    """The recording, as the journal's records describe it."""

    rate: int | None = None  # samples a second; None before there is a recording
    origin: float | None = None  # when its first sample was, in monotonic seconds
    pcm_bytes: int = 0
    sha256: str | None = None  # of its whole PCM, where it is known
    chunks: dict[int, ChunkRecord] = field(default_factory=dict)  # by index
    gaps: dict[int, GapRecord] = field(default_factory=dict)  # by their first byte

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.pcm_bytes / FRAME_BYTES / (self.rate or 1)

    @property
    def length_ms(self) -> int:
        """Its length in milliseconds."""
        return self._milliseconds(self.pcm_bytes)

    def manifest(
        self,
        missing: Iterable[tuple[int, int]],
        failure: str | None,
        pauses: list[Pause],
        *,
        is_off: bool,
    ) -> Recording:
        """What call-ended says of it; (start, size) in bytes of PCM is `missing` at the service."""
        lost = [(start, start + size) for start, size in missing]
        damaged = [
            (gap["start"], gap["start"] + gap["size"])
            for gap in self.gaps.values()
            if not any(start <= gap["start"] < end for start, end in lost)
        ]
        delivered = sum(chunk["result"] == "ok" for chunk in self.chunks.values())
        manifest: Recording = {
            "status": "complete",
            "chunkCount": delivered,
            "byteCount": self.pcm_bytes,
            "durationMs": self.length_ms,
            "gaps": [
                {
                    "startMs": self._milliseconds(start),
                    "endMs": self._milliseconds(min(end, self.pcm_bytes)),
                }
                for start, end in sorted([*lost, *damaged])
            ],
            "pauses": pauses,
        }
        if self.sha256 is not None and self.pcm_bytes:
            manifest["sha256"] = self.sha256
        if is_off:
            manifest["status"], manifest["reason"] = "disabled", "recording is off"
        elif not self.pcm_bytes:
            manifest["status"], manifest["reason"] = "disabled", "the session had no audio"
        elif lost:
            manifest["status"] = "partial" if delivered else "failed"
            manifest["reason"] = failure or "no answer"
        elif damaged:
            manifest["status"], manifest["reason"] = "partial", "lost on disk"
        return manifest

    def _milliseconds(self, size: int) -> int:
        return round(size / FRAME_BYTES / (self.rate or 1) * 1000)
