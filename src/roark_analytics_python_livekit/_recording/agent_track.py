"""The agent's channel: bursts of TTS frames placed where they were played, as far as they were."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum, auto

from .frames import (
    Cleared,
    Finished,
    Flushed,
    Frame,
    Paused,
    Progressed,
    Report,
    Resumed,
    SinkTraits,
    Started,
)
from .mixer import AGENT, ResamplerFactory, Run, StereoMixer
from .playback import PlaybackSchedule, SegmentAudio, Span

SETTLING = 0.75  # seconds after which a simulated play head is believed without a report
PATIENCE = 30.0  # seconds that audio is held back for a report that says where it belongs
OVERDUE = 5.0  # seconds that a "finished" may be late when the next segment begins
LEEWAY = 0.1  # seconds that a sink may play on once it was told to stop
WAKING = 0.002  # seconds that RoomIO takes to go on with its next frame
ROOM_FRAME = 0.05  # seconds; RoomIO cuts the audio into such frames, and pauses between two


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
        self._paused = False
        self._cuts_afresh = True  # the sink's next frames are its first ones, or follow a clear
        self._early: Started | None = None  # said before the frame it is about was taken

    def push(self, frame: Frame) -> None:
        """Takes a frame that the sink has accepted."""
        if not self._segments or self._segments[-1].flushed:
            self._begin_segment(frame)
        segment = self._segments[-1]
        segment.push(frame)
        if self._early is not None and segment is self._playing():
            segment.report(self._early)
        self._early = None

    def report(self, report: Report) -> None:
        """Takes what the sink, or a command to it, says of the segment being played."""
        if isinstance(report, (Paused, Resumed)):
            self._paused = isinstance(report, Paused)
        playing = self._playing()
        if isinstance(report, Cleared):
            self._cuts_afresh = True
            if playing is not None:
                self._cut_finished(report.at)
        if isinstance(report, Flushed):
            if self._segments:
                self._segments[-1].flush(report.at)
        elif playing is None:
            self._early = report if isinstance(report, Started) else None
        else:
            playing.report(report)
            if playing.finished:
                self._make_way(playing)

    def take_played(self) -> list[Played]:
        """The segments that ended since this was last asked, in the order they were played."""
        played, self._played = self._played, []
        return played

    def settled(self, now: float) -> float:
        """Up to when this channel can no longer change."""
        playing = self._playing()
        return now if playing is None else playing.settled(now)

    def place(self, mixer: StereoMixer, origin: float, until: float) -> None:
        """Moves what was played before `until` into the mixer; `origin` is its sample 0's time."""
        for segment in self._segments:
            segment.place(mixer, origin, until)
        while self._segments and self._segments[0].is_done:
            self._segments.popleft().close()

    def limit(self) -> int | None:
        """The sample up to which an open run has come out of its resampler."""
        return min((s.placed_end for s in self._segments if s.placed_end is not None), default=None)

    def end(self, now: float) -> None:
        """The call is over: what has not been played never will be."""
        while (playing := self._playing()) is not None:
            playing.stop(now)
            self._make_way(playing)

    def _playing(self) -> _Segment | None:
        return next((segment for segment in self._segments if not segment.finished), None)

    def _begin_segment(self, frame: Frame) -> None:
        while (playing := self._playing()) is not None and playing.is_overdue(frame.at):
            playing.stop(frame.at)
            self._make_way(playing)
        traits = self.traits if self._cuts_afresh else replace(self.traits, first_frames=0.0)
        self._cuts_afresh = False
        segment = _Segment(frame, traits, self._make_resampler)
        free_at = self._segments[-1].stopped_at if self._segments else float("-inf")
        self._segments.append(segment)
        if playing is None:
            segment.begin(free_at, paused=self._paused)

    def _cut_finished(self, at: float) -> None:
        """The sink drops all it holds; before 1.6 RoomIO says it is over while its end sounds."""
        for segment in self._segments:
            if segment.finished:
                segment.cut(at)

    def _make_way(self, finished: _Segment) -> None:
        if finished.was_heard:
            self._played.append(Played(finished.start, finished.stopped_at))
        following = self._playing()
        if following is not None:
            following.begin(finished.stopped_at, paused=self._paused)


class _State(Enum):
    WAITING = auto()  # for the segment before it
    PLAYING = auto()
    PAUSED = auto()
    CLEARED = auto()  # stopped for good; a report will say how far it came
    FINISHED = auto()


class _Segment:
    """One stretch of speech between the first frame and the sink's "finished"."""

    def __init__(self, first: Frame, traits: SinkTraits, make_resampler: ResamplerFactory) -> None:
        self.flushed = False
        self.start = first.at  # when its first sample is played
        self.stopped_at = first.at
        self._rate = first.rate
        self._traits = traits
        self._queue = round(traits.drops_on_pause * self._rate)  # samples; RoomIO has one
        in_frames = self._queue and not traits.reports_progress
        self._frame = round(ROOM_FRAME * self._rate) if in_frames else 1
        self._first_frames = round(traits.first_frames * self._rate) if in_frames else 0
        self._make_resampler = make_resampler
        self._state = _State.WAITING
        self._first_at = first.at
        self._free_at = first.at  # when the segment before it was over
        self._arrived_at = first.at  # the last frame
        self._flushed_at = first.at
        self._audio = SegmentAudio(first.rate, make_resampler)
        self._plan = PlaybackSchedule(first.rate)
        self._start_known = False  # and not only when the first frame had arrived
        self._held_at: float | None = None  # a report is due that says what was played after this
        self._skip: int | None = None  # samples that a pause throws away; None: it plays on
        self._skipped = False
        self._plays_from = 0  # the first sample that may play from now on
        self._run: Run | None = None

    @property
    def finished(self) -> bool:
        return self._state is _State.FINISHED

    @property
    def is_done(self) -> bool:
        return self.finished and not self._plan.spans

    @property
    def was_heard(self) -> bool:
        return self._plan.next > 0

    @property
    def placed_end(self) -> int | None:
        return self._run.end if self._run is not None else None

    def is_overdue(self, now: float) -> bool:
        """Whether its "finished" must have been lost."""
        waits = self._state is _State.PAUSED or not self.flushed
        return not waits and now - self._plan.end(self._first_at) > OVERDUE

    def begin(self, free_at: float, *, paused: bool) -> None:
        """The sink has nothing else to play from `free_at` on."""
        self._state = _State.PLAYING
        self._free_at = free_at
        self._start_known = not (self._traits.reports_start or self._traits.plays_elsewhere)
        self._play_from(0, self._first_at)
        if paused:
            self._on_paused(self.start)

    def push(self, frame: Frame) -> None:
        before = self._playable
        self._arrived_at = frame.at
        self._audio.push(frame)
        self._extend(frame.at, before)

    def flush(self, at: float) -> None:
        before = self._playable
        self.flushed = True
        self._flushed_at = at
        self._audio.flush()
        self._extend(at, before)

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
            self._on_cleared(report.at)
        elif isinstance(report, Finished):
            self._on_finished(report)

    def cut(self, at: float) -> None:
        """What is finished and still sounds does so until `at`."""
        self._plan.halt(at)
        self.stopped_at = min(self.stopped_at, at)

    def stop(self, now: float) -> None:
        """Ends the segment without a report."""
        self._plan.halt(now)
        self._finish(now)

    def settled(self, now: float) -> float:
        if not self._start_known:
            return max(self.start, now - PATIENCE)
        if self._held_at is not None and now - self._held_at < PATIENCE:
            return min(self._held_at, now - SETTLING)
        return now - SETTLING

    def place(self, mixer: StereoMixer, origin: float, until: float) -> None:
        while (span := self._plan.take(until)) is not None:
            self._write(span, mixer, origin)
        if self._plan.is_dry(until):
            self.close()

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None

    # What the sink says

    def _on_started(self, at: float) -> None:
        if self._traits.plays_elsewhere:
            return
        if self._start_known:
            self._on_resumed(at)
        else:
            self._start_known = True
            self._state, self._skipped = _State.PLAYING, False
            self._play_from(0, at)

    def _on_progressed(self, report: Progressed) -> None:
        begin = round(report.offset * self._rate)
        end = min(round((report.offset + report.duration) * self._rate), self._audio.end)
        if not self._start_known:
            self._start_known = True
            self.start = report.at
        self._held_at = None
        self._plan.correct(begin, end, report.at, self._arrived_at)
        self._plays_from = end
        if self._state is not _State.PLAYING:
            self._plan.truncate(self._plan.known)

    def _on_paused(self, at: float) -> None:
        if self._state is not _State.PLAYING:
            return
        self._state = _State.PAUSED
        self._skip = None
        if self._traits.reports_progress:
            self._await_report(at)
        if self._playable - self._frame_end(at) > self._queue:
            self._hold(at, self._playable)

    def _hold(self, at: float, captured: int) -> None:
        """The play head stops, and the sink throws away what it has queued of `captured`."""
        head = self._plan.head(at)
        if captured - head > self._queue:
            head = self._frame_end(at)
        self._skip = max(0, min(captured - head, self._queue))
        self._skipped = self._skipped or self._skip > 0
        self._plan.truncate(head)

    def _frame_end(self, at: float) -> int:
        """The sample up to which the sink plays on when it is paused."""
        if self._frame == 1:
            return self._plan.head(at)
        begun = self._plan.head(at - WAKING) - self._first_frames
        return math.ceil(begun / self._frame) * self._frame + self._first_frames

    def _on_resumed(self, at: float) -> None:
        if self._state is not _State.PAUSED:
            return
        self._state = _State.PLAYING
        stopped = self._plan.end(at) <= at  # else the frame that was to be the last goes on
        self._play_from(self._plan.next + (self._skip or 0 if stopped else 0), at)
        if self._traits.reports_progress and self._queue:
            self._await_report(at)

    def _on_cleared(self, at: float) -> None:
        self._plan.halt(at)
        self._state = _State.CLEARED
        self._await_report(at)

    def _await_report(self, since: float) -> None:
        self._held_at = since if self._held_at is None else self._held_at

    def _on_finished(self, report: Finished) -> None:
        end = self._position_of(report) if report.interrupted else self._audio.end
        if self._plan.known:
            self._plan.truncate(self._plan.known)
        elif self._start_known and self._plan.next:
            self._play_to(end)
        else:
            self._play_until(end, report)
        self._finish(report.at)

    def _position_of(self, report: Finished) -> int:
        """The sample at which an interruption stopped the play head."""
        said, simulated = round(report.position * self._rate), self._plan.next
        if self._state is not _State.CLEARED or not self._start_known:
            return said
        # Some sinks count audio that a pause threw away, or silence between late frames.
        return simulated if self._skipped or said > simulated + LEEWAY * self._rate else said

    def _play_until(self, end: int, report: Finished) -> None:
        """The plan gets as far as sample `end`, and is moved to when that must have played."""
        halted = self._plan.end(report.at)
        self._play_to(end)
        simulated = self._plan.end(report.at)
        if report.interrupted and not self._traits.plays_elsewhere:
            over = halted
        else:
            over = report.at
            if end >= self._audio.end:  # the sink cannot say so before it is told of the end
                simulated = max(simulated, self._flushed_at)
        self.start += self._plan.delay(over - simulated)
        self._plan.halt(report.at)

    def _play_to(self, end: int) -> None:
        """The plan gets as far as sample `end`."""
        end = min(end, self._audio.end)
        self._plan.truncate(end)
        self._plan.add(self._plan.end(self._first_at), self._plan.next, end)

    def _finish(self, at: float) -> None:
        self._state = _State.FINISHED
        self.flushed = True
        self._held_at = None
        self.stopped_at = self._plan.end(at)

    # The plan

    @property
    def _playable(self) -> int:
        """The sample up to which the audio can be played: RoomIO waits for a whole frame."""
        captured, first = self._audio.end, self._first_frames // 3
        if self.flushed:
            return captured
        if captured < self._first_frames:
            return first if captured >= first else 0
        rest = captured - self._first_frames
        return self._first_frames + rest // self._frame * self._frame

    def _play_from(self, offset: int, at: float) -> None:
        """Everything captured from `offset` on plays from `at`."""
        self._plan.truncate(offset)
        if offset == 0:
            self.start = at = max(at, self._free_at)
        self._plays_from = offset
        self._add(at)

    def _extend(self, at: float, before: int) -> None:
        """There is more to play than the `before` samples that there were."""
        if self._state is _State.PLAYING:
            self._add(at)
        elif self._state is _State.PAUSED and self._skip is None and self._playable > before:
            self._hold(at, before)

    def _add(self, at: float) -> None:
        """What is new plays when it is there and what comes before it is over."""
        begin = max(self._plays_from, self._plan.next)
        self._plan.add(max(at, self.start), begin, self._playable)

    def _write(self, span: Span, mixer: StereoMixer, origin: float) -> None:
        if self._run is None or not span.joined:
            self.close()
            position = max(round((span.at - origin) * mixer.rate), mixer.end(AGENT))
            self._run = Run(mixer, AGENT, position, self._rate, self._make_resampler)
        self._run.push(self._audio.take(span.offset, span.next))
