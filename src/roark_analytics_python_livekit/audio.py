"""`AudioCapture`: what was heard and played, and when, becomes the call's stereo recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ._recording.agent_track import AgentTrack, Played
from ._recording.frames import Frame, Listening, Opened, Report, SinkTraits, UserFrame
from ._recording.levels import Loudness
from ._recording.mixer import ResamplerFactory, StereoMixer
from ._recording.user_track import UserTrack

__all__ = ["AudioCapture", "Played", "StereoMixer"]

DEFAULT_RATE = 24_000  # Hz, where the agent's output does not say: livekit's own default
FIRST_AUDIO = 5.0  # seconds that the recording's beginning waits for the user's first frame

Silences = Callable[[float, float], Iterable[tuple[float, float]]]
"""(start, end) → the silenced spans that overlap it, all in monotonic seconds."""


class AudioCapture:
    """Turns frames and playback reports into interleaved stereo, a moment after they happened.

    The recording begins when capturing began, or earlier where the user's first audio turns out
    to be older (livekit buffers it while a session starts). It is one continuous time line.

    Args:
        opened: When capturing began, and from and to what. The recording has the sink's sample
            rate; where that takes any, the agent's first frame's; else 24 kHz.
        make_resampler: A streaming resampler for rates that differ from the recording's.
        silences: Asked where both channels are silenced, each time PCM is given out. A span
            that has no end yet ends at infinity.

    Attributes:
        rate: Samples a second of the recording; None while that is not known.
        origin: When the recording's first sample was, in monotonic seconds.
    """

    def __init__(
        self,
        opened: Opened,
        make_resampler: ResamplerFactory,
        *,
        silences: Silences = lambda start, end: (),
    ) -> None:
        self.rate = opened.rate
        self.origin = opened.at
        self._hears_user = opened.hears_user
        self._user = UserTrack(opened.at, make_resampler)
        self._user.is_paced = opened.paced_input
        self._agent = AgentTrack(opened.sink or SinkTraits(), make_resampler)
        self._mixer: StereoMixer | None = None
        self._silences = silences
        self._loudness = Loudness()

    def reopened(self, opened: Opened) -> None:
        """An input or output appeared, or was replaced, in the middle of the call."""
        self.rate = self.rate or opened.rate
        self._hears_user = opened.hears_user
        if opened.new_input:
            self._user.replace_source()
        self._user.is_paced = opened.paced_input
        if opened.sink is not None:
            self._agent.traits = opened.sink

    def heard(self, frame: UserFrame) -> None:
        """Takes a frame of the user's audio."""
        self._user.push(frame)

    def listening(self, sign: Listening) -> None:
        """Takes a sign that the user's audio is being listened to."""
        self._user.listened(sign.at)

    def captured(self, frame: Frame) -> None:
        """Takes a frame of the agent's audio that the sink has accepted."""
        if self.rate is None:
            self.rate = frame.rate
        self._agent.push(frame)

    def report(self, report: Report) -> None:
        """Takes what the agent's sink says of its playback."""
        self._agent.report(report)

    def take_played(self) -> list[Played]:
        """The agent's speech segments that ended since this was last asked."""
        return self._agent.take_played()

    def voiced(self, started_at: float, ended_at: float) -> tuple[float, float]:
        """Where in the user's channel the speech around a span really begins and ends."""
        found = self._loudness.voiced(started_at - self.origin, ended_at - self.origin)
        return self.origin + found[0], self.origin + found[1]

    def settle(self, now: float) -> bytes:
        """PCM that has become certain since the last time: s16le, left user, right agent."""
        if self._mixer is None and self._waits_for_user(now):
            return b""
        mixer = self._begun(now)
        self._user.place(mixer, now)
        heard_until = self._user.settled_until(now) if self._hears_user else now
        until = min(heard_until, self._agent.settled_until(now))
        self._agent.place(mixer, until)
        end_sample = mixer.sample_at(until)
        for run in mixer.open_runs:
            end_sample = min(end_sample, run.end_sample)
        return self._pcm(mixer, end_sample)

    def finish(self, now: float) -> bytes:
        """The rest of the PCM, up to `now`; nothing follows."""
        self._user.close()
        self._agent.close(now)
        mixer = self._begun(now)
        self._user.place(mixer, now)
        self._agent.place(mixer, now)
        return self._pcm(mixer, mixer.sample_at(now))

    def _waits_for_user(self, now: float) -> bool:
        """Whether the user's first audio may yet move the recording's beginning."""
        waits = self._hears_user and now - self.origin < FIRST_AUDIO
        return waits and self._user.first_heard_at(now) is None

    def _begun(self, now: float) -> StereoMixer:
        """The mixer; where there was none, the recording begins."""
        if self._mixer is None:
            first = self._user.first_heard_at(now)
            self.origin = self.origin if first is None else min(self.origin, first)
            self.rate = self.rate or DEFAULT_RATE
            self._mixer = StereoMixer(self.rate, self.origin)
        return self._mixer

    def _pcm(self, mixer: StereoMixer, end_sample: int) -> bytes:
        first_sample = mixer.settled_samples
        block = mixer.settle(end_sample)
        if not len(block):
            return b""
        begin, end = mixer.time_of(first_sample), mixer.time_of(end_sample)
        for span in self._silences(begin, end):
            first, last = (mixer.sample_at(min(max(at, begin), end)) for at in span)
            block[first - first_sample : last - first_sample] = 0
        self._loudness.add(block[:, 0], mixer.rate)
        return block.tobytes()
