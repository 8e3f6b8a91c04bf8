"""The agent's channel: its speech segments, one behind the other, as far as they were played."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from .frames import Cleared, Flushed, Frame, Paused, Report, Resumed, SinkTraits, Started
from .mixer import ResamplerFactory, StereoMixer
from .segment import Segment


@dataclass(frozen=True)
class Played:
    """A segment as it was played: when its first sample began and its last one ended."""

    start: float
    end: float


class AgentTrack:
    """Places the agent's frames in the mixer's right channel.

    Frames come faster than they are played. Each segment simulates its playback (a frame plays
    when it has arrived and the one before it is over), corrected by what the sink reports: where
    it started, what it played, where it stopped. What was captured but never played is left out.
    """

    def __init__(self, traits: SinkTraits, make_resampler: ResamplerFactory) -> None:
        self.traits = traits
        self._make_resampler = make_resampler
        self._segments: deque[Segment] = deque()
        self._played: list[Played] = []
        self._paused = False
        self._cuts_afresh = True  # the sink's next frames are its first ones, or follow a clear
        self._early: Started | None = None  # reported before the frame it is about was taken

    def push(self, frame: Frame) -> None:
        if not self._segments or not self._segments[-1].is_open:
            self._begin_segment(frame)
        segment = self._segments[-1]
        segment.push(frame)
        if self._early is not None:
            if segment is self._playing():
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
            if playing.is_finished:
                self._make_way(playing)

    def take_played(self) -> list[Played]:
        """The segments that ended since this was last asked, in the order they were played."""
        played, self._played = self._played, []
        return played

    def settled_until(self, now: float) -> float:
        """Up to when this channel can no longer change."""
        playing = self._playing()
        return now if playing is None else playing.settled_until(now)

    def place(self, mixer: StereoMixer, until: float) -> None:
        """Moves what was played before `until` into the mixer."""
        for segment in self._segments:
            segment.place(mixer, until)
        while self._segments and self._segments[0].is_done:
            self._segments.popleft().audio.end_run()

    def close(self, now: float) -> None:
        """The call is over: what has not been played never will be."""
        while (playing := self._playing()) is not None:
            playing.stop(now)
            self._make_way(playing)

    def _playing(self) -> Segment | None:
        return next((segment for segment in self._segments if not segment.is_finished), None)

    def _begin_segment(self, frame: Frame) -> None:
        while (playing := self._playing()) is not None and playing.is_overdue(frame.at):
            playing.stop(frame.at)
            self._make_way(playing)
        first_frames = self.traits.first_frames_seconds if self._cuts_afresh else ()
        self._cuts_afresh = False
        traits = replace(self.traits, first_frames_seconds=first_frames)
        segment = Segment(frame, traits, self._make_resampler)
        free_at = self._segments[-1].stopped_at if self._segments else float("-inf")
        self._segments.append(segment)
        if playing is None:
            segment.begin(free_at, paused=self._paused)

    def _cut_finished(self, at: float) -> None:
        """The sink drops all it holds. It may have reported an end that still sounds."""
        for segment in self._segments:
            if segment.is_finished:
                segment.cut(at)

    def _make_way(self, finished: Segment) -> None:
        if finished.was_heard:
            self._played.append(Played(finished.started_at, finished.stopped_at))
        if (following := self._playing()) is not None:
            following.begin(finished.stopped_at, paused=self._paused)
