"""Sound whose every sample can be told apart, a resampler, and a recording that is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roark_analytics_python_livekit._recording.frames import Samples, UserFrame

Times = npt.NDArray[np.float64]


def numbered(first: int, count: int) -> Samples:
    """Samples that carry their own number, from `first` on; 65,535 of them in a call."""
    assert first + count < 2**16, "too much audio: samples could not be told apart"
    return np.arange(first + 1, first + count + 1, dtype=np.uint16).view(np.int16)


def numbers(samples: Samples) -> npt.NDArray[np.int64]:
    """Which numbers such samples carry."""
    return np.ascontiguousarray(samples).view(np.uint16).astype(np.int64) - 1


def sine(frequency: float, seconds: float, rate: int, level: int = 10_000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * frequency * times)).astype(np.int16)


def user_frame(at: float, samples: Samples, rate: int, channels: int = 1) -> UserFrame:
    """A frame of the caller's audio, the same on all channels."""
    return UserFrame(at, np.repeat(samples, channels).tobytes(), rate, channels)


def stereo(pcm: bytes) -> npt.NDArray[np.int16]:
    """A recording's samples: one row a moment, left and right."""
    return np.frombuffer(pcm, dtype="<i2").reshape(-1, 2)


def when_recorded(channel: Samples, rate: int, count: int) -> Times:
    """When each numbered sample stands in a recording, in seconds; NaN where it does not."""
    times = np.full(count, np.nan)
    places = np.flatnonzero(channel)
    found = numbers(channel[places])
    assert len(np.unique(found)) == len(found), "samples were doubled"
    times[found] = places / rate
    return times


@dataclass(frozen=True)
class Difference:
    """How a recording differs from what sounded, in seconds."""

    misplaced: float  # further from its moment than is tolerated
    missing: float
    extra: float  # never sounded

    @property
    def total(self) -> float:
        return self.misplaced + self.missing + self.extra


def difference(recorded: Times, sounded: Times, rate: int, tolerance: float) -> Difference:
    """Compares when each sample stands in a recording with when it sounded."""
    was_recorded, did_sound = ~np.isnan(recorded), ~np.isnan(sounded)
    both = was_recorded & did_sound
    off = np.abs(recorded[both] - sounded[both]) > tolerance
    return Difference(
        misplaced=float(off.sum()) / rate,
        missing=float((did_sound & ~was_recorded).sum()) / rate,
        extra=float((was_recorded & ~did_sound).sum()) / rate,
    )


class LinearResampler:
    """Streams like livekit's own: 32 samples stay inside until more come, or a flush."""

    def __init__(self, input_rate: int, output_rate: int) -> None:
        self._step = input_rate / output_rate
        self._pushed = np.zeros(0, np.int16)
        self._made = 0

    def push(self, samples: Samples) -> Samples:
        """Takes samples, and gives what they make certain."""
        self._pushed = np.concatenate([self._pushed, samples])
        return self._make(len(self._pushed) - 32)

    def flush(self) -> Samples:
        return self._make(len(self._pushed))

    def _make(self, until: int) -> Samples:
        last = max(self._made, math.ceil(until / self._step - 1e-9))
        if last == self._made:
            return np.zeros(0, np.int16)
        positions = np.arange(self._made, last) * self._step
        self._made, first = last, int(positions[0])
        near = self._pushed[first:]
        return np.interp(positions - first, np.arange(len(near)), near).astype(np.int16)
