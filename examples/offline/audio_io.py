"""A telephone line in memory: the audio input and output of an `AgentSession`, in real time.

Both sides keep the truth, on the monotonic clock and to the sample: when each utterance of the
caller was on the line, and what the agent's side really played. Works with livekit-agents 1.0 to
1.8, whose base classes want different arguments and know different events.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents.voice import io

from offline.captions import Captions
from offline.play_head import PlayHead, Run
from offline.sound import Samples, from_frame, to_frame

SAMPLE_RATE = 24_000
"""The rate of a room's audio, in Hz."""

FRAME_SECONDS = 0.05
"""Seconds in a frame of a room's audio (0.01 before livekit-agents 1.2)."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Words:
    """Something the caller said: its sound, and when the first sample was spoken."""

    samples: Samples
    rate: int
    start: float

    @property
    def end(self) -> float:
        """When the last sample was spoken."""
        return self.start + len(self.samples) / self.rate


class MemoryAudioInput(io.AudioInput):
    """The caller's side of the line: silence, and what is said into it.

    Like a microphone it hands a frame over when the frame's last sample has been spoken, on a
    schedule that does not drift; a reader that comes late gets the frames it missed at once.

    Args:
        frame_seconds: Length of a frame.
        clock: A monotonic clock, in seconds.
        rate: Samples a second.
        label: What it calls itself.
    """

    def __init__(
        self,
        frame_seconds: float = FRAME_SECONDS,
        clock: Clock = time.monotonic,
        rate: int = SAMPLE_RATE,
        label: str = "Memory",
    ) -> None:
        super().__init__(**_accepted(io.AudioInput, label=label, source=None))
        self.words: list[Words] = []
        self.rate = rate
        self._clock = clock
        self._frame_length = round(frame_seconds * rate)
        self._next = 0  # the first sample not handed over yet
        self._opened: float | None = None
        self._changed = asyncio.Event()

    def say(self, samples: Samples, after: float = 0.0) -> Words:
        """Speak, `after` seconds from now or when what was being said is over.

        Args:
            samples: Mono sound at the line's rate.
            after: Seconds to wait.

        Returns:
            What was put on the line, with the time its first sample is spoken.
        """
        opened = self.open()
        first = max(self._next, math.ceil((self._clock() + after - opened) * self.rate))
        if self.words:
            first = max(first, round((self.words[-1].end - opened) * self.rate))
        words = Words(samples, self.rate, opened + first / self.rate)
        self.words.append(words)
        return words

    async def spoken(self, words: Words) -> None:
        """Wait until all of `words` has been handed to the reader."""
        end = round((words.end - self.open()) * self.rate)
        while self._next < end:
            self._changed.clear()
            await self._changed.wait()

    async def __anext__(self) -> rtc.AudioFrame:
        await self._frame_is_due()
        sound = self._sound(self._next, self._frame_length)
        self._next += self._frame_length
        self._changed.set()
        return to_frame(sound, self.rate)

    def open(self) -> float:
        """Begin the time line, unless that has happened, and return when it began."""
        if self._opened is None:
            self._opened = self._clock()
        return self._opened

    async def _frame_is_due(self) -> None:
        due = self.open() + (self._next + self._frame_length) / self.rate
        if (wait := due - self._clock()) > 0:
            await asyncio.sleep(wait)

    def _sound(self, first: int, length: int) -> Samples:
        """Return what is on the line from sample `first` on."""
        sound = np.zeros(length, dtype=np.int16)
        for words in reversed(self.words):
            offset = round((words.start - self.open()) * self.rate) - first
            if offset + len(words.samples) <= 0:
                break  # all that came before is over, too
            begin, end = max(offset, 0), min(offset + len(words.samples), length)
            if begin < end:
                sound[begin:end] = words.samples[begin - offset : end - offset]
        return sound


@dataclass(eq=False)
class Segment:
    """One speech of the agent, as it was played.

    Attributes:
        head: What sounded when.
        interrupted: Whether it was cut off by `clear_buffer`.
        finished: Whether its end has been reported.
    """

    head: PlayHead
    interrupted: bool = False
    finished: bool = False
    _flushed: bool = field(default=False, repr=False)
    _started: bool = field(default=False, repr=False)
    _reported_runs: int = field(default=0, repr=False)


class MemoryAudioOutput(io.AudioOutput):
    """The agent's side of the line: plays in real time, into nothing, and remembers.

    Args:
        clock: A monotonic clock, in seconds, in step with the event loop's.
        rate: The only rate it takes, in Hz; None takes any, as some outputs do.
        captions: The words that it plays. With them it says how far an interrupted speech came.
    """

    def __init__(
        self,
        clock: Clock = time.monotonic,
        rate: int | None = SAMPLE_RATE,
        captions: Captions | None = None,
    ) -> None:
        super().__init__(
            **_accepted(
                io.AudioOutput,
                label="Memory",
                capabilities=_capabilities(),
                next_in_chain=None,
                sample_rate=rate,
            )
        )
        self.segments: list[Segment] = []
        self._clock = clock
        self._captions = captions
        self._paused = False
        self._current: Segment | None = None
        self._timer: asyncio.Handle | None = None
        self._changed = asyncio.Event()

    @property
    def runs(self) -> list[Run]:
        """What sounded without a break, in order."""
        return [run for segment in self.segments for run in segment.head.runs]

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Queue a frame; it sounds when those before it have, or now."""
        await super().capture_frame(frame)
        if self.sample_rate not in (None, frame.sample_rate):
            raise ValueError(f"this line takes {self.sample_rate} Hz, not {frame.sample_rate}")
        if self._current is not None and self._current._flushed:
            await self.until(lambda: self._current is None)
        if self._current is None:
            self._current = self._begin_segment(frame.sample_rate)
        self._current.head.push(from_frame(frame), self._clock())
        self._update()

    def flush(self) -> None:
        """Mark the segment as complete: it ends when what is queued has sounded."""
        super().flush()
        if self._current is not None:
            self._current._flushed = True
            self._update()

    def clear_buffer(self) -> None:
        """Fall silent at once."""
        if self._current is not None:
            self._current.head.stop(self._clock())
            self._current.interrupted = True
            self._update()

    def pause(self) -> None:
        """Stand still, and keep what is queued."""
        self._paused = True
        if self._current is not None:
            self._current.head.pause(self._clock())
            self._update()

    def resume(self) -> None:
        """Go on where it was paused."""
        self._paused = False
        if self._current is not None:
            self._current.head.resume(self._clock())
            self._update()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is looked at whenever something changes here."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def reaches(self, segment: Segment, position: float) -> bool:
        """Wait until `position` seconds of a segment have sounded; False if it ends before that."""
        while (left := segment.head.time_at(position) - self._clock()) > 0:
            if segment.finished or segment.interrupted:
                return False
            self._changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left if left < math.inf else None)
        return True

    def _begin_segment(self, rate: int) -> Segment:
        segment = Segment(PlayHead(rate))
        if self._paused:
            segment.head.pause(self._clock())
        self.segments.append(segment)
        return segment

    def _update(self) -> None:
        """Report what has happened, soon, and set the alarm for the segment's end."""
        self._changed.set()
        if self._timer is not None:
            self._timer.cancel()
        segment, loop = self._current, asyncio.get_running_loop()
        if segment is None:
            return
        loop.call_soon(self._report, segment)
        if segment._flushed and segment.head.end < math.inf:
            self._timer = loop.call_later(
                max(segment.head.end - self._clock(), 0.0), self._finish, segment
            )

    def _report(self, segment: Segment) -> None:
        """Emit the start, and every run that has ended, once each."""
        head = segment.head
        if head.start is not None and not segment._started:
            segment._started = True
            if hasattr(io.AudioOutput, "on_playback_started"):  # from 1.3.11
                self.on_playback_started(created_at=self._wall_time(head.start))
        over = segment.finished or head.paused or head.stopped_at is not None
        for run in head.runs[segment._reported_runs : None if over else -1]:
            self._report_run(segment, run)

    def _report_run(self, segment: Segment, run: Run) -> None:
        before = segment.head.runs[: segment._reported_runs]
        segment._reported_runs += 1
        if hasattr(io.AudioOutput, "on_playback_progressed"):  # from 1.7
            self.on_playback_progressed(
                started_at=self._wall_time(run.start),
                offset=sum(len(earlier.samples) for earlier in before) / run.rate,
                duration=len(run.samples) / run.rate,
            )

    def _finish(self, segment: Segment) -> None:
        segment.finished = True
        self._current = None
        self._report(segment)
        position = segment.head.position(math.inf)
        words = None
        if self._captions is not None and segment.interrupted:
            pushed = len(segment.head.pushed) / segment.head.rate
            words = self._captions.heard(position / pushed if pushed else 0.0)
        self.on_playback_finished(
            playback_position=position,
            interrupted=segment.interrupted,
            synchronized_transcript=words,
        )
        self._changed.set()

    def _wall_time(self, moment: float) -> float:
        return time.time() - (self._clock() - moment)


def _accepted(cls: type, **arguments: Any) -> dict[str, Any]:
    """Return those of `arguments` that the constructor of `cls` takes in this version."""
    known = inspect.signature(cls).parameters
    return {name: value for name, value in arguments.items() if name in known}


def _capabilities() -> Any:
    """Return what says that the output can pause, in versions that ask (from 1.2)."""
    cls = getattr(io, "AudioOutputCapabilities", None)
    return cls and cls(pause=True)
