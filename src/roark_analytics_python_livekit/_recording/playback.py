"""Which sample of a speech segment plays when."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

GAP = 0.005  # seconds; a shorter gap between two spans is timing noise, not silence
SAME_TIME = 0.04  # seconds; a report that differs less from what was already taken is ignored


@dataclass(slots=True)
class Span:
    """`count` samples of a segment that play from `at` (monotonic seconds) without a break."""

    at: float
    first_sample: int
    count: int
    joined: bool = False  # follows the span taken before it without a gap

    @property
    def end_sample(self) -> int:
        return self.first_sample + self.count


class PlaybackSchedule:
    """Which samples of a segment play when, as far as they were not taken out yet."""

    def __init__(self, rate: int) -> None:
        self.reported_end_sample = 0  # reports have said what played up to here
        self._rate = rate
        self._spans: deque[Span] = deque()
        self._taken: Span | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything scheduled was taken out."""
        return not self._spans

    @property
    def end_sample(self) -> int:
        """The first sample that has no place in the schedule."""
        last = self._last
        return last.end_sample if last is not None else 0

    def ends_at(self, default: float) -> float:
        """When the last scheduled or taken sample is over; `default` without one."""
        last = self._last
        return self._end_of(last) if last is not None else default

    def sample_at(self, at: float) -> int:
        """The next sample to play at a moment."""
        for span in self._spans:
            played = round((at - span.at) * self._rate)
            if played < span.count:
                return span.first_sample + max(0, played)
        return self.end_sample

    def add(self, at: float, first_sample: int, end_sample: int) -> None:
        """Those of samples [first, end) that have no place yet play from `at`, or when those
        scheduled before are over.
        """
        placed, ends_at = 0, at
        last = self._spans[-1] if self._spans else self._taken
        if last is not None:  # no properties and no max(): this is done for each frame
            placed, ends_at = last.first_sample + last.count, last.at + last.count / self._rate
        if first_sample < placed:
            first_sample = placed
        if end_sample <= first_sample:
            return
        if self._spans and placed == first_sample and at - ends_at < 1 / self._rate:
            self._spans[-1].count += end_sample - first_sample
        else:
            self._spans.append(Span(max(at, ends_at), first_sample, end_sample - first_sample))

    def truncate(self, end_sample: int) -> None:
        """Nothing from `end_sample` on plays any more."""
        while self._spans and self._spans[-1].first_sample >= end_sample:
            self._spans.pop()
        if self._spans:
            last = self._spans[-1]
            last.count = min(last.count, end_sample - last.first_sample)

    def play_to(self, end_sample: int, default: float) -> None:
        """Exactly the samples up to `end_sample` play; the first of all from `default` on."""
        self.truncate(end_sample)
        self.add(self.ends_at(default), 0, end_sample)

    def stop(self, at: float) -> None:
        self.truncate(self.sample_at(at))

    def delay(self, seconds: float) -> float:
        """Moves everything to a later time, unless some of it was taken; says by how much."""
        if self._taken is not None or seconds <= 0:
            return 0.0
        for span in self._spans:
            span.at += seconds
        return seconds

    def correct(self, first_sample: int, end_sample: int, at: float, arrived_at: float) -> None:
        """A report: samples [first, end) played from `at`, and nothing else since the last one.

        A reported stretch is over. What lies behind it goes on when its last frame has arrived.
        """
        later = self._split(end_sample)
        self.truncate(self.reported_end_sample)
        self.reported_end_sample = max(self.reported_end_sample, end_sample)
        unplaced = max(first_sample, self.end_sample)
        started_at = at + (unplaced - first_sample) / self._rate
        if unplaced > first_sample and abs(self.ends_at(started_at) - started_at) <= SAME_TIME:
            started_at = self.ends_at(started_at)
        self.add(started_at, unplaced, end_sample)
        for span in later:
            self.add(max(span.at, arrived_at), 0, span.end_sample)

    def take(self, until: float) -> Span | None:
        """The next samples that play before `until`, or None."""
        if not self._spans or self._spans[0].at >= until:
            return None
        span = self._spans.popleft()
        count = min(span.count, max(1, round((until - span.at) * self._rate)))
        if count < span.count:
            rest = Span(span.at + count / self._rate, span.first_sample + count, span.count - count)
            self._spans.appendleft(rest)
        taken, last = Span(span.at, span.first_sample, count), self._taken
        if last and last.end_sample == taken.first_sample and self._follows(last, taken.at, GAP):
            taken.at, taken.joined = self._end_of(last), True
        self._taken = taken
        return taken

    def is_silent(self, until: float) -> bool:
        """Whether there is silence between the samples that were taken and `until`."""
        return self._taken is not None and until - self._end_of(self._taken) >= GAP

    @property
    def _last(self) -> Span | None:
        return self._spans[-1] if self._spans else self._taken

    def _end_of(self, span: Span) -> float:
        return span.at + span.count / self._rate

    def _follows(self, span: Span, at: float, tolerance: float) -> bool:
        return abs(self._end_of(span) - at) < tolerance

    def _split(self, sample: int) -> list[Span]:
        """The spans from `sample` on; the rest of a span that is cut there may start any time."""
        later = []
        for span in self._spans:
            if span.first_sample >= sample:
                later.append(span)
            elif span.end_sample > sample:
                later.append(Span(float("-inf"), sample, span.end_sample - sample))
        return later
