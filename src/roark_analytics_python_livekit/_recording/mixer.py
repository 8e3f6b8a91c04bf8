"""Placed mono runs become interleaved stereo, to the sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from .frames import Samples

USER, AGENT = 0, 1  # left, right


class Resampler(Protocol):
    """A streaming sample rate converter for one run of mono audio."""

    def push(self, samples: Samples) -> Samples: ...

    def flush(self) -> Samples: ...


ResamplerFactory = Callable[[int, int], Resampler]
"""(input rate, output rate) → a fresh `Resampler`."""


class StereoMixer:
    """Two channels on one time line: left is the user, right is the agent, silence elsewhere.

    Runs of samples are placed at positions counted from the recording's first sample. `settle`
    gives out what can no longer change and forgets it, so memory is bounded by what was placed
    ahead of the settled mark. A run's samples stand exactly once in the output, one behind the
    other; what is placed before the settled mark comes too late and is left out.
    """

    def __init__(self, rate: int, origin: float = 0.0) -> None:
        self.rate = rate
        self.settled_samples = 0  # of each channel, given out
        self.open_runs: set[Run] = set()  # samples of theirs may still be in their resampler
        self._origin = origin  # monotonic seconds of the recording's first sample
        self._placed: tuple[list[tuple[int, Samples]], list[tuple[int, Samples]]] = ([], [])
        self._end_samples = [0, 0]

    def sample_at(self, at: float) -> int:
        """The position of a moment."""
        return round((at - self._origin) * self.rate)

    def time_of(self, sample: int) -> float:
        """The moment of a position."""
        return self._origin + sample / self.rate

    def end_sample(self, channel: int) -> int:
        """The position behind the last sample that was placed in a channel."""
        return max(self._end_samples[channel], self.settled_samples)

    def place(self, channel: int, position: int, samples: Samples) -> None:
        """Puts mono samples into a channel, behind everything placed there before."""
        if (late := self.end_sample(channel) - position) > 0:
            samples, position = samples[late:], position + late
        if len(samples):
            self._placed[channel].append((position, samples))
            self._end_samples[channel] = position + len(samples)

    def settle(self, end_sample: int) -> Samples:
        """Both channels up to `end_sample`, a row a sample; never again changed."""
        block = np.zeros((max(0, end_sample - self.settled_samples), 2), dtype="<i2")
        for channel in (USER, AGENT):
            if self._placed[channel]:
                self._take(channel, block)
        self.settled_samples += len(block)
        return block

    def _take(self, channel: int, block: Samples) -> None:
        start, end = self.settled_samples, self.settled_samples + len(block)
        later = []
        for position, samples in self._placed[channel]:
            if (inside := end - position) >= len(samples):
                block[position - start : position - start + len(samples), channel] = samples
                continue
            if inside > 0:
                block[position - start :, channel] = samples[:inside]
                position, samples = end, samples[inside:]
            later.append((position, samples))
        self._placed[channel][:] = later


class Run:
    """Consecutive samples of one channel, brought to the mixer's rate one behind the other.

    The first is placed at `position`, or later, if the channel is filled up to there.
    """

    def __init__(
        self,
        mixer: StereoMixer,
        channel: int,
        position: int,
        rate: int,
        make_resampler: ResamplerFactory,
    ) -> None:
        self._mixer = mixer
        self._channel = channel
        self._resampler = None if rate == mixer.rate else make_resampler(rate, mixer.rate)
        self.end_sample = position
        mixer.open_runs.add(self)

    def push(self, samples: Samples) -> None:
        self._place(samples if self._resampler is None else self._resampler.push(samples))

    def finish(self) -> None:
        """Places what the resampler still holds."""
        if self._resampler is not None:
            self._place(self._resampler.flush())
            self._resampler = None
        self._mixer.open_runs.discard(self)

    def _place(self, samples: Samples) -> None:
        self._mixer.place(self._channel, self.end_sample, samples)
        self.end_sample += len(samples)
