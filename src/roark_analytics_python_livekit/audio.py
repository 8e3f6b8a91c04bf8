"""`AudioCapture`: what was heard and played, and when, becomes the call's stereo recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from ._recording.agent_track import AgentTrack, Played
from ._recording.frames import Frame, Listening, Opened, Report, Samples, SinkTraits
from ._recording.mixer import ResamplerFactory, StereoMixer
from ._recording.user_track import UserTrack

__all__ = ["AudioCapture", "Played", "StereoMixer"]

Levels = npt.NDArray[np.uint8]
Loud = npt.NDArray[np.bool_]

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
    """

    def __init__(
        self,
        opened: Opened,
        make_resampler: ResamplerFactory,
        *,
        silences: Silences = lambda start, end: (),
    ) -> None:
        self.rate = opened.rate
        self._hears_user = opened.hears_user
        self._start = opened.at
        self._user = UserTrack(opened.at, make_resampler)
        self._user.is_paced = opened.paced_input
        self._agent = AgentTrack(opened.sink or SinkTraits(), make_resampler)
        self._mixer: StereoMixer | None = None
        self._origin = opened.at
        self._silences = silences
        self._loudness = Loudness()

    def reopened(self, opened: Opened) -> None:
        """An input or output appeared, or was replaced, in the middle of the call."""
        self.rate = self.rate or opened.rate
        self._hears_user = opened.hears_user
        if opened.new_input:
            self._user.replaced()
        self._user.is_paced = opened.paced_input
        if opened.sink is not None:
            self._agent.traits = opened.sink

    def heard(self, frame: Frame) -> None:
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

    def settle(self, now: float) -> bytes:
        """PCM that has become certain since the last time: s16le, left user, right agent."""
        if self._mixer is None:
            self._begin(now)
        if self._mixer is None:
            return b""
        self._user.place(self._mixer, self._origin, now)
        heard = self._user.settled(now) if self._hears_user else now
        return self._emit(min(heard, self._agent.settled(now)))

    def finish(self, now: float) -> bytes:
        """The rest of the PCM, up to `now`; nothing follows."""
        self._user.end()
        self._agent.end(now)
        if self._mixer is None:
            self._begin(now, wait=False)
        assert self._mixer is not None
        self._user.place(self._mixer, self._origin, now)
        return self._emit(now, final=True)

    @property
    def origin(self) -> float:
        """When the recording's first sample was, in monotonic seconds."""
        return self._origin

    def voiced(self, start: float, end: float) -> tuple[float, float]:
        """Where in the user's channel the speech around [start, end] really begins and ends."""
        begin, stop = self._loudness.voiced(start - self._origin, end - self._origin)
        return self._origin + begin, self._origin + stop

    def _begin(self, now: float, *, wait: bool = True) -> None:
        first = self._user.first_start(now)
        waiting = self._hears_user and first is None and now - self._start < FIRST_AUDIO
        if wait and waiting:
            return
        if first is not None:
            self._origin = min(self._start, first)
        self.rate = self.rate or DEFAULT_RATE
        self._mixer = StereoMixer(self.rate)

    def _emit(self, until: float, *, final: bool = False) -> bytes:
        mixer = self._mixer
        assert mixer is not None
        self._agent.place(mixer, self._origin, until)
        end = round((until - self._origin) * mixer.rate)
        if not final:
            limits = [self._user.limit(), self._agent.limit()]
            end = min([end, *(limit for limit in limits if limit is not None)])
        start = mixer.settled
        return self._finished_pcm(mixer.settle(end), start, mixer.rate)

    def _finished_pcm(self, pcm: bytes, start: int, rate: int) -> bytes:
        if not pcm:
            return pcm
        block = np.frombuffer(pcm, dtype="<i2").reshape(-1, 2).copy()
        begin, end = self._origin + start / rate, self._origin + (start + len(block)) / rate
        for span in self._silences(begin, end):
            inside = (min(max(at, begin), end) for at in span)
            first, last = (round((at - self._origin) * rate) - start for at in inside)
            block[first:last] = 0
        self._loudness.add(block[:, 0], rate)
        return bytes(block.data)


class Loudness:
    """The user channel's level every 10 ms, kept for the whole call (100 bytes a second)."""

    STEP = 0.01  # seconds, or the nearest that is a whole number of samples
    PAUSE = 0.2  # seconds of quiet that a word boundary may have
    REACH = 0.6  # seconds around a voice detector's verdict that are looked at
    ABOVE_NOISE = 6.0  # dB; 10 ms of steady noise vary by less
    BELOW_VOICE = 40.0  # dB; what is fainter than this is not heard as speech, however quiet it is

    def __init__(self) -> None:
        self._levels = bytearray()  # dB above one unit of s16le
        self._step = self.STEP
        self._rest = np.zeros(0, np.int16)

    def add(self, samples: Samples, rate: int) -> None:
        """Appends the channel's next samples."""
        size = round(self.STEP * rate)
        self._step = size / rate
        samples = np.concatenate([self._rest, samples])
        count = len(samples) // size
        blocks = samples[: count * size].reshape(count, size).astype(np.float32)
        power = np.sqrt((blocks * blocks).mean(axis=1) + 1e-9)
        self._levels += np.clip(20 * np.log10(power + 1.0), 0, 255).astype(np.uint8).tobytes()
        self._rest = samples[count * size :]

    def voiced(self, start: float, end: float) -> tuple[float, float]:
        """The true first and last moment of the speech that a detector saw in [start, end].

        Args:
            start: Seconds from the recording's first sample.
            end: Likewise.
        """
        low = max(0, int((start - self.REACH) / self._step))
        high = max(low, int((end + self.REACH) / self._step) + 1)
        window = np.frombuffer(self._levels[low:high], np.uint8)
        first, last = int(start / self._step) - low, int(end / self._step) - low
        inside = slice(max(0, first), max(1, last))
        if len(window[inside]) == 0:
            return start, end
        loud = self._loud(window, float(np.percentile(window[inside], 95)))
        if not loud[inside].any():
            return start, end
        first, last = _grow(loud, inside.start, inside.stop - 1, round(self.PAUSE / self._step))
        return (low + first) * self._step, (low + last + 1) * self._step

    def _loud(self, levels: Levels, voice: float) -> Loud:
        noise = float(np.percentile(levels, 5))
        loud: Loud = levels > max(noise + self.ABOVE_NOISE, voice - self.BELOW_VOICE)
        beside = np.zeros_like(loud)  # a single step is a click
        beside[1:] |= loud[:-1]
        beside[:-1] |= loud[1:]
        return loud & beside


def _grow(loud: Loud, first: int, last: int, bridge: int) -> tuple[int, int]:
    """The loud stretch that holds [first, last], over quiet parts of at most `bridge` steps."""
    spots = np.flatnonzero(loud)
    inside = spots[(spots >= first) & (spots <= last)]
    before, after = spots[spots < inside[0]][::-1], spots[spots > inside[-1]]
    begin, end = int(inside[0]), int(inside[-1])
    for spot in before:
        if begin - spot > bridge:
            break
        begin = int(spot)
    for spot in after:
        if spot - end > bridge:
            break
        end = int(spot)
    return begin, end
