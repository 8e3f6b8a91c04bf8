"""A caller whose every sample is known, heard by a capture on a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from roark_analytics_python_livekit._recording.frames import (
    Listening,
    Opened,
    Samples,
    UserFrame,
)
from tests.support.playback_harness import Harness
from tests.support.signals import Times, numbered, user_frame, when_recorded

Arrival = tuple[float, Samples]  # when a frame is there, and its samples


class Line(Harness):
    """Hands the caller's frames to a capture.

    Its frames may come as time passes, and never late (`paced`), as long as somebody takes them
    (`is_listened`). The options are those of `Harness`.
    """

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
