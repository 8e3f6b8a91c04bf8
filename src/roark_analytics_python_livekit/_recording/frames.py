"""What the taps hand over: frames as they passed, and the sink's reports of playing them.

Every `at` is in monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]


@dataclass(slots=True)  # not frozen, which costs a microsecond for each of 200 frames a second
class Frame:
    """A stretch of audio, as livekit handed it over; nobody changes it."""

    at: float  # when it arrived (user), or when the sink had taken it (agent)
    pcm: bytes  # s16le, interleaved where there are several channels
    rate: int
    channels: int = 1

    def mono(self) -> Samples:
        """The frame as one channel, the mean of all where there are several."""
        samples = np.frombuffer(self.pcm, dtype="<i2")
        if self.channels == 1:
            return samples
        whole = samples[: len(samples) - len(samples) % self.channels]
        mixed: Samples = whole.reshape(-1, self.channels).mean(axis=1).astype(np.int16)
        return mixed

    def mono_pcm(self) -> bytes:
        """The same as s16le, without numpy where there is one; ValueError for half a sample."""
        if self.channels > 1:
            return self.mono().tobytes()
        if len(self.pcm) % 2:
            raise ValueError("half a sample")
        return self.pcm


@dataclass(slots=True)
class UserFrame(Frame):
    """A frame of the caller's audio.

    With `is_unpublish`, livekit made it up when the caller's track went away: it holds no sound,
    and what follows is not behind it.
    """

    is_unpublish: bool = False


class AgentFrame(Frame):
    """A frame of the agent's audio, taken by the sink."""

    __slots__ = ()


@dataclass(frozen=True)
class SinkTraits:
    """What may be believed of a sink's reports, and how it plays."""

    reports_start: bool = False  # until it says so, nothing has been played
    reports_progress: bool = False  # it says exactly what was played, once it is played
    plays_elsewhere: bool = False  # (an avatar) only a segment's end tells when it was played
    queue_seconds: float = 0.0  # audio that a pause throws away instead of playing it later
    frame_seconds: float = 0.0  # it pauses between two such frames; 0.0 stops to the sample
    first_frames_seconds: tuple[float, ...] = ()  # where its first frames are shorter
    resume_seconds: float = 0.0  # what it takes to go on with its next frame


@dataclass(frozen=True)
class Opened:
    """Taps were put where audio passes; again when an input or output appears later."""

    at: float
    hears_user: bool  # there is an input that the caller's audio can come from
    sink: SinkTraits | None  # None where there is no output
    rate: int | None  # the sink's; None where it takes any
    new_input: bool = False  # the user's frames from here on are another input's
    paced_input: bool = False  # no frame of that input comes late, unless nobody takes them


@dataclass(frozen=True)
class Listening:
    """The agent's side takes whatever the caller's line gives; ten times a second."""

    at: float


@dataclass(frozen=True)
class Report:
    """What the sink, or a command to it, says of its playback."""

    at: float


class Started(Report):
    """The sink began to play the segment (again, after a pause, on some versions)."""


@dataclass(frozen=True)
class Progressed(Report):
    """The sink played `duration` seconds of the segment from `offset` on, beginning at `at`."""

    offset: float
    duration: float


@dataclass(frozen=True)
class Finished(Report):
    """The segment is over; `position` seconds of it were played."""

    position: float
    interrupted: bool


class Flushed(Report):
    """No more frames belong to this segment."""


class Cleared(Report):
    """The sink was told to stop at once."""


class Paused(Report):
    """The sink was told to hold its audio."""


class Resumed(Report):
    """The sink was told to go on."""
