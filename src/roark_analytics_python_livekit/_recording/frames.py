"""What the taps hand over: frames as they passed, and the sink's reports of playing them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Frame:
    """A stretch of audio, as livekit handed it over.

    Attributes:
        at: When it arrived (user) or when the sink had taken it (agent), in monotonic seconds.
        pcm: s16le, interleaved where there are several channels.
        rate: Samples a second.
        channels: 1 or more.
    """

    at: float
    pcm: bytes
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


@dataclass(frozen=True)
class UserFrame(Frame):
    """A frame of the caller's audio.

    Attributes:
        is_unpublish: livekit made it up when the caller's track went away: it holds no sound, and
            what follows is not behind it.
    """

    is_unpublish: bool = False


class AgentFrame(Frame):
    """A frame of the agent's audio, taken by the sink."""


@dataclass(frozen=True)
class SinkTraits:
    """What may be believed of a sink's reports.

    Attributes:
        reports_start: It says when playback began; until then nothing has been played.
        reports_progress: It says exactly what was played, once it is played.
        plays_elsewhere: Frames are handed on at once and played by somebody else (an avatar):
            only the end of a segment tells when it was played.
        queue_seconds: Audio that a pause throws away instead of playing it later.
        frame_seconds: It plays in frames of this length and pauses between two; 0.0 is one that
            stops to the sample.
        first_frames_seconds: The lengths of its first frames, where they are shorter.
        resume_seconds: What it takes to go on with its next frame.
    """

    reports_start: bool = False
    reports_progress: bool = False
    plays_elsewhere: bool = False
    queue_seconds: float = 0.0
    frame_seconds: float = 0.0
    first_frames_seconds: tuple[float, ...] = ()
    resume_seconds: float = 0.0


@dataclass(frozen=True)
class Opened:
    """Taps were put where audio passes; again when an input or output appears later.

    Attributes:
        at: When, in monotonic seconds.
        hears_user: There is an input that the caller's audio can come from.
        sink: What the agent's sink reports, or None where there is no output.
        rate: The sink's sample rate, or None where it takes any.
        new_input: The user's frames from here on are another input's than those before.
        paced_input: That input hands its frames over as time passes. None comes late, unless
            nobody takes them.
    """

    at: float
    hears_user: bool
    sink: SinkTraits | None
    rate: int | None
    new_input: bool = False
    paced_input: bool = False


@dataclass(frozen=True)
class Listening:
    """The agent's side takes whatever the caller's line gives; ten times a second.

    Attributes:
        at: When that was so, in monotonic seconds.
    """

    at: float


@dataclass(frozen=True)
class Started:
    """The sink began to play the segment (again, after a pause, on some versions)."""

    at: float


@dataclass(frozen=True)
class Progressed:
    """The sink played `duration` seconds of the segment from `offset` on, beginning at `at`."""

    at: float
    offset: float
    duration: float


@dataclass(frozen=True)
class Finished:
    """The segment is over; `position` seconds of it were played."""

    at: float
    position: float
    interrupted: bool


@dataclass(frozen=True)
class Flushed:
    """No more frames belong to this segment."""

    at: float


@dataclass(frozen=True)
class Cleared:
    """The sink was told to stop at once."""

    at: float


@dataclass(frozen=True)
class Paused:
    """The sink was told to hold its audio."""

    at: float


@dataclass(frozen=True)
class Resumed:
    """The sink was told to go on."""

    at: float


Report = Started | Progressed | Finished | Flushed | Cleared | Paused | Resumed
