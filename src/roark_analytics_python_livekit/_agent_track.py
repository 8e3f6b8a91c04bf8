"""The agent's channel: bursts of TTS frames placed where they were played, as far as they were."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ._audio_items import (
    Cleared,
    Finished,
    Flushed,
    Frame,
    Paused,
    Progressed,
    Report,
    Resumed,
    Samples,
    SinkTraits,
    Started,
)
from ._mixer import AGENT, ResamplerFactory, Run, StereoMixer

SETTLING = 0.75  # seconds after which a simulated play head is believed without a report
PATIENCE = 30.0  # seconds that audio is held back for a report that says where it belongs
SAME_TIME = 0.04  # seconds between a report and what was already written that are left alone


@dataclass(frozen=True)
class Played:
    """A segment of the agent's speech, from its first to its last sample that was played."""

    start: float
    end: float


class AgentTrack:
    """Places the agent's frames in the mixer's right channel.

    Frames come faster than they are played. Each segment simulates its play head (a frame plays
    when it has arrived and the one before it is over), corrected by what the sink reports: where
    it started, what it played, where it stopped. What was captured but never played is left out.

    Args:
        traits: What the sink's reports are worth.
        make_resampler: Used where a frame's rate is not the recording's.
    """

    def __init__(self, traits: SinkTraits, make_resampler: ResamplerFactory) -> None:
        self.traits = traits
        self._make_resampler = make_resampler
        self._segments: deque[_Segment] = deque()
        self._played: list[Played] = []
        self._early: Started | None = None  # said before the frame it is about was taken

    def push(self, frame: Frame) -> None:
        """Takes a frame that the sink has accepted."""
        samples = frame.mono()
        if not self._segments or self._segments[-1].flushed:
            self._begin_segment(frame)
        if frame.rate == self._segments[-1].rate:
            self._segments[-1].push(frame.at, samples)

    def report(self, report: Report) -> None:
        """Takes what the sink, or a command to it, says of the segment being played."""
        playing = next((s for s in self._segments if not s.finished), None)
        if isinstance(report, Flushed):
            if self._segments:
                self._segments[-1].flushed = True
        elif playing is not None:
            playing.report(report)
            if isinstance(report, Finished):
                self._note_played(playing)
        elif isinstance(report, Started):
            self._early = report

    def take_played(self) -> list[Played]:
        """The segments that ended since this was last asked, in the order they were played."""
        played, self._played = self._played, []
        return played

    def settled(self, now: float) -> float:
        """Up to when this channel can no longer change."""
        return min((s.settled(now) for s in self._segments), default=now)

    def place(self, mixer: StereoMixer, origin: float, until: float) -> None:
        """Moves what was played before `until` into the mixer; `origin` is its sample 0's time."""
        for segment in self._segments:
            segment.place(mixer, origin, until, self._make_resampler)
        while self._segments and self._segments[0].is_done:
            self._segments.popleft().close()

    def limit(self) -> int | None:
        """The sample up to which an open run has come out of its resampler."""
        return self._segments[0].placed_end if self._segments else None

    def end(self, now: float) -> None:
        """The call is over: what has not been played never will be."""
        for segment in self._segments:
            if not segment.finished:
                segment.stop(now)
                self._note_played(segment)

    def _begin_segment(self, frame: Frame) -> None:
        segment = _Segment(frame.at, frame.rate, self.traits)
        if self._early is not None and not self._segments_playing():
            segment.report(self._early)
        self._early = None
        self._segments.append(segment)

    def _segments_playing(self) -> bool:
        return any(not segment.finished for segment in self._segments)

    def _note_played(self, segment: _Segment) -> None:
        if segment.start is not None:
            self._played.append(Played(segment.start, segment.stopped_at))


@dataclass
class _Span:
    """`count` samples of a segment from `offset` on that play from `at` without a break."""

    at: float
    offset: int
    count: int


class _Segment:
    """One stretch of speech between the first frame and the sink's "finished"."""

    def __init__(self, at: float, rate: int, traits: SinkTraits) -> None:
        self.rate = rate
        self.flushed = False
        self.finished = False
        self.start: float | None = None
        self.stopped_at = at
        self._traits = traits
        self._began_at = at
        self._audio = _Audio()
        self._plan: deque[_Span] = deque()
        self._playing = False
        self._dropped = False  # a pause has thrown audio away
        self._held_at: float | None = None  # a report is due that says what was played after this
        self._written: _Span | None = None  # the last stretch that went to the mixer
        self._reported_to = 0  # samples of the segment that reports have placed
        self._run: Run | None = None
        if traits.plays_elsewhere:
            self._playing = True  # in an order that is known now, at a time that is known later
        elif not traits.reports_start:
            self._play_from(0, at)

    @property
    def is_done(self) -> bool:
        return self.finished and not self._plan

    @property
    def placed_end(self) -> int | None:
        return self._run.end if self._run is not None else None

    def push(self, at: float, samples: Samples) -> None:
        offset = self._audio.end
        self._audio.append(samples)
        if self._playing:
            self._extend(at, offset, len(samples))

    def report(self, report: Report) -> None:
        if isinstance(report, Started):
            self._on_started(report.at)
        elif isinstance(report, Progressed):
            self._on_progressed(report)
        elif isinstance(report, Paused):
            self._on_paused(report.at)
        elif isinstance(report, Resumed):
            self._on_resumed(report.at)
        elif isinstance(report, Cleared):
            self._halt(report.at)
        elif isinstance(report, Finished):
            self._on_finished(report)

    def stop(self, now: float) -> None:
        """Ends the segment without a report."""
        self._halt(now)
        self._close_plan(now)

    def settled(self, now: float) -> float:
        if self.finished:
            return now
        if self.start is None:
            return self._began_at if now - self._began_at < PATIENCE else now - PATIENCE
        if self._held_at is not None and now - self._held_at < PATIENCE:
            return min(self._held_at, now - SETTLING)
        return now - SETTLING

    def place(
        self, mixer: StereoMixer, origin: float, until: float, make_resampler: ResamplerFactory
    ) -> None:
        while self._plan and self._plan[0].at < until:
            span = self._plan[0]
            count = min(span.count, max(1, round((until - span.at) * self.rate)))
            self._write(_Span(span.at, span.offset, count), mixer, origin, make_resampler)
            if count == span.count:
                self._plan.popleft()
            else:
                span.at += count / self.rate
                span.offset += count
                span.count -= count

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None

    # What the sink says

    def _on_started(self, at: float) -> None:
        if self._traits.plays_elsewhere:
            return
        if self.start is None:
            self._play_from(0, at)
        elif not self._playing:
            self._on_resumed(at)

    def _on_progressed(self, report: Progressed) -> None:
        begin = round(report.offset * self.rate)
        end = min(round((report.offset + report.duration) * self.rate), self._audio.end)
        self._held_at = None
        self._reported_to = end
        later = self._planned_from(end)
        self._truncate(begin)
        self._add(self._report_time(begin, report.at), max(begin, self._next), end)
        for span in later:
            self._add(self._after_plan(span.at), span.offset, span.offset + span.count)

    def _on_paused(self, at: float) -> None:
        if self._playing:
            self._halt(self._effect_of_pause(at))
            self._dropped = self._dropped or self._traits.drops_on_pause > 0
            if not self._traits.reports_progress:
                self._held_at = None

    def _on_resumed(self, at: float) -> None:
        if self._playing or self.start is None:
            return
        dropped = round(self._traits.drops_on_pause * self.rate)
        begin = min(self._next + dropped, self._audio.end)
        self._play_from(begin, at)
        if self._traits.reports_progress:
            self._held_at = at

    def _on_finished(self, report: Finished) -> None:
        played = min(round(report.position * self.rate), self._audio.end)
        if self._reported_to:
            self._truncate(self._reported_to)
        elif self._traits.plays_elsewhere:
            self._truncate(played)
            self._add(self._plan_end(report.at), self._next, played)
            self._shift_plan(report.at - self._plan_end(report.at))
        elif self.start is None:
            self._play_from(0, report.at - report.position)
            self._truncate(played)
        elif report.interrupted and self._dropped:
            pass  # the position may count what was thrown away: the play head knows better
        elif report.interrupted:
            self._truncate(played)
            self._add(self._plan_end(report.at), self._next, played)
        else:
            self._add(self._plan_end(report.at), self._next, self._audio.end)
        self._close_plan(report.at)

    def _close_plan(self, at: float) -> None:
        if self.start is None and self._plan:
            self.start = self._plan[0].at
        self.finished = True
        self.flushed = True
        self._playing = False
        self._held_at = None
        self.stopped_at = self._plan_end(at)

    # The plan: what plays when, as far as it is not written

    @property
    def _next(self) -> int:
        """The first sample that the plan has no place for."""
        if self._plan:
            return self._plan[-1].offset + self._plan[-1].count
        return self._written.offset + self._written.count if self._written else 0

    def _plan_end(self, default: float) -> float:
        """When the last planned or written sample is over."""
        last = self._plan[-1] if self._plan else self._written
        return default if last is None else last.at + last.count / self.rate

    def _planned_from(self, offset: int) -> list[_Span]:
        """The plan's spans from sample `offset` on."""
        spans = []
        for span in self._plan:
            skipped = max(0, offset - span.offset)
            if skipped < span.count:
                at = span.at + skipped / self.rate
                spans.append(_Span(at, span.offset + skipped, span.count - skipped))
        return spans

    def _after_plan(self, at: float) -> float:
        """`at`, or the end of the plan where that is later or about the same."""
        end = self._plan_end(at)
        return at if at - end > SAME_TIME else end

    def _shift_plan(self, seconds: float) -> None:
        """The whole plan is later by that, as far as nothing of it is written yet."""
        if self._written is None:
            for span in self._plan:
                span.at += seconds

    def _play_from(self, offset: int, at: float) -> None:
        """Everything captured from `offset` on plays from `at`."""
        self._playing = True
        if self.start is None:
            self.start = at
        self._truncate(offset)
        self._add(at, offset, self._audio.end)

    def _extend(self, arrived: float, offset: int, count: int) -> None:
        """A new frame plays when it is there and what comes before it is over."""
        self._add(max(arrived, self._plan_end(arrived)), offset, offset + count)

    def _add(self, at: float, begin: int, end: int) -> None:
        if end <= begin:
            return
        last = self._plan[-1] if self._plan else None
        if (
            last is not None
            and last.offset + last.count == begin
            and abs(last.at + last.count / self.rate - at) * self.rate < 1
        ):
            last.count += end - begin
        else:
            self._plan.append(_Span(at, begin, end - begin))

    def _truncate(self, offset: int) -> None:
        """Nothing from `offset` on is planned any more."""
        while self._plan and self._plan[-1].offset >= offset:
            self._plan.pop()
        if self._plan:
            last = self._plan[-1]
            last.count = min(last.count, offset - last.offset)

    def _halt(self, at: float) -> None:
        """The play head stops at `at`; how far it came is said by a report."""
        self._playing = False
        self._held_at = at
        while self._plan and self._plan[-1].at >= at:
            self._plan.pop()
        if self._plan:
            last = self._plan[-1]
            last.count = min(last.count, round((at - last.at) * self.rate))

    def _effect_of_pause(self, at: float) -> float:
        """When the play head really stops that is told to pause at `at`."""
        step = round(self._traits.pause_step * self.rate)
        for span in self._plan:
            passed = round((at - span.at) * self.rate)
            if step and 0 <= passed < span.count:
                phase = round(self._traits.pause_phase * self.rate)
                return at + (phase - span.offset - passed) % step / self.rate
        return at

    def _report_time(self, begin: int, at: float) -> float:
        """When the first sample that a report can still place is played."""
        offset = max(begin, self._next)
        reported = at + (offset - begin) / self.rate
        if self.start is None:
            self.start = at
        simulated = self._plan_end(reported)
        same = offset > begin and abs(simulated - reported) <= SAME_TIME
        return simulated if same else max(reported, simulated)

    # Writing

    def _write(
        self, span: _Span, mixer: StereoMixer, origin: float, make_resampler: ResamplerFactory
    ) -> None:
        if self._run is None or not self._follows_written(span):
            self.close()
            position = max(round((span.at - origin) * mixer.rate), mixer.end(AGENT))
            self._run = Run(mixer, AGENT, position, self.rate, make_resampler)
        self._run.push(self._audio.take(span.offset, span.offset + span.count))
        self._written = span

    def _follows_written(self, span: _Span) -> bool:
        before = self._written
        return (
            before is not None
            and before.offset + before.count == span.offset
            and abs(before.at + before.count / self.rate - span.at) < SAME_TIME / 4
        )


class _Audio:
    """A segment's samples, forgotten once taken."""

    def __init__(self) -> None:
        self.end = 0
        self._start = 0
        self._parts: deque[Samples] = deque()

    def append(self, samples: Samples) -> None:
        self._parts.append(samples)
        self.end += len(samples)

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
