"""Two hours of a caller whose clock is not this machine's, in a few seconds."""

from __future__ import annotations

import numpy as np

from roark_analytics_python_livekit._recording.frames import Opened, UserFrame
from roark_analytics_python_livekit.audio import AudioCapture

RATE = 8_000
FRAME = 0.05  # seconds
HOURS = 2.0
EVERY = 60.0  # seconds between two clicks
JITTER = 0.004  # seconds that a frame is late, at most
START = 1_000.0


def worst_drift(ppm: float) -> float:
    """The worst distance, in seconds, of a click from where it was heard.

    Args:
        ppm: How much faster than this machine's the caller's clock is (300e-6 is a bad one).
    """
    capture = AudioCapture(
        Opened(START, hears_user=True, sink=None, rate=RATE), lambda *_: _NoResampler()
    )
    chance = np.random.default_rng(1)
    size = round(FRAME * RATE)
    heard: list[float] = []
    clicks: list[int] = []
    done = 0
    for number in range(round(HOURS * 3600 / FRAME)):
        samples = np.zeros(size, np.int16)
        at = (number + 1) * FRAME / (1 + ppm)
        if number % round(EVERY / FRAME) == 0:
            samples[0:8] = 20_000
            heard.append(number * FRAME / (1 + ppm))
        capture.heard(UserFrame(START + at + chance.uniform(0, JITTER), samples.tobytes(), RATE))
        if number % 20 == 0:
            done = _collect(capture.settle(START + at), done, clicks)
    _collect(capture.finish(START + at), done, clicks)
    places = [clicks[0], *(b for a, b in zip(clicks, clicks[1:], strict=False) if b - a > RATE)]
    errors = [place / RATE - moment for place, moment in zip(places, heard, strict=True)]
    return max(abs(error - errors[0]) for error in errors)


def _collect(pcm: bytes, done: int, clicks: list[int]) -> int:
    left = np.frombuffer(pcm, "<i2")[::2]
    clicks.extend(int(place) + done for place in np.flatnonzero(left > 10_000))
    return done + len(left)


class _NoResampler:
    def push(self, samples: np.ndarray) -> np.ndarray:
        raise AssertionError

    def flush(self) -> np.ndarray:
        raise AssertionError
