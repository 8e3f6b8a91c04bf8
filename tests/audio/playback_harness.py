"""Calls on a clock that is moved by hand: a capture that is looked at, a sink, a caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from roark_analytics_python_livekit._recording.frames import (
    AgentFrame,
    Listening,
    Opened,
    Samples,
    UserFrame,
)
from roark_analytics_python_livekit.audio import AudioCapture
from tests.support.fake_sinks import FakeSink, Item
from tests.support.signals import (
    Difference,
    LinearResampler,
    Times,
    difference,
    numbered,
    stereo,
    user_frame,
    when_recorded,
)

TICK = 0.1  # seconds between two looks at what has become certain, as in a real call

Spans = Sequence[tuple[float, float]]


class Harness:
    """An `AudioCapture`, looked at every `tick` seconds as time passes, and its PCM."""

    def __init__(self, opened: Opened, *, tick: float = TICK, silences: Spans = ()) -> None:
        assert opened.rate is not None
        self.now, self.rate = opened.at, opened.rate
        self.pcm = bytearray()
        self.largest_lag = 0.0
        self.capture = AudioCapture(opened, LinearResampler, silences=lambda *_: silences)
        self._looks = (opened.at + number * tick for number in count(1))
        self._next_look = next(self._looks)

    @property
    def length(self) -> float:
        """Seconds of what was given out."""
        return len(self.pcm) / 4 / self.rate

    def go(self, until: float) -> None:
        while self._next_look <= until:
            self.now = self._next_look
            self._before_a_look()
            self.pcm += self.capture.settle(self.now)
            self.largest_lag = max(self.largest_lag, self.now - self.length)
            self._next_look = next(self._looks)
        self.now = max(self.now, until)

    def end(self, at: float) -> None:
        self.go(at)
        self.pcm += self.capture.finish(at)

    def channel(self, number: int) -> Samples:
        """A channel, as far as it was given out."""
        return stereo(bytes(self.pcm))[:, number]

    def _before_a_look(self) -> None: ...


@dataclass(frozen=True)
class Speech:
    """One speech of the agent, in seconds from its beginning."""

    frames: Spans  # when a frame is there to be captured, and how long it is
    pauses: Spans = ()  # when playback is paused, and for how long
    interrupted: float | None = None
    after: float = 0.5  # seconds of silence before it


def burst(seconds: float, frame: float = 0.1, at: float = 0.0) -> list[tuple[float, float]]:
    """Audio that is there all at once."""
    return [(at, frame)] * round(seconds / frame)


class Stage(Harness):
    """Drives a sink, and hands what a tap would to the capture."""

    def __init__(self, sink: FakeSink) -> None:
        super().__init__(Opened(0.0, False, sink.kind.traits, sink.rate))
        self.sink = sink

    def go(self, until: float) -> None:
        super().go(until)
        self.give(self.sink.advance(until))

    def push(self, seconds: float) -> None:
        """The agent's pipeline has a frame."""
        self.give(self.sink.push(round(seconds * self.sink.rate)))

    def give(self, items: Iterable[Item]) -> None:
        for item in items:
            is_frame = isinstance(item, AgentFrame)
            self.capture.captured(item) if is_frame else self.capture.report(item)

    def speak(self, speech: Speech) -> None:
        """Says it, and waits until the sink has reported its end."""
        begin = self.now + speech.after
        for at, do in self._actions(speech):
            self.go(max(self.now, begin + at))
            self.give(do())
        begun = self.now
        while self.sink.busy:
            assert self.now < begun + 100, "the sink never ended"
            self.go(self.now + TICK)

    def finish(self, after: float = 0.5) -> Samples:
        """Ends the call, and gives the agent's channel."""
        self.end(self.now + after)
        return self.channel(1)

    def difference(self, tolerance: float) -> Difference:
        """The agent's channel against what sounded."""
        sounded = self.sink.sounded()
        recorded = when_recorded(self.channel(1), self.rate, len(sounded))
        return difference(recorded, sounded, self.rate, tolerance)

    def _before_a_look(self) -> None:
        self.give(self.sink.advance(self.now))

    def _actions(self, speech: Speech) -> list[tuple[float, Callable[[], list[Item]]]]:
        sink, cut = self.sink, speech.interrupted
        last = max(at for at, _ in speech.frames)
        actions: list[tuple[float, Callable[[], list[Item]]]] = [
            *((at, partial(sink.push, round(size * sink.rate))) for at, size in speech.frames),
            (last, sink.flush),
            *((at, sink.pause) for at, _ in speech.pauses),
            *((at + seconds, sink.resume) for at, seconds in speech.pauses),
        ]
        if cut is not None:
            actions = [(at, do) for at, do in actions if at <= cut]
            actions += [(cut, sink.flush)] if last > cut else []
            actions += [(cut, sink.clear)]
            is_paused = any(at <= cut < at + seconds for at, seconds in speech.pauses)
            actions += [(cut, sink.resume)] if is_paused else []
        return sorted(actions, key=lambda action: action[0])


Arrival = tuple[float, Samples]  # when a frame is there, and its samples


class Line(Harness):
    """Hands the caller's frames to a capture: `paced` if they are never late while it listens."""

    def __init__(
        self,
        source_rate: int,
        *,
        recorded: int | None = None,
        opened: float = 0.0,
        channels: int = 1,
        paced: bool = False,
        **options: Any,
    ) -> None:
        beginning = Opened(opened, True, None, recorded or source_rate, paced_input=paced)
        super().__init__(beginning, **options)
        self.is_listened = paced
        self.source_rate = source_rate
        self._channels = channels

    def hear(self, arrivals: Iterable[Arrival]) -> None:
        """Frames come, in order."""
        for at, samples in arrivals:
            self.go(at)
            self.capture.heard(user_frame(at, samples, self.source_rate, self._channels))

    def unpublish(self, at: float) -> None:
        """The caller's track goes away: RoomIO pushes half a second of zeros at once."""
        self.go(at)
        pcm = bytes(self.source_rate * self._channels)
        self.capture.heard(UserFrame(at, pcm, self.source_rate, self._channels, True))

    def finish(self, at: float) -> Samples:
        """The call is over; gives the caller's channel."""
        self.end(at)
        return self.channel(0)

    def times(self, count: int) -> Times:
        """When each of the numbered samples stands in the recording, on the line's clock."""
        return self.capture.origin + when_recorded(self.channel(0), self.rate, count)

    def _before_a_look(self) -> None:
        if self.is_listened:
            self.capture.listening(Listening(self.now))


def spoken(
    start: float, seconds: float, rate: int, frame: float = 0.05, first: int = 0
) -> Iterator[Arrival]:
    """Numbered samples said from `start` on, each frame there when its last sample was said."""
    total, size = round(seconds * rate), round(frame * rate)
    for begin in range(0, total, size):
        end = min(begin + size, total)
        yield start + end / rate, numbered(first + begin, end - begin)


def when_said(start: float, seconds: float, rate: int) -> Times:
    """When each of those samples was said."""
    said: Times = start + np.arange(round(seconds * rate)) / rate
    return said


def stalled(begin: float, end: float, arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    """What came between `begin` and `end` is handed over only at `end`, all at once."""
    for at, samples in arrivals:
        yield (end if begin <= at < end else at), samples
