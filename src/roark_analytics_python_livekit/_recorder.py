"""The recording of one call on its way to the outbox: audio items in, PCM and its digest out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from ._call.records import FRAME_BYTES, Record
from ._delivery.outbox import Outbox
from ._recording.frames import AgentFrame, Listening, Opened, Report, UserFrame
from ._recording.mixer import ResamplerFactory
from .audio import AudioCapture, Silences

AUDIO = (Opened, UserFrame, AgentFrame, Listening, *Report.__subclasses__())


def ignore(item: object) -> None:
    """Takes an audio item of which nothing is recorded."""


class Recorder:
    """Turns what the taps hand over into the recording, once its place is certain.

    Attributes:
        takes: What takes an item of each type in `AUDIO`, looked up 200 times a second.
    """

    def __init__(
        self, outbox: Outbox, make_resampler: ResamplerFactory, silences: Silences
    ) -> None:
        self.capture: AudioCapture | None = None
        self.pcm_bytes = 0
        self.takes: dict[type, Callable[[Any], None]] = dict.fromkeys(AUDIO, ignore)
        self.takes[Opened] = self._open
        self._outbox = outbox
        self._make_resampler = make_resampler
        self._silences = silences
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str | None:
        """The digest of all PCM, or None where there is none."""
        return self._digest.hexdigest() if self.pcm_bytes else None

    def settle(self, now: float) -> None:
        """Hands over what has become certain."""
        if self.capture is not None:
            self._keep(self.capture, self.capture.settle(now))

    def finish(self, at: float) -> None:
        """The call is over: hands over the rest."""
        if self.capture is not None:
            try:
                self._keep(self.capture, self.capture.finish(at))
            finally:
                self._outbox.finish_recording(self.capture.rate or 0)

    def note_lost(self, spans: Iterable[tuple[float, float]]) -> None:
        """Says where audio came that there was no room for; spans in monotonic seconds."""
        if self.capture is None or self.capture.rate is None or not self.pcm_bytes:
            return
        for span in spans:
            start, end = (round((at - self.capture.origin) * self.capture.rate) for at in span)
            first = min(max(0, start) * FRAME_BYTES, self.pcm_bytes - FRAME_BYTES)
            size = max(FRAME_BYTES, min(end * FRAME_BYTES, self.pcm_bytes) - first)
            gap: Record = {"type": "gap", "start": first, "size": size, "reason": "queue_full"}
            self._outbox.append_record(gap)

    def _open(self, opened: Opened) -> None:
        capture = AudioCapture(opened, self._make_resampler, silences=self._silences)
        self.capture = capture
        self.takes.update(
            {
                Opened: capture.reopened,
                UserFrame: capture.heard,
                AgentFrame: capture.captured,
                Listening: capture.listening,
                **dict.fromkeys(Report.__subclasses__(), capture.report),
            }
        )

    def _keep(self, capture: AudioCapture, pcm: bytes) -> None:
        if not pcm:
            return
        if not self.pcm_bytes:
            record: Record = {"type": "recording", "rate": capture.rate, "origin": capture.origin}
            for _ in range(2):  # one may be damaged on disk: the sound is of no use without
                self._outbox.append_record(record)
        self._digest.update(pcm)
        self.pcm_bytes += len(pcm)
        self._outbox.append_pcm(pcm)
