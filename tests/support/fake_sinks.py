"""A fake sink that knows what really sounded when, and reports of it what each kind of sink does.

Its clock is moved by hand. Every method returns what a tap would have handed over by then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from offline.play_head import PlayHead, Run
from roark_analytics_python_livekit._recording.frames import (
    AgentFrame,
    Cleared,
    Finished,
    Flushed,
    Paused,
    Progressed,
    Report,
    Resumed,
    Samples,
    SinkTraits,
    Started,
)
from tests.support.signals import Times, numbered, numbers

Item = AgentFrame | Report


@dataclass(frozen=True)
class SinkKind:
    """How a sink plays and reports; without changes, as the RoomIO of livekit-agents 1.2."""

    name: str
    queue: float = 0.2  # seconds that its audio source holds ahead of the play head
    frame: float = 0.05  # seconds; it cuts the audio into such frames; 0 takes those it is given
    progressive: bool = False  # the first ones, and those after an interruption, are 20 and 40 ms
    starts: bool = False  # its version reports that playback began
    says_so: bool = True  # and so does it
    starts_again: bool = False  # it does so again after a pause
    progresses: bool = False  # it reports each run when it has ended
    waits: bool = False  # it reports the end when it runs dry; else when the last frame is in it
    subtracts: bool = False  # its position leaves out what a pause threw away
    flushes: bool = False  # it plays less than a frame, too, rather than run dry
    holds: bool = False  # a pause throws nothing away; segments queue behind the one that plays
    elsewhere: bool = False  # an avatar: it reports the start when it is given the first frame
    delay: float = 0.0  # seconds that a frame takes to get to where it sounds
    back: float = 0.0  # seconds that an interruption takes to get there

    @property
    def traits(self) -> SinkTraits:
        """What may be believed of it; nobody can tell that the oldest is a RoomIO."""
        reports = (self.starts, self.progresses, self.elsewhere)
        if not self.frame:
            return SinkTraits(*reports)
        first_frames = (0.02, 0.04) if self.progressive else ()
        return SinkTraits(*reports, self.queue, self.frame, first_frames, resume_seconds=0.002)


ROOM_1_2 = SinkKind("1.2")
ROOM_1_0 = replace(ROOM_1_2, name="1.0", queue=100.0, frame=0.0, waits=True)
ROOM_1_3 = replace(ROOM_1_2, name="1.3", starts=True, starts_again=True)
ROOM_1_5 = replace(ROOM_1_3, name="1.5", progressive=True)
ROOM_1_6 = SinkKind("1.6", progressive=True, starts=True, waits=True, subtracts=True)
ROOM_1_7 = replace(ROOM_1_6, name="1.7", progresses=True)
ROOM_1_8 = replace(ROOM_1_7, name="1.8", progressive=False, flushes=True)
ROOMS = [ROOM_1_0, ROOM_1_2, ROOM_1_3, ROOM_1_5, ROOM_1_6, ROOM_1_7, ROOM_1_8]

PLAIN = SinkKind("reports nothing", 100.0, 0.0, waits=True, subtracts=True, holds=True)
STARTS = replace(PLAIN, name="reports start", starts=True, delay=0.025)
PROGRESSES = replace(PLAIN, name="reports progress", starts=True, progresses=True)
COULD_START = replace(PLAIN, name="could report start", starts=True, says_so=False)
AVATAR = replace(PLAIN, name="avatar", starts=True, elsewhere=True, delay=0.4, back=0.05)
OLD_AVATAR = replace(AVATAR, name="avatar before 1.3", starts=False)

PLAINS = [PLAIN, STARTS, PROGRESSES, COULD_START]
AVATARS = [AVATAR, OLD_AVATAR]


class FakeSink:
    """Frames wait, go into a source with a queue as soon as it has room, and are played.

    With `start_first` it reports the start before the first `capture_frame` has returned.
    """

    def __init__(self, kind: SinkKind, rate: int, *, start_first: bool = False) -> None:
        self.kind, self.rate, self.now = kind, rate, 0.0
        self.pushed = 0  # samples, sounded or not
        self._start_first = start_first
        self._enabled, self._pushing = True, False
        self._next_frame = 0.02 if kind.progressive else kind.frame
        self._ahead: list[Samples | None] = []  # pushed behind a segment that plays; None: flushed
        self._heads = [PlayHead(rate)]
        self._begin_segment()

    def _begin_segment(self) -> None:
        self._first_head = len(self._heads) - 1
        self._waiting = self._held = numbered(0, 0)  # held: by a pause, before the source
        self._first = self._taken = self._reported = 0  # samples before it and of it; its runs
        self._started = self._flushed = self._early_end = False
        self._free_at = 0.0  # when the source takes the next frame
        self._start_from = self._clear_at = math.inf

    @property
    def busy(self) -> bool:
        """Whether a segment was begun and its end not yet reported."""
        return self._taken + len(self._waiting) > 0

    def sounded(self) -> Times:
        """When each sample sounded; NaN where it did not."""
        times = np.full(self.pushed, np.nan)
        for run in (run for head in self._heads for run in head.runs):
            times[numbers(run.samples)] = run.start + np.arange(len(run.samples)) / self.rate
        return times

    def advance(self, now: float) -> list[Item]:
        items: list[Item] = []
        while (step := min(self._steps(), key=lambda step: step[0]))[0] <= now:
            self.now = max(self.now, step[0])
            items += step[1]()
        self.now = now
        return items

    def push(self, count: int) -> list[Item]:
        """A frame is captured."""
        samples, begins = numbered(self.pushed, count), not self._pushing
        self.pushed, self._pushing = self.pushed + count, True
        frame = AgentFrame(self.now, samples.tobytes(), self.rate)
        self._accept(samples)
        reports = self.advance(self.now)
        if begins and self.kind.elsewhere and self.kind.starts:
            return [Started(self.now), frame, *reports]
        return [*reports, frame] if begins and self._start_first else [frame, *reports]

    def flush(self) -> list[Item]:
        """The segment is complete."""
        self._pushing = False
        self._accept(None)
        return [Flushed(self.now), *self.advance(self.now)]

    def clear(self) -> list[Item]:
        """The segment is interrupted; livekit flushes before."""
        self._next_frame = 0.02 if self.kind.progressive else self.kind.frame
        self._clear_at = self.now + self.kind.back if self.busy else math.inf
        return [Cleared(self.now), *self.advance(self.now)]

    def pause(self) -> list[Item]:
        """Playback is to stand still."""
        self._enabled = False
        if not self.kind.holds:
            return [Paused(self.now)]
        self._heads[-1].pause(self.now)
        return [Paused(self.now), *self._ended_runs(over=True)]

    def resume(self) -> list[Item]:
        """Playback is to go on."""
        self._enabled = True
        self._heads[-1].resume(self.now)
        self._started &= not self.kind.starts_again
        held, self._held = self._held, self._held[:0]
        forwarded = self._forward(held) if len(held) else []
        return [Resumed(self.now), *forwarded, *self.advance(self.now)]

    def _accept(self, samples: Samples | None) -> None:
        """Takes a frame or, None, a flush."""
        if self._flushed and self.kind.holds:
            self._ahead.append(samples)
        elif samples is None:
            self._flushed = self.busy
            all_played = len(self._waiting) + len(self._held) == 0
            self._early_end = self._flushed and all_played and not self.kind.waits
        else:
            assert not self._flushed, "the sink would let its caller wait"
            self._first = self._first if self.busy else numbers(samples)[0]
            self._waiting = np.concatenate([self._waiting, samples])

    def _steps(self) -> Iterator[tuple[float, Callable[[], list[Item]]]]:
        """What may happen next, and when; of several at a moment, the first."""
        head, waiting, whole = self._heads[-1], len(self._waiting), self._whole_frame()
        yield self._clear_at, partial(self._finish, interrupted=True)
        if head.runs:
            yield max(self._start_from, head.runs[-1].start), self._report_start
        if len(self._held):
            return
        if waiting and (self._flushed or waiting >= whole):
            yield max(self.now, self._free_at), partial(self._take, min(waiting, whole or waiting))
        elif self._early_end:
            yield self.now, self._finish
        elif self._flushed and (self._enabled or not self.kind.holds):
            yield max(self.now, head.end), self._finish
        elif self.kind.flushes and self._enabled and waiting:
            if self._taken or waiting >= 0.02 * self.rate:
                yield max(self.now, head.end - 0.02), partial(self._take, waiting)

    def _whole_frame(self) -> int:
        return round(self._next_frame * self.rate)

    def _report_start(self) -> list[Item]:
        self._start_from = math.inf
        return [Started(self.now)]

    def _take(self, size: int) -> list[Item]:
        frame, self._waiting = self._waiting[:size], self._waiting[size:]
        self._taken += size
        if size == self._whole_frame():
            self._next_frame = min(2 * self._next_frame, self.kind.frame)
        if self._enabled or self.kind.holds:
            return self._forward(frame)
        self._held = frame
        return self._new_run(stop=True)

    def _forward(self, frame: Samples) -> list[Item]:
        head, at = self._heads[-1], self.now + self.kind.delay
        head.push(frame, at if at > head.end + 1.5 / self.rate else head.end)  # less is no gap
        says_so = self.kind.starts and self.kind.says_so and not self.kind.elsewhere
        if says_so and not self._started:
            self._start_from = self.now
        self._started = True
        self._free_at = self.now if self.kind.holds else max(self.now, head.end - self.kind.queue)
        return self._ended_runs()

    def _new_run(self, *, stop: bool) -> list[Item]:
        """What plays from now on is another run; `stop` drops what is queued."""
        if stop:
            self._heads[-1].stop(self.now)
        reports = self._ended_runs(over=True)
        self._heads.append(PlayHead(self.rate))
        if self.kind.holds and not self._enabled:
            self._heads[-1].pause(self.now)
        return reports

    def _runs(self) -> list[Run]:
        return [run for head in self._heads[self._first_head :] for run in head.runs]

    def _ended_runs(self, *, over: bool = False) -> list[Item]:
        """Reports the runs that have ended: all of them, where nothing is playing."""
        ended = self._runs()[self._reported : None if over else -1]
        self._reported += len(ended)
        offsets = (float(numbers(run.samples)[0] - self._first) / self.rate for run in ended)
        runs = zip(ended, offsets, strict=True)
        reports = [Progressed(run.start, offset, run.end - run.start) for run, offset in runs]
        return [*reports] if self.kind.progresses else []

    def _finish(self, *, interrupted: bool = False) -> list[Item]:
        played, queued = self._taken / self.rate, max(0.0, self._heads[-1].end - self.now)
        over = interrupted or self.kind.waits  # else its end still sounds
        reports = self._new_run(stop=interrupted) if over else []
        if interrupted:
            played = max(0.0, played - queued)
        if self.kind.subtracts:
            played = sum(len(run.samples) for run in self._runs()) / self.rate
        self._begin_segment()
        ahead, self._ahead = self._ahead, []
        for samples in ahead:
            self._accept(samples)
        return [*reports, Finished(self.now, played, interrupted)]
