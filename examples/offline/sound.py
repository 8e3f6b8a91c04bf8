"""Sound as the rest of this package passes it around: mono int16 samples and their rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from livekit import rtc

Samples = npt.NDArray[np.int16]

NOTHING: Samples = np.zeros(0, dtype=np.int16)


def silence(seconds: float, rate: int) -> Samples:
    """Return `seconds` of digital silence at `rate` Hz."""
    return np.zeros(round(seconds * rate), dtype=np.int16)


def to_frame(samples: Samples, rate: int) -> rtc.AudioFrame:
    """Wrap mono `samples` at `rate` Hz in a frame of LiveKit's."""
    return rtc.AudioFrame(samples.tobytes(), rate, 1, len(samples))


def from_frame(frame: rtc.AudioFrame) -> Samples:
    """Return a copy of a frame's samples, its channels averaged to mono."""
    samples: Samples = np.frombuffer(frame.data, dtype=np.int16).copy()
    if frame.num_channels > 1:
        samples = samples.reshape(-1, frame.num_channels).mean(axis=1).astype(np.int16)
    return samples


def resample(samples: Samples, rate: int, to_rate: int) -> Samples:
    """Convert `samples` from `rate` to `to_rate` Hz with LiveKit's own resampler."""
    if rate == to_rate or not len(samples):
        return samples
    resampler = rtc.AudioResampler(rate, to_rate, quality=rtc.AudioResamplerQuality.VERY_HIGH)
    frames = [*resampler.push(to_frame(samples, rate)), *resampler.flush()]
    return np.concatenate([NOTHING, *map(from_frame, frames)])
