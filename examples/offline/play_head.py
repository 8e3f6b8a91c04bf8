"""Where a segment of audio is being played, to the sample: arithmetic on a clock, no I/O.

Samples may be pushed faster than they sound. They queue up and sound one after another; if the
queue runs dry, the next ones leave a gap. A pause holds the queue, a stop drops it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

NOTHING: Samples = np.zeros(0, dtype=np.int16)


@dataclass
class Run:
    """Samples that sounded without a break, the first of them at `start` (seconds)."""

    start: float
    rate: int
    samples: Samples

    @property
    def end(self) -> float:
        """When the last sample has sounded."""
        return self.start + len(self.samples) / self.rate

    def sounded(self, now: float) -> int:
        """Return how many of the samples have sounded at `now`."""
        return math.floor(min(max((now - self.start) * self.rate, 0.0), len(self.samples)))

    def cut(self, now: float) -> Samples:
        """End the run at `now`, and return the samples that will not sound any more."""
        kept = self.sounded(now)
        self.samples, rest = self.samples[:kept], self.samples[kept:]
        return rest


@dataclass
class PlayHead:
    """The play head of one segment. Times are seconds on one clock, given by the caller.

    Attributes:
        rate: Samples a second.
        runs: What sounded, or will unless somebody pauses or stops it, in order.
        pushed: Everything that was pushed, sounded or not.
        stopped_at: When it was stopped, if it was.
    """

    rate: int
    runs: list[Run] = field(default_factory=list)
    pushed: Samples = field(default_factory=NOTHING.copy)
    stopped_at: float | None = None
    _held: Samples | None = None  # the queue while paused

    @property
    def paused(self) -> bool:
        """Whether the head stands still, its queue held."""
        return self._held is not None

    @property
    def start(self) -> float | None:
        """When the first sample sounded, if one did."""
        return self.runs[0].start if self.runs else None

    @property
    def end(self) -> float:
        """When the last sample pushed so far has sounded: never, while paused."""
        if self._held is not None and len(self._held) and self.stopped_at is None:
            return math.inf
        return self.runs[-1].end if self.runs else -math.inf

    def push(self, samples: Samples, now: float) -> None:
        """Take more samples; without effect once stopped."""
        if self.stopped_at is not None:
            return
        self.pushed = np.concatenate([self.pushed, samples])
        if self._held is not None:
            self._held = np.concatenate([self._held, samples])
        elif self.runs and self.runs[-1].end >= now:
            self.runs[-1].samples = np.concatenate([self.runs[-1].samples, samples])
        else:
            self.runs.append(Run(now, self.rate, samples))

    def pause(self, now: float) -> None:
        """Stand still at `now`, and hold what has not sounded."""
        if self._held is None and self.stopped_at is None:
            self._held = self._cut(now)

    def resume(self, now: float) -> None:
        """Go on where it was paused."""
        held, self._held = self._held, None
        if held is not None and len(held) and self.stopped_at is None:
            self.runs.append(Run(now, self.rate, held))

    def stop(self, now: float) -> None:
        """Fall silent at `now`, and drop what has not sounded."""
        if self.stopped_at is None:
            self._cut(now)
            self.stopped_at = now

    def position(self, now: float) -> float:
        """Return how many seconds of the segment have sounded at `now`."""
        return sum(run.sounded(now) for run in self.runs) / self.rate

    def time_at(self, position: float) -> float:
        """Return when `position` seconds will have sounded: inf if that is not known yet."""
        left = round(position * self.rate)
        for run in self.runs:
            if left <= len(run.samples):
                return run.start + left / self.rate
            left -= len(run.samples)
        return math.inf

    def sound(self) -> Samples:
        """Return what sounded from the first sample to the last, with the gaps as silence."""
        if not self.runs:
            return NOTHING
        first = self.runs[0].start
        length = round((self.runs[-1].end - first) * self.rate)
        sound = np.zeros(length + 1, dtype=np.int16)
        for run in self.runs:
            offset = round((run.start - first) * self.rate)
            sound[offset : offset + len(run.samples)] = run.samples[: len(sound) - offset]
        return sound[:length]

    def _cut(self, now: float) -> Samples:
        rest = NOTHING
        while self.runs and self.runs[-1].end > now:
            rest = np.concatenate([self.runs[-1].cut(now), rest])
            if len(self.runs[-1].samples):
                break
            self.runs.pop()
        return rest
