"""The caller's channel: frames without time stamps become runs placed where they were heard."""

from __future__ import annotations

from collections import deque

import numpy as np

from .frames import Samples, UserFrame
from .mixer import USER, ResamplerFactory, Run, StereoMixer

GAP = 0.25  # seconds; a frame that is later than this begins a new run
ANCHORING = 0.5  # seconds of a run within which its start may still move to an earlier time
JITTER = 0.05  # seconds between two runs that are timing noise, and no silence
STALL = 5.0  # seconds that a silent source is waited for: its audio may come as a burst
QUIET = 0.75  # seconds, if it is paced and has a listener: then there is nothing that could come
LISTENED = 0.3  # seconds between two signs of a listener; with more, it was held up
DRIFT_WINDOW = 5.0  # seconds over which the earliest arrival tells the source's clock
DRIFT_NOTICED = 0.002  # seconds; less than that is jitter, and the audio stays as it is
DRIFT_STEP = 0.001  # seconds of correction for each second of audio: 1,000 ppm, inaudible


class UserTrack:
    """Places the user's frames in the mixer's left channel.

    A run starts at the minimum of (arrival - cumulative duration) over its first half second, so
    that a burst after a slow start takes its true place. After that the track follows the drift
    between the source's clock and this machine's with single samples, at most 0.1 % of them.
    """

    def __init__(self, started_at: float, make_resampler: ResamplerFactory) -> None:
        self.is_paced = False
        self._make_resampler = make_resampler
        self._run: _HeardRun | None = None
        self._closed: list[_HeardRun] = []
        self._heard_until = started_at
        self._new_source = False
        self._listening_since = self._listening_at = float("-inf")

    def push(self, frame: UserFrame) -> None:
        if frame.is_unpublish:
            self.close()
            return
        pcm = frame.mono_pcm()
        if not pcm or (self._run is not None and self._run.push(frame, pcm)):
            return
        self.close()
        self._run = _HeardRun(frame, new_source=self._new_source)
        self._run.push(frame, pcm)
        self._new_source = False

    def listened(self, at: float) -> None:
        """By `at`, whatever the source had was taken."""
        if at - self._listening_at > LISTENED:
            self._listening_since = at
        self._listening_at = at

    def first_heard_at(self, now: float) -> float | None:
        """When the first run was heard, or None while that can still change."""
        if self._closed:
            return self._closed[0].started_at
        run = self._run
        return run.started_at if run is not None and run.is_anchored(now) else None

    def settled_until(self, now: float) -> float:
        """Up to when this channel can no longer change."""
        run = self._run
        if run is not None and not run.is_anchored(now):
            return self._heard_until
        heard_until = self._heard_until if run is None else run.ended_at
        return max(heard_until, self._quiet_until(now))

    def place(self, mixer: StereoMixer, now: float) -> None:
        """Moves all whose place is certain into the mixer."""
        if self._run is not None and self._run.last_arrival <= self._quiet_until(now):
            self.close()
        for run in self._closed:
            self._place_run(run, mixer)
            run.finish()
        self._closed.clear()
        if self._run is not None and self._run.is_anchored(now):
            self._place_run(self._run, mixer)

    def replace_source(self) -> None:
        """The frames from here on come from another source."""
        self.close()
        self._new_source = True

    def close(self) -> None:
        """The frames from here on, if there are any, begin a new run."""
        if self._run is not None:
            self._closed.append(self._run)
            self._run = None

    def _quiet_until(self, now: float) -> float:
        """Up to when a source that gives nothing has nothing to give."""
        if self.is_paced and self._listening_at - self._listening_since >= QUIET:
            return max(self._listening_at - QUIET, now - STALL)
        return now - STALL

    def _place_run(self, run: _HeardRun, mixer: StereoMixer) -> None:
        run.place(mixer, self._make_resampler)
        self._heard_until = max(self._heard_until, run.ended_at)


class _HeardRun:
    """Frames that came without a gap; the first one still has to be pushed."""

    def __init__(self, first: UserFrame, *, new_source: bool) -> None:
        self.started_at = float("inf")  # the earliest that a frame allows, until it is placed
        self._new_source = new_source
        self._first_arrival = self.last_arrival = first.at
        self._rate = first.rate
        self._pushed = 0  # samples
        self._pending: list[bytes] = []  # s16le, mono
        self._run: Run | None = None
        self._drift = Drift()

    @property
    def ended_at(self) -> float:
        return self.started_at + self._drift.shift + self._pushed / self._rate

    def is_anchored(self, now: float) -> bool:
        return self._run is not None or now - self._first_arrival >= ANCHORING

    def push(self, frame: UserFrame, pcm: bytes) -> bool:
        """Takes the next frame's PCM, unless it comes behind a gap, or at another rate."""
        pushed = self._pushed + len(pcm) // 2
        started_at = frame.at - pushed / self._rate
        lateness = started_at - self.started_at
        if frame.rate != self._rate or lateness - self._drift.shift > GAP:
            return False
        self.last_arrival = frame.at
        self._pushed = pushed
        if self._run is not None:
            self._drift.observe(frame.at, lateness)
        elif lateness < 0:
            self.started_at = started_at
        self._pending.append(pcm)
        return True

    def place(self, mixer: StereoMixer, make_resampler: ResamplerFactory) -> None:
        if self._run is None:
            self._run = Run(mixer, USER, self._position(mixer), self._rate, make_resampler)
        if self._pending:
            samples = np.frombuffer(b"".join(self._pending), dtype="<i2")
            self._pending.clear()
            self._run.push(self._drift.correct(samples, self._rate))

    def finish(self) -> None:
        if self._run is not None:
            self._run.finish()

    def _position(self, mixer: StereoMixer) -> int:
        position = mixer.sample_at(self.started_at)
        filled = mixer.end_sample(USER)
        overlap = (filled - position) / mixer.rate
        near = filled > 0 and -JITTER <= overlap <= GAP
        if near and not self._new_source:  # go on where the run before it ended
            self.started_at = mixer.time_of(filled)
            return filled
        return position  # a longer overlap came too late: the mixer leaves out its beginning


class Drift:
    """How far a run of frames has drifted from this machine's clock, and the correction."""

    def __init__(self) -> None:
        self.shift = 0.0  # seconds by which the run's audio was moved so far
        self._minima: deque[tuple[float, float]] = deque()  # (second, earliest start seen in it)
        self._second_ends = float("-inf")
        self._following = False
        self._allowed = 0.0  # samples that may be added or left out by now

    def observe(self, at: float, lateness: float) -> None:
        """A frame that arrived at `at` puts the run's start `lateness` seconds behind its own."""
        if at < self._second_ends:
            second, least = self._minima[-1]
            if lateness < least:
                self._minima[-1] = (second, lateness)
            return
        second = at // 1.0
        self._second_ends = second + 1.0
        self._minima.append((second, lateness))
        while self._minima[0][0] < second - DRIFT_WINDOW:
            self._minima.popleft()

    def correct(self, samples: Samples, rate: int) -> Samples:
        """`samples` with a few more or less, as the window tells, at most 0.1 % of them."""
        if not self._minima or self._minima[-1][0] - self._minima[0][0] < DRIFT_WINDOW:
            return samples  # a busy machine is late for a second or two, a clock for ever
        target = min(lateness for _, lateness in self._minima) - self.shift
        self._following = abs(target) > (1 / rate if self._following else DRIFT_NOTICED)
        if not self._following:
            self._allowed = 0.0
            return samples
        self._allowed += DRIFT_STEP * len(samples)
        added = max(-int(self._allowed), min(int(self._allowed), round(target * rate)))
        resized = _resized(samples, added)
        changed = len(resized) - len(samples)
        self._allowed -= abs(changed)
        self.shift += changed / rate
        return resized


def _resized(samples: Samples, added: int) -> Samples:
    """Adds or leaves out single samples, each where the waveform is flattest around it."""
    size = (len(samples) - 2) // max(1, abs(added))
    if added == 0 or size < 8:
        return samples
    wide = samples.astype(np.int32)
    steps = np.abs(np.diff(wide))
    steep = steps[1:] + steps[:-1]
    places = [
        1 + i * size + int(np.argmin(steep[i * size : (i + 1) * size])) for i in range(abs(added))
    ]
    if added < 0:
        return np.delete(samples, places)
    between = (wide[places] + wide[[place + 1 for place in places]]) // 2
    return np.insert(samples, [place + 1 for place in places], between.astype(np.int16))
