"""The user channel's levels: where speech really begins and ends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .frames import Samples

Levels = npt.NDArray[np.uint8]
Loud = npt.NDArray[np.bool_]

STEP = 0.01  # seconds, or the nearest that is a whole number of samples
PAUSE = 0.2  # seconds of quiet that a word boundary may have
MEASURED = 2.0  # seconds that are measured at once, unless somebody asks before
REACH = 0.6  # seconds around a voice detector's verdict that are looked at
ABOVE_NOISE = 6.0  # dB; 10 ms of steady noise vary by less
BELOW_VOICE = 40.0  # dB; what is fainter than this is not heard as speech, however quiet it is


class Loudness:
    """The user channel's level every 10 ms, kept for the whole call (100 bytes a second)."""

    def __init__(self) -> None:
        self._levels = bytearray()  # dB above one unit of s16le
        self._rate = 0
        self._step = STEP
        self._pending: list[Samples] = []  # measured together: small arrays cost the most

    def add(self, samples: Samples, rate: int) -> None:
        self._rate = rate
        self._pending.append(samples.copy())  # of a block that has another channel, too
        if sum(map(len, self._pending)) >= MEASURED * rate:
            self._measure()

    def _measure(self) -> None:
        if not self._pending:
            return
        size = round(STEP * self._rate)
        self._step = size / self._rate
        samples = np.concatenate(self._pending)
        whole = len(samples) - len(samples) % size
        self._pending = [samples[whole:]]
        blocks = samples[:whole].reshape(-1, size).astype(np.float32)
        blocks *= blocks
        power = np.sqrt(blocks.mean(axis=1) + 1e-9)
        self._levels += np.clip(20 * np.log10(power + 1.0), 0, 255).astype(np.uint8).tobytes()

    def voiced(self, start_seconds: float, end_seconds: float) -> tuple[float, float]:
        """The true first and last moment of the speech that a detector saw in [start, end].

        All in seconds from the recording's first sample.
        """
        self._measure()
        low = max(0, int((start_seconds - REACH) / self._step))
        high = max(low, int((end_seconds + REACH) / self._step) + 1)
        window = np.frombuffer(self._levels[low:high], np.uint8)
        first, last = int(start_seconds / self._step) - low, int(end_seconds / self._step) - low
        inside = slice(max(0, first), max(1, last))
        if len(window[inside]) == 0:
            return start_seconds, end_seconds
        loud = _loud(window, float(np.percentile(window[inside], 95)))
        if not loud[inside].any():
            return start_seconds, end_seconds
        first, last = _grow(loud, inside.start, inside.stop - 1, round(PAUSE / self._step))
        return (low + first) * self._step, (low + last + 1) * self._step


def _loud(levels: Levels, voice: float) -> Loud:
    noise = float(np.percentile(levels, 5))
    loud: Loud = levels > max(noise + ABOVE_NOISE, voice - BELOW_VOICE)
    beside = np.zeros_like(loud)  # a single step is a click
    beside[1:] |= loud[:-1]
    beside[:-1] |= loud[1:]
    return loud & beside


def _grow(loud: Loud, first: int, last: int, bridge: int) -> tuple[int, int]:
    """The loud stretch that holds [first, last], over quiet parts of at most `bridge` steps."""
    spots = np.flatnonzero(loud)
    inside = spots[(spots >= first) & (spots <= last)]
    begins = spots[np.diff(spots, prepend=-np.inf) > bridge]
    ends = spots[np.diff(spots, append=np.inf) > bridge]
    return int(begins[begins <= inside[0]][-1]), int(ends[ends >= inside[-1]][0])
