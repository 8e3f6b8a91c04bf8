"""A call on a clock that is moved by hand: a sink, the caller, and the capture of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from roark_analytics_python_livekit._recording.frames import AgentFrame, Opened, Samples
from roark_analytics_python_livekit.audio import AudioCapture
from tests.support.fake_sinks import Noted, Sink
from tests.support.signals import Difference, LinearResampler, difference, stereo, when_recorded

Action = Callable[[], list[Noted]]

TICK = 0.1  # seconds between two looks at what has become certain, as in a real call


@dataclass(frozen=True)
class Speech:
    """One speech of the agent, in seconds from its beginning.

    Attributes:
        frames: When a frame is there to be captured, and how long it is.
        pauses: When playback is paused, and for how long.
        interrupted: When it is cut off.
        after: Seconds of silence before it.
    """

    frames: Sequence[tuple[float, float]]
    pauses: Sequence[tuple[float, float]] = ()
    interrupted: float | None = None
    after: float = 0.5


def burst(seconds: float, frame: float = 0.1, at: float = 0.0) -> list[tuple[float, float]]:
    """Audio that is there all at once."""
    return [(at, frame)] * round(seconds / frame)


class Stage:
    """Drives a sink, hands what a tap would note to an `AudioCapture`, and keeps its PCM.

    Args:
        sink: The agent's.
        hears_user: Whether the caller's side is expected to be heard.
        rate: The recording's; the sink's, unless given.
    """

    def __init__(self, sink: Sink, *, hears_user: bool = False, rate: int | None = None) -> None:
        self.now = 0.0
        self.pcm = bytearray()
        self.sink = sink
        self.rate = rate or sink.rate
        opened = Opened(0.0, hears_user, sink.traits, self.rate)
        self.capture = AudioCapture(opened, LinearResampler)
        self.largest_lag = 0.0
        self._ticks = 1

    def go(self, until: float) -> None:
        """Lets time pass."""
        while self._ticks * TICK <= until:
            self._step(self._ticks * TICK)
            self._ticks += 1
            self.pcm += self.capture.settle(self.now)
            self.largest_lag = max(self.largest_lag, self.now - len(self.pcm) / 4 / self.rate)
        self._step(until)

    def push(self, seconds: float) -> None:
        """The agent's pipeline has a frame."""
        self._give(self.sink.push(round(seconds * self.sink.rate)))

    def give(self, item: Noted) -> None:
        """Something that a tap notes, told by hand."""
        self._give([item])

    def speak(self, speech: Speech) -> None:
        """Says it, and waits until the sink has reported its end."""
        begin = self.now + speech.after
        for at, do in self._actions(speech):
            self.go(max(self.now, begin + at))
            self._give(do())
        self._wait()

    def finish(self, after: float = 0.5) -> Samples:
        """Ends the call, and gives the agent's channel."""
        self.go(self.now + after)
        self.pcm += self.capture.finish(self.now)
        return self.agent()

    def agent(self) -> Samples:
        """The agent's channel, as far as it was given out."""
        return stereo(bytes(self.pcm))[:, 1]

    def difference(self, tolerance: float) -> Difference:
        """The agent's channel against what sounded."""
        sounded = self.sink.sounded
        recorded = when_recorded(self.agent(), self.rate, sounded.count)
        return difference(recorded, sounded.times(), self.rate, tolerance)

    def _actions(self, speech: Speech) -> list[tuple[float, Action]]:
        sink, cut = self.sink, speech.interrupted
        actions: list[tuple[float, Action]] = [
            (at, partial(sink.push, round(seconds * sink.rate))) for at, seconds in speech.frames
        ]
        actions.append((max(at for at, _ in speech.frames), sink.flush))
        for at, seconds in speech.pauses:
            actions += [(at, sink.pause), (at + seconds, sink.resume)]
        if cut is not None:
            flushed = actions[len(speech.frames)][0] <= cut
            paused = any(at <= cut < at + seconds for at, seconds in speech.pauses)
            actions = [(at, do) for at, do in actions if at <= cut]
            actions += [] if flushed else [(cut, sink.flush)]
            actions += [(cut, sink.clear), *([(cut, sink.resume)] if paused else [])]
        return sorted(actions, key=lambda action: action[0])

    def _wait(self) -> None:
        begun = self.now
        while self.sink.busy:
            assert self.now < begun + 100, "the sink never ended"
            self.go(self.now + TICK)

    def _step(self, until: float) -> None:
        self._give(self.sink.advance(until))
        self.now = until

    def _give(self, noted: Iterable[Noted]) -> None:
        for item in noted:
            if isinstance(item, AgentFrame):
                self.capture.captured(item)
            else:
                self.capture.report(item)
