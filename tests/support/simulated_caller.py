"""A caller whose every sample is known, heard by an `AudioCapture` on a clock moved by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from roark_analytics_python_livekit._recording.frames import Listening, Opened, Samples, UserFrame
from roark_analytics_python_livekit.audio import AudioCapture
from tests.support.playback_harness import TICK
from tests.support.signals import (
    LinearResampler,
    Times,
    numbered,
    stereo,
    user_frame,
    when_recorded,
)

Arrival = tuple[float, Samples]  # when a frame is there, and its samples


class Line:
    """Hands the caller's frames to an `AudioCapture`, and keeps its PCM.

    Args:
        rate: Samples a second of what the caller's side gives.
        recorded: The recording's rate; the same, unless given.
        opened: When the taps were put in.
        tick: Seconds between two looks at what has become certain.
        channels: How many the frames have.
        paced: Whether the line gives its frames as time passes, and never late.
        silences: The spans that are to be silenced.

    Attributes:
        is_listened: Whether somebody takes what the line gives; said at each look.
    """

    def __init__(
        self,
        rate: int,
        *,
        recorded: int | None = None,
        opened: float = 0.0,
        tick: float = TICK,
        channels: int = 1,
        paced: bool = False,
        silences: Sequence[tuple[float, float]] = (),
    ) -> None:
        self.is_listened = paced
        self.rate = rate
        self.recorded = recorded or rate
        self.opened = opened
        self.pcm = bytearray()
        beginning = Opened(opened, True, None, self.recorded, paced_input=paced)
        self.capture = AudioCapture(
            beginning, LinearResampler, silences=lambda *span: overlapping(silences, *span)
        )
        self._tick = tick
        self._ticks = 1
        self._channels = channels

    def go(self, until: float) -> None:
        """Lets time pass."""
        while (at := self.opened + self._ticks * self._tick) <= until:
            if self.is_listened:
                self.capture.listening(Listening(at))
            self.pcm += self.capture.settle(at)
            self._ticks += 1

    def hear(self, arrivals: Iterable[Arrival]) -> None:
        """Frames come, in order."""
        for at, samples in arrivals:
            self.go(at)
            self.capture.heard(user_frame(at, samples, self.rate, self._channels))

    def unpublish(self, at: float) -> None:
        """The caller's track goes away: RoomIO pushes half a second of zeros at once."""
        self.go(at)
        pcm = bytes(self.rate * self._channels)
        self.capture.heard(UserFrame(at, pcm, self.rate, self._channels, is_unpublish=True))

    def finish(self, at: float) -> Samples:
        """The call is over; gives the caller's channel."""
        self.go(at)
        self.pcm += self.capture.finish(at)
        return stereo(bytes(self.pcm))[:, 0]

    def times(self, count: int) -> Times:
        """When each of the numbered samples stands in the recording, on the line's clock."""
        left = stereo(bytes(self.pcm))[:, 0]
        return self.capture.origin + when_recorded(left, self.recorded, count)

    @property
    def length(self) -> float:
        """Seconds of what was given out."""
        return len(self.pcm) / 4 / self.recorded


def overlapping(
    spans: Iterable[tuple[float, float]], start: float, end: float
) -> list[tuple[float, float]]:
    """Those of the spans that overlap [start, end], as a log of pauses answers."""
    return [span for span in spans if span[0] < end and start < span[1]]


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


def not_before(moment: float, arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    """What came before `moment` is handed over only then, all at once."""
    for at, samples in arrivals:
        yield max(at, moment), samples


def stalled(begin: float, end: float, arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    """What came between `begin` and `end` is handed over only at `end`."""
    for at, samples in arrivals:
        yield (end if begin <= at < end else at), samples
