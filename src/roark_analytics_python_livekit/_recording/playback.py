"""A segment of the agent's speech: its samples, and which of them plays when."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from .frames import Frame, Samples
from .mixer import Resampler, ResamplerFactory

GAP = 0.005  # seconds; a shorter gap between two frames is timing noise, not silence
SAME_TIME = 0.04  # seconds between a report and what was already taken that are left alone


@dataclass
class Span:
    """`count` samples of a segment from `offset` on that play from `at` without a break."""

    at: float
    offset: int
    count: int
    joined: bool = False  # to the one before it

    @property
    def next(self) -> int:
        """The first sample behind it."""
        return self.offset + self.count


class PlaybackSchedule:
    """When the samples of a segment play, as far as they were not taken out yet.

    Args:
        rate: Samples a second.
    """

    def __init__(self, rate: int) -> None:
        self.known = 0  # the sample up to which reports have said what played
        self.spans: deque[Span] = deque()
        self._rate = rate
        self._taken: Span | None = None

    @property
    def next(self) -> int:
        """The first sample that the plan has no place for."""
        last = self._last
        return last.next if last is not None else 0

    def end(self, default: float) -> float:
        """When the last planned or taken sample is over."""
        last = self._last
        return self._end_of(last) if last is not None else default

    def head(self, at: float) -> int:
        """The sample that is the next to play at a moment."""
        for span in self.spans:
            played = round((at - span.at) * self._rate)
            if played < span.count:
                return span.offset + max(0, played)
        return self.next

    def add(self, at: float, begin: int, end: int) -> None:
        """Samples [begin, end) play from `at`, or when what was planned before is over."""
        if end <= begin:
            return
        at = max(at, self.end(at))
        last = self.spans[-1] if self.spans else None
        if last is not None and last.next == begin and self._follows(last, at, 1 / self._rate):
            last.count += end - begin
        else:
            self.spans.append(Span(at, begin, end - begin))

    def truncate(self, offset: int) -> None:
        """Nothing from sample `offset` on plays any more."""
        while self.spans and self.spans[-1].offset >= offset:
            self.spans.pop()
        if self.spans:
            last = self.spans[-1]
            last.count = min(last.count, offset - last.offset)

    def halt(self, at: float) -> None:
        """Nothing plays from `at` on."""
        self.truncate(self.head(at))

    def delay(self, seconds: float) -> float:
        """All of it plays later, by what is returned; too late once some of it was taken."""
        if self._taken is not None or seconds <= 0:
            return 0.0
        for span in self.spans:
            span.at += seconds
        return seconds

    def correct(self, begin: int, end: int, at: float, arrived: float) -> None:
        """It is known that [begin, end) played from `at`, and nothing since what was known.

        A run that is reported is over: if more `arrived` after its end, that is what goes on.
        """
        later = self._split(end)
        self.truncate(self.known)
        self.known = max(self.known, end)
        offset = max(begin, self.next)
        reported = at + (offset - begin) / self._rate
        if offset > begin and abs(self.end(reported) - reported) <= SAME_TIME:
            reported = self.end(reported)
        self.add(reported, offset, end)
        for span in later:
            self.add(max(span.at, arrived), self.next, span.next)

    def take(self, until: float) -> Span | None:
        """The next samples that play before `until`, or None."""
        if not self.spans or self.spans[0].at >= until:
            return None
        span = self.spans.popleft()
        count = min(span.count, max(1, round((until - span.at) * self._rate)))
        if count < span.count:
            rest = span.count - count
            self.spans.appendleft(Span(span.at + count / self._rate, span.offset + count, rest))
        self._taken = self._behind_taken(Span(span.at, span.offset, count))
        return self._taken

    def is_dry(self, until: float) -> bool:
        """Whether there is silence between the samples that were taken and `until`."""
        return self._taken is not None and until - self._end_of(self._taken) >= GAP

    @property
    def _last(self) -> Span | None:
        return self.spans[-1] if self.spans else self._taken

    def _end_of(self, span: Span) -> float:
        return span.at + span.count / self._rate

    def _follows(self, span: Span, at: float, tolerance: float) -> bool:
        return abs(self._end_of(span) - at) < tolerance

    def _behind_taken(self, span: Span) -> Span:
        before = self._taken
        if (
            before is not None
            and before.next == span.offset
            and self._follows(before, span.at, GAP)
        ):
            span.at, span.joined = self._end_of(before), True
        return span

    def _split(self, offset: int) -> list[Span]:
        """The parts of the plan from sample `offset` on; one that goes on there may move."""
        later = []
        for span in self.spans:
            if span.offset >= offset:
                later.append(span)
            elif span.next > offset:
                later.append(Span(float("-inf"), offset, span.next - offset))
        return later


class SegmentAudio:
    """A segment's samples, at one rate, forgotten once taken.

    Args:
        rate: Samples a second; frames of another rate are brought to it.
        make_resampler: Does that.
    """

    def __init__(self, rate: int, make_resampler: ResamplerFactory) -> None:
        self.end = 0
        self._rate = rate
        self._make_resampler = make_resampler
        self._incoming_rate = rate
        self._resampler: Resampler | None = None
        self._start = 0
        self._parts: deque[Samples] = deque()

    def push(self, frame: Frame) -> None:
        """Takes the next frame."""
        if frame.rate != self._incoming_rate:
            self.flush()
            self._incoming_rate = frame.rate
            if frame.rate != self._rate:
                self._resampler = self._make_resampler(frame.rate, self._rate)
        samples = frame.mono()
        self._append(samples if self._resampler is None else self._resampler.push(samples))

    def flush(self) -> None:
        """Takes what a resampler still holds: the segment, or its part at this rate, is over."""
        if self._resampler is not None:
            self._append(self._resampler.flush())
            self._resampler = None
            self._incoming_rate = self._rate

    def take(self, begin: int, end: int) -> Samples:
        """Samples [begin, end); everything before `end` is forgotten."""
        taken: list[Samples] = []
        while self._parts and self._start < end:
            part = self._parts.popleft()
            part_end = self._start + len(part)
            taken.append(part[max(0, begin - self._start) : max(0, end - self._start)])
            if part_end > end:
                self._parts.appendleft(part[end - self._start :])
                self._start = end
            else:
                self._start = part_end
        return np.concatenate(taken) if taken else np.zeros(0, np.int16)

    def _append(self, samples: Samples) -> None:
        self._parts.append(samples)
        self.end += len(samples)
