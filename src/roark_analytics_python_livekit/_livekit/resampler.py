"""livekit's resampler, as the recording uses it."""

from __future__ import annotations

import numpy as np
from livekit import rtc

from .._recording.frames import Samples


class RtcResampler:
    """Resamples a stream of mono samples."""

    def __init__(self, input_rate: int, output_rate: int) -> None:
        self._rate = input_rate
        self._resampler = rtc.AudioResampler(
            input_rate, output_rate, num_channels=1, quality=rtc.AudioResamplerQuality.HIGH
        )

    def push(self, samples: Samples) -> Samples:
        """Takes the next samples, and returns those that are ready."""
        frame = rtc.AudioFrame(
            data=samples.tobytes(),
            sample_rate=self._rate,
            num_channels=1,
            samples_per_channel=len(samples),
        )
        return _joined(self._resampler.push(frame))

    def flush(self) -> Samples:
        """Returns what is left at the end of the stream."""
        return _joined(self._resampler.flush())


def _joined(frames: list[rtc.AudioFrame]) -> Samples:
    parts = [np.frombuffer(frame.data, dtype=np.int16) for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)
