"""A source whose clock is not this machine's: the track follows it, a sample now and then."""

from __future__ import annotations

from collections import deque

import numpy as np

from .frames import Samples

WINDOW = 5.0  # seconds over which the earliest arrival tells the source's clock
NOTICED = 0.002  # seconds; less than that is jitter, and the audio stays as it is
STEP = 0.001  # seconds of correction for each second of audio: 1,000 ppm, inaudible


class Drift:
    """How far a run of frames has drifted from this machine's clock, and the correction.

    Attributes:
        shift: Seconds by which the run's audio was moved so far.
    """

    def __init__(self) -> None:
        self.shift = 0.0
        self._minima: deque[tuple[float, float]] = deque()  # (second, earliest start seen in it)
        self._following = False
        self._allowed = 0.0  # samples that may be added or left out by now

    def observe(self, at: float, lateness: float) -> None:
        """A frame that arrived at `at` puts the run's start `lateness` seconds behind its own."""
        second = at // 1.0
        if self._minima and self._minima[-1][0] == second:
            self._minima[-1] = (second, min(self._minima[-1][1], lateness))
        else:
            self._minima.append((second, lateness))
        while self._minima[0][0] < second - WINDOW:
            self._minima.popleft()

    def correct(self, samples: Samples, rate: int) -> Samples:
        """`samples` with a few more or less, as the window tells, at most 0.1 % of them."""
        if not self._minima or self._minima[-1][0] - self._minima[0][0] < WINDOW:
            return samples  # a busy machine is late for a second or two, a clock for ever
        target = min(lateness for _, lateness in self._minima) - self.shift
        self._following = abs(target) > (1 / rate if self._following else NOTICED)
        if not self._following:
            self._allowed = 0.0
            return samples
        self._allowed += STEP * len(samples)
        added = max(-int(self._allowed), min(int(self._allowed), round(target * rate)))
        resized = _resized(samples, added)
        changed = len(resized) - len(samples)
        self._allowed -= abs(changed)
        self.shift += changed / rate
        return resized


def _resized(samples: Samples, added: int) -> Samples:
    """Adds or leaves out single samples, each where the waveform is flattest around it."""
    size = (len(samples) - 2) // max(1, abs(added))
    if added == 0 or size < 8:
        return samples
    wide = samples.astype(np.int32)
    steps = np.abs(np.diff(wide))
    steep = steps[1:] + steps[:-1]
    places = [
        1 + i * size + int(np.argmin(steep[i * size : (i + 1) * size])) for i in range(abs(added))
    ]
    if added < 0:
        return np.delete(samples, places)
    between = (wide[places] + wide[[place + 1 for place in places]]) // 2
    return np.insert(samples, [place + 1 for place in places], between.astype(np.int16))
