"""Fake sinks that know what really sounded when, and say of it what each version's sinks say.

They keep a clock that is moved by hand. Every method returns what a tap would have noted by then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from roark_analytics_python_livekit._recording.frames import (
    AgentFrame,
    Cleared,
    Finished,
    Flushed,
    Paused,
    Progressed,
    Report,
    Resumed,
    SinkTraits,
    Started,
)
from tests.support.signals import Times, numbered

Noted = AgentFrame | Report
Part = tuple[int, int]  # the first sample's number, and how many there are


class Sink(Protocol):
    """What the stage drives: a clock, and what livekit does to an audio output."""

    rate: int
    traits: SinkTraits
    sounded: Sounded

    @property
    def busy(self) -> bool:
        """Whether a segment was begun and its end not yet reported."""
        ...

    def advance(self, now: float) -> list[Noted]: ...

    def push(self, count: int) -> list[Noted]: ...

    def flush(self) -> list[Noted]: ...

    def clear(self) -> list[Noted]: ...

    def pause(self) -> list[Noted]: ...

    def resume(self) -> list[Noted]: ...


class Sounded:
    """The truth: which samples sounded, and when."""

    def __init__(self, rate: int) -> None:
        self.count = 0  # samples that were pushed, sounded or not
        self._rate = rate
        self._runs: list[tuple[float, int, int]] = []

    def add(self, at: float, first: int, count: int) -> None:
        """Samples sound from `at` on, unless cut."""
        self._runs.append((at, first, count))

    def cut(self, at: float) -> None:
        """Nothing sounds from `at` on."""
        kept = [(run[0], run[1], self._before(run, at)) for run in self._runs]
        self._runs = [run for run in kept if run[2] > 0]

    def times(self) -> Times:
        """When each sample sounded; NaN where it did not."""
        times = np.full(self.count, np.nan)
        for at, first, count in self._runs:
            times[first : first + count] = at + np.arange(count) / self._rate
        return times

    def _before(self, run: tuple[float, int, int], at: float) -> int:
        return max(0, min(run[2], round((at - run[0]) * self._rate)))


@dataclass(frozen=True)
class RoomVersion:
    """How the RoomIO of some livekit-agents plays and reports.

    Attributes:
        name: Which.
        queue: Seconds that its audio source holds ahead of the play head.
        frame: Seconds of the frames it cuts the audio into; 0 for those it is given.
        progressive: Its first frames, and those after an interruption, are shorter: 20 and 40 ms.
        starts: It reports that playback began.
        starts_again: It does so again after a pause.
        progresses: It reports each run when it has ended.
        waits: It reports the end when the source has run dry; else when the last frame is in it.
        subtracts: Its position leaves out what a pause threw away.
        flushes: It plays less than a frame, too, rather than run dry.
    """

    name: str
    queue: float = 0.2
    frame: float = 0.05
    progressive: bool = False
    starts: bool = False
    starts_again: bool = False
    progresses: bool = False
    waits: bool = False
    subtracts: bool = False
    flushes: bool = False

    @property
    def traits(self) -> SinkTraits:
        """What may be believed of it."""
        return SinkTraits(
            reports_start=self.starts,
            reports_progress=self.progresses,
            queue_seconds=self.queue if self.frame else 0.0,
            frame_seconds=self.frame,
            first_frames_seconds=(0.02, 0.04) if self.progressive else (),
            resume_seconds=0.002 if self.frame else 0.0,
        )


ROOM_1_0 = RoomVersion("1.0", queue=100.0, frame=0.0, waits=True)
ROOM_1_2 = RoomVersion("1.2")
ROOM_1_3 = RoomVersion("1.3", starts=True, starts_again=True)
ROOM_1_5 = replace(ROOM_1_3, name="1.5", progressive=True)
ROOM_1_6 = RoomVersion("1.6", progressive=True, starts=True, waits=True, subtracts=True)
ROOM_1_7 = replace(ROOM_1_6, name="1.7", progresses=True)
ROOM_1_8 = replace(ROOM_1_7, name="1.8", progressive=False, flushes=True)
ROOMS = [ROOM_1_0, ROOM_1_2, ROOM_1_3, ROOM_1_5, ROOM_1_6, ROOM_1_7, ROOM_1_8]


class RoomSink:
    """RoomIO: frames go through a buffer into a source with a short queue, which plays them.

    Args:
        version: Whose behaviour it has.
        rate: Samples a second.
        start_first: It reports the start before the first `capture_frame` has returned.
    """

    def __init__(self, version: RoomVersion, rate: int, *, start_first: bool = False) -> None:
        self.rate = rate
        self.version = version
        self.traits = version.traits
        self.sounded = Sounded(rate)
        self._start_first = start_first
        self._now = 0.0
        self._enabled = True
        self._dry_at = 0.0  # when the source runs out
        self._next_frame = 0.02 if version.progressive else version.frame
        self._begin_segment()

    def _begin_segment(self) -> None:
        self._partial: Part = (0, 0)  # short of a frame
        self._buffer: deque[Part] = deque()
        self._held: Part | None = None  # by the forwarding task, until it may go on
        self._free_at = 0.0  # when the forwarding task takes the next frame
        self._pushed = self._in_source = self._discarded = 0  # samples
        self._started = self._flushed = False
        self._early_end = False
        self._run_offset = 0
        self._run_dry_at: float | None = None

    @property
    def busy(self) -> bool:
        """Whether a segment was begun and its end not yet reported."""
        return self._pushed > 0 or self._partial[1] > 0

    def advance(self, now: float) -> list[Noted]:
        """Moves the clock."""
        noted: list[Noted] = []
        while (step := self._next_step()) is not None and step[0] <= now:
            self._now = max(self._now, step[0])
            noted += step[1]()
        self._now = now
        return noted

    def push(self, count: int) -> list[Noted]:
        """A frame is captured."""
        assert not self._flushed, "the sink would let its caller wait"
        first = self.sounded.count
        self.sounded.count += count
        pcm = numbered(first, count).tobytes()
        start_first = self._start_first and not self._pushed
        start, held = self._partial
        self._partial = (first, count) if held == 0 else (start, held + count)
        self._cut_frames()
        frame: list[Noted] = [AgentFrame(self._now, pcm, self.rate)]
        reports = self.advance(self._now)
        return reports + frame if start_first else frame + reports

    def flush(self) -> list[Noted]:
        """The segment is complete."""
        noted: list[Noted] = [Flushed(self._now)]
        self._buffer_partial()
        if self._pushed:
            self._flushed = True
            self._early_end = not self.version.waits and not self._buffer and not self._held
        return noted + self.advance(self._now)

    def clear(self) -> list[Noted]:
        """The segment is interrupted; livekit flushes before."""
        noted: list[Noted] = [Cleared(self._now)]
        self._next_frame = 0.02 if self.version.progressive else self.version.frame
        if not self._pushed:
            return noted
        noted += self._report_run(self._in_source - self._queued(), self._now)
        return noted + self._finish(interrupted=True)

    def pause(self) -> list[Noted]:
        """Playback is to stand still."""
        self._enabled = False
        return [Paused(self._now)]

    def resume(self) -> list[Noted]:
        """Playback is to go on."""
        self._enabled = True
        if self.version.starts_again:
            self._started = False
        held, self._held = self._held, None
        noted: list[Noted] = [Resumed(self._now)]
        if held is not None:
            noted += self._forward(held)
        return noted + self.advance(self._now)

    def _cut_frames(self) -> None:
        first, count = self._partial
        while count >= (size := round(self._next_frame * self.rate) or count) > 0:
            self._buffer.append((first, size))
            self._pushed += size
            first, count = first + size, count - size
            self._next_frame = min(2 * self._next_frame, self.version.frame)
        self._partial = (first, count)

    def _buffer_partial(self) -> None:
        if self._partial[1]:
            self._buffer.append(self._partial)
            self._pushed += self._partial[1]
            self._partial = (0, 0)

    def _next_step(self) -> tuple[float, Callable[[], list[Noted]]] | None:
        if self._held is None and self._buffer:
            return max(self._now, self._free_at), self._take_frame
        if self._early_end:
            return self._now, self._finish
        if self._flushed and self._held is None:
            return max(self._now, self._dry_at), self._finish
        enough = self._pushed or self._partial[1] >= 0.02 * self.rate
        if self.version.flushes and self._partial[1] and enough and self._enabled:
            return max(self._now, self._dry_at - 0.02), self._flush_partial
        return None

    def _flush_partial(self) -> list[Noted]:
        self._buffer_partial()
        return []

    def _take_frame(self) -> list[Noted]:
        frame = self._buffer.popleft()
        if self._enabled:
            return self._forward(frame)
        self._held = frame
        queued = self._queued()
        noted = self._report_run(self._in_source - queued, self._now, self._in_source)
        self._discarded += queued
        self._stop_source()
        return noted

    def _forward(self, frame: Part) -> list[Noted]:
        noted: list[Noted] = []
        if not self._started:
            self._started = True
            noted += [Started(self._now)] if self.version.starts else []
        if self._run_dry_at is not None and self._now >= self._run_dry_at:
            noted += self._report_run(self._in_source, self._run_dry_at)
        self._in_source += frame[1]
        start = max(self._now, self._dry_at)
        self.sounded.add(start, *frame)
        self._dry_at = self._run_dry_at = start + frame[1] / self.rate
        self._free_at = max(self._now, self._dry_at - self.version.queue)
        return noted

    def _queued(self) -> int:
        return max(0, round((self._dry_at - self._now) * self.rate))

    def _stop_source(self) -> None:
        self.sounded.cut(self._now)
        self._dry_at = min(self._dry_at, self._now)

    def _report_run(self, offset: int, ended: float, resumes: int | None = None) -> list[Noted]:
        if self._run_dry_at is not None:
            ended = min(ended, self._run_dry_at)
        begin, count = self._run_offset, offset - self._run_offset
        self._run_offset = offset if resumes is None else resumes
        self._run_dry_at = None
        if count <= 0 or not self.version.progresses:
            return []
        seconds = count / self.rate
        return [Progressed(ended - seconds, begin / self.rate, seconds)]

    def _finish(self, *, interrupted: bool = False) -> list[Noted]:
        noted: list[Noted] = []
        played = self._in_source - self._discarded if self.version.subtracts else self._pushed
        if interrupted:
            played -= self._queued()
            if not self.version.subtracts:
                played -= sum(count for _, count in self._buffer)
            self._stop_source()
        else:
            noted = self._report_run(self._in_source, self._now)
        self._begin_segment()
        return [*noted, Finished(self._now, max(0, played) / self.rate, interrupted)]


class PlainSink:
    """A sink with one buffer, which a pause only holds; like livekit's console.

    Args:
        traits: What it reports.
        rate: Samples a second.
        delay: Seconds that a frame takes to get to where it sounds.
        says_so: Whether it reports the start at all; a sink of the user's own may not.
    """

    def __init__(
        self, traits: SinkTraits, rate: int, *, delay: float = 0.0, says_so: bool = True
    ) -> None:
        self.rate = rate
        self.traits = traits
        self.sounded = Sounded(rate)
        self._delay = delay
        self._tiny = 1.5 / rate  # seconds between two samples that are no gap
        self._says_so = says_so
        self._now = 0.0
        self._paused = False
        self._segments: deque[_Buffer] = deque()

    @property
    def busy(self) -> bool:
        """Whether a segment was begun and its end not yet reported."""
        return bool(self._segments)

    def advance(self, now: float) -> list[Noted]:
        """Moves the clock."""
        noted: list[Noted] = []
        while self._segments and not self._paused:
            playing = self._segments[0]
            noted += self._play(playing, now)
            if playing.parts or not playing.flushed or playing.run_end > now:
                break
            self._now = max(self._now, playing.run_end)
            noted += self._finish(interrupted=False)
        self._now = now
        return noted

    def push(self, count: int) -> list[Noted]:
        """A frame is captured."""
        first = self.sounded.count
        self.sounded.count += count
        if not self._segments or self._segments[-1].flushed:
            self._segments.append(_Buffer(self.rate))
        self._segments[-1].parts.append((self._now + self._delay, first, count))
        frame = AgentFrame(self._now, numbered(first, count).tobytes(), self.rate)
        return [frame, *self.advance(self._now)]

    def flush(self) -> list[Noted]:
        """The segment is complete."""
        if self._segments:
            self._segments[-1].flushed = True
        return [Flushed(self._now), *self.advance(self._now)]

    def clear(self) -> list[Noted]:
        """The segment is interrupted."""
        noted: list[Noted] = [Cleared(self._now)]
        return noted + (self._finish(interrupted=True) if self._segments else [])

    def pause(self) -> list[Noted]:
        """Playback stands still."""
        self._paused = True
        noted: list[Noted] = [Paused(self._now)]
        if self._segments:
            noted += self._end_run(self._segments[0])
        return noted

    def resume(self) -> list[Noted]:
        """Playback goes on where it stood."""
        self._paused = False
        return [Resumed(self._now), *self.advance(self._now)]

    def _play(self, playing: _Buffer, now: float) -> list[Noted]:
        noted: list[Noted] = []
        while playing.parts and playing.parts[0][0] <= now:
            there, first, count = playing.parts.popleft()
            if playing.run_start is None or playing.run_end < max(there, self._now) - self._tiny:
                noted += self._end_run(playing)
                noted += self._start_run(playing, max(there, self._now))
            due = round((now - playing.run_end) * self.rate - 0.5)
            sounding = max(0, min(count, due))
            self.sounded.add(playing.run_end, first, sounding)
            playing.played += sounding
            if sounding < count:
                playing.parts.appendleft((there, first + sounding, count - sounding))
                break
        return noted

    def _start_run(self, playing: _Buffer, at: float) -> list[Noted]:
        playing.run_start = at
        if playing.started:
            return []
        playing.started = True
        return [Started(at)] if self.traits.reports_start and self._says_so else []

    def _end_run(self, playing: _Buffer) -> list[Noted]:
        start, offset = playing.run_start, playing.run_offset
        playing.run_start, playing.run_offset = None, playing.played
        if start is None or playing.played == offset or not self.traits.reports_progress:
            return []
        seconds = (playing.played - offset) / self.rate
        return [Progressed(start, offset / self.rate, seconds)]

    def _finish(self, *, interrupted: bool) -> list[Noted]:
        playing = self._segments.popleft()
        position = playing.played / self.rate
        return [*self._end_run(playing), Finished(self._now, position, interrupted)]


class _Buffer:
    """A segment's audio, and the run of it that sounds."""

    def __init__(self, rate: int) -> None:
        self.parts: deque[tuple[float, int, int]] = deque()  # not sounded: when there, and which
        self.flushed = self.started = False
        self.played = 0  # samples
        self.run_start: float | None = None
        self.run_offset = 0
        self._rate = rate

    @property
    def run_end(self) -> float:
        if self.run_start is None:
            return -math.inf
        return self.run_start + (self.played - self.run_offset) / self._rate


class AvatarSink(PlainSink):
    """Frames are handed on at once and played elsewhere, a moment later.

    Args:
        rate: Samples a second.
        delay: Seconds until what was handed on sounds.
        starts: It reports the start, at the first push.
        back: Seconds until a command gets there.
    """

    def __init__(
        self, rate: int, *, delay: float = 0.4, starts: bool = True, back: float = 0.05
    ) -> None:
        super().__init__(SinkTraits(starts, False, True), rate, delay=delay)
        self._pushing = False
        self._back = back
        self._clear_at = math.inf

    def advance(self, now: float) -> list[Noted]:
        """Moves the clock."""
        if self._clear_at > now:
            return super().advance(now)
        noted = super().advance(self._clear_at)
        self._clear_at = math.inf
        return noted + super().clear()[1:] + super().advance(now)

    def push(self, count: int) -> list[Noted]:
        """A frame is handed on."""
        noted = super().push(count)
        if self.traits.reports_start and not self._pushing:
            noted.insert(0, Started(self._now))
        self._pushing = True
        return noted

    def flush(self) -> list[Noted]:
        """The segment is complete."""
        self._pushing = False
        return super().flush()

    def clear(self) -> list[Noted]:
        """The avatar is told to stop."""
        self._clear_at = self._now + self._back
        return [Cleared(self._now)]

    def _start_run(self, playing: _Buffer, at: float) -> list[Noted]:
        super()._start_run(playing, at)
        return []
