"""One segment of the agent's speech: what the sink's reports say of when its samples play."""

from __future__ import annotations

from enum import Enum, auto

from . import frames
from .frames import Frame, SinkTraits
from .mixer import ResamplerFactory, StereoMixer
from .playback import PlaybackSchedule
from .segment_audio import FrameCuts, SegmentAudio

SETTLING = 0.75  # seconds after which a simulated playback is believed without a report
PATIENCE = 30.0  # seconds that audio is held back for a report that says where it belongs
OVERDUE = 5.0  # seconds that a "finished" may be late when the next segment begins
LEEWAY = 0.1  # seconds that a sink may play on after it was told to stop


class State(Enum):
    """What the sink does with the segment."""

    WAITING = auto()  # it plays the segment before this one
    PLAYING = auto()
    PAUSED = auto()
    CLEARED = auto()  # stopped for good; a report will say how far it came
    FINISHED = auto()


# By name: a member looked up in its class takes 0.1 us, and these are asked of each frame.
PLAYING, PAUSED, FINISHED = State.PLAYING, State.PAUSED, State.FINISHED


class Segment:
    """One stretch of speech, from the first frame to the sink's "finished".

    The first frame still has to be pushed.
    """

    def __init__(self, first: Frame, traits: SinkTraits, make_resampler: ResamplerFactory) -> None:
        self.started_at = self.stopped_at = first.at  # stopped: once it is finished
        self._traits = traits
        self._rate = first.rate
        self._queue = round(traits.queue_seconds * first.rate)  # samples a pause throws away
        self._cuts = FrameCuts.of(traits, first.rate)
        self.audio = SegmentAudio(first, self._cuts, make_resampler)
        self._schedule = PlaybackSchedule(first.rate)
        self._state = State.WAITING
        self._free_at = first.at  # when the segment before it was over
        self._start_known = False  # from a report, or because the sink gives none
        self._awaited_since: float | None = None  # a report is due about what played after this
        self._plays_from = 0  # the first sample that may play from now on
        self._skip: int | None = None  # samples dropped at the resume; None: the pause holds none
        self._has_skipped = False

    @property
    def is_open(self) -> bool:
        """Whether more frames belong to it."""
        return not (self.audio.is_complete or self._state is FINISHED)

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will be said of it."""
        return self._state is FINISHED

    @property
    def is_done(self) -> bool:
        """Whether it is finished, and everything it played was placed."""
        return self.is_finished and self._schedule.is_empty

    @property
    def was_heard(self) -> bool:
        """Whether a sample of it was played, or will be."""
        return self._schedule.end_sample > 0

    def is_overdue(self, now: float) -> bool:
        """Whether its "finished" must have been lost."""
        waits = self._state is PAUSED or self.is_open
        return not waits and now - self._schedule.ends_at(self.audio.first_at) > OVERDUE

    def begin(self, free_at: float, *, paused: bool) -> None:
        """The sink has nothing else to play from `free_at` on."""
        self._state = PLAYING
        self._free_at = free_at
        self._start_known = not (self._traits.reports_start or self._traits.plays_elsewhere)
        self._play_from(0, self.audio.first_at)
        if paused:
            self._on_paused(self.started_at)

    def push(self, frame: Frame) -> None:
        before = self.audio.playable_end_sample
        self.audio.push(frame)
        self._extend(frame.at, before)

    def flush(self, at: float) -> None:
        before = self.audio.playable_end_sample
        self.audio.flush(at)
        self._extend(at, before)

    def report(self, report: frames.Report) -> None:
        """Takes what the sink, or a command to it, says of this segment."""
        match report:
            case frames.Started(at):
                self._on_started(at)
            case frames.Progressed():
                self._on_progressed(report)
            case frames.Paused(at):
                self._on_paused(at)
            case frames.Resumed(at):
                self._on_resumed(at)
            case frames.Cleared(at):
                self._schedule.stop(at)
                self._state = State.CLEARED
                self._await_report(at)
            case frames.Finished():
                self._on_finished(report)

    def cut(self, at: float) -> None:
        """What is finished and still sounds does so until `at`."""
        self._schedule.stop(at)

    def stop(self, now: float) -> None:
        self._schedule.stop(now)
        self._finish(now)

    def settled_until(self, now: float) -> float:
        """Up to when it can no longer change."""
        if not self._start_known:
            return max(self.started_at, now - PATIENCE)
        if self._awaited_since is not None and now - self._awaited_since < PATIENCE:
            return min(self._awaited_since, now - SETTLING)
        return now - SETTLING

    def place(self, mixer: StereoMixer, until: float) -> None:
        """Moves what was played before `until` into the mixer."""
        while (span := self._schedule.take(until)) is not None:
            self.audio.place(span, mixer)
        if self._schedule.is_silent(until):
            self.audio.end_run()

    # What the sink says

    def _on_started(self, at: float) -> None:
        if self._traits.plays_elsewhere:
            return
        if self._start_known:
            self._on_resumed(at)
        else:
            self._start_known = True
            self._state, self._has_skipped = PLAYING, False
            self._play_from(0, at)

    def _on_progressed(self, report: frames.Progressed) -> None:
        first = round(report.offset * self._rate)
        end = min(round((report.offset + report.duration) * self._rate), self.audio.end_sample)
        if not self._start_known:
            self._start_known = True
            self.started_at = report.at
        self._awaited_since = None
        self._schedule.correct(first, end, report.at, self.audio.arrived_at)
        self._plays_from = end
        if self._state is not PLAYING:
            self._schedule.truncate(self._schedule.reported_end_sample)

    def _on_paused(self, at: float) -> None:
        if self._state is not PLAYING:
            return
        self._state = PAUSED
        self._skip = None
        if self._traits.reports_progress:
            self._await_report(at)
        if self.audio.playable_end_sample - self._frame_end(at) > self._queue:
            self._hold(at, self.audio.playable_end_sample)

    def _on_resumed(self, at: float) -> None:
        if self._state is not PAUSED:
            return
        self._state = PLAYING
        stands_still = self._schedule.ends_at(at) <= at  # else the last frame still plays on
        skip = self._skip if self._skip and stands_still else 0
        self._play_from(self._schedule.end_sample + skip, at)
        if self._traits.reports_progress and self._queue:
            self._await_report(at)

    def _on_finished(self, report: frames.Finished) -> None:
        end = self.audio.end_sample
        if report.interrupted:
            end = min(end, self._stopped_sample(report))
        if self._schedule.reported_end_sample:
            self._schedule.truncate(self._schedule.reported_end_sample)
        elif self._start_known and self._schedule.end_sample:
            self._schedule.play_to(end, self.audio.first_at)
        else:
            self._place_by_its_end(end, report)
        self._finish(report.at)

    def _await_report(self, since: float) -> None:
        self._awaited_since = since if self._awaited_since is None else self._awaited_since

    # Where it stops

    def _frame_end(self, at: float) -> int:
        """The sample up to which the sink plays on when it is paused."""
        return self._cuts.stop(self._schedule.sample_at(at - self._cuts.resume_seconds))

    def _hold(self, at: float, captured: int) -> None:
        """Playback stops, and the sink throws away what it has queued of `captured` samples."""
        head = self._schedule.sample_at(at)
        if captured - head > self._queue:
            head = self._frame_end(at)
        self._skip = max(0, min(captured - head, self._queue))
        self._has_skipped = self._has_skipped or self._skip > 0
        self._schedule.truncate(head)

    def _stopped_sample(self, report: frames.Finished) -> int:
        """The sample at which an interruption stopped playback."""
        said, simulated = round(report.position * self._rate), self._schedule.end_sample
        if self._state is not State.CLEARED or not self._start_known:
            return said
        # Some sinks count audio that a pause threw away, or silence between late frames.
        return simulated if self._has_skipped or said > simulated + LEEWAY * self._rate else said

    def _place_by_its_end(self, end_sample: int, report: frames.Finished) -> None:
        """Plays up to `end_sample`, and moves the whole to when that must have been over."""
        stopped_at = self._schedule.ends_at(report.at)
        self._schedule.play_to(end_sample, self.audio.first_at)
        simulated = self._schedule.ends_at(report.at)
        if not report.interrupted or self._traits.plays_elsewhere:
            stopped_at = report.at
            if end_sample >= self.audio.end_sample:  # the sink must have known of the end
                simulated = max(simulated, self.audio.flushed_at)
        self.started_at += self._schedule.delay(stopped_at - simulated)
        self._schedule.stop(report.at)

    def _finish(self, at: float) -> None:
        self._state = FINISHED
        self._awaited_since = None
        self.stopped_at = self._schedule.ends_at(at)

    # The schedule

    def _play_from(self, first_sample: int, at: float) -> None:
        """Everything captured from `first_sample` on plays from `at`."""
        self._schedule.truncate(first_sample)
        if first_sample == 0:
            self.started_at = at = max(at, self._free_at)
        self._plays_from = first_sample
        self._add(at)

    def _extend(self, at: float, before: int) -> None:
        """There is more to play than the `before` samples that there were."""
        if self._state is PLAYING:
            self._add(at)
        elif self._state is PAUSED and self._skip is None:
            if self.audio.playable_end_sample > before:
                self._hold(at, before)

    def _add(self, at: float) -> None:
        """What is new plays when it is there and what comes before it is over."""
        if at < self.started_at:
            at = self.started_at
        self._schedule.add(at, self._plays_from, self.audio.playable_end_sample)
