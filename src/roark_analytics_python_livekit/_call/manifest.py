"""What call-ended says of the recording: whether it is whole, and where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .._types import Pause, Recording
from .records import FRAME_BYTES, ChunkRecord, GapRecord


@dataclass
class RecordingState:
    """The recording, as the journal's records describe it.

    Attributes:
        rate: Samples a second; None before there is a recording.
        origin: When its first sample was, in monotonic seconds.
        pcm_bytes: Its length.
        sha256: The digest of its whole PCM, where it is known.
        chunks: What became of its chunks, by index.
        gaps: Stretches that were lost on disk, by their first byte: silence.
    """

    rate: int | None = None
    origin: float | None = None
    pcm_bytes: int = 0
    sha256: str | None = None
    chunks: dict[int, ChunkRecord] = field(default_factory=dict)
    gaps: dict[int, GapRecord] = field(default_factory=dict)

    @property
    def length_ms(self) -> int:
        """Its length in milliseconds."""
        return self._milliseconds(self.pcm_bytes)

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return self.pcm_bytes / FRAME_BYTES / (self.rate or 1)

    def manifest(
        self,
        missing: Iterable[tuple[int, int]],
        failure: str | None,
        pauses: list[Pause],
        *,
        is_off: bool,
    ) -> Recording:
        """What call-ended says of it.

        Args:
            missing: (start, size) in bytes of PCM of each chunk that the service does not have.
            failure: Why, in a few words.
            pauses: The silenced spans.
            is_off: Nothing was to be recorded.
        """
        lost = [(start, start + size) for start, size in missing]
        damaged = [
            (gap["start"], gap["start"] + gap["size"])
            for gap in self.gaps.values()
            if not any(start <= gap["start"] < end for start, end in lost)
        ]
        manifest: Recording = {
            "status": "complete",
            "chunkCount": sum(chunk["result"] == "ok" for chunk in self.chunks.values()),
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
            manifest["status"] = "partial" if manifest["chunkCount"] else "failed"
            manifest["reason"] = failure or "no answer"
        elif damaged:
            manifest["status"], manifest["reason"] = "partial", "lost on disk"
        return manifest

    def _milliseconds(self, size: int) -> int:
        return round(size / FRAME_BYTES / (self.rate or 1) * 1000)
