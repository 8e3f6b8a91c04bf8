"""`voiced()`: where the speech that a detector saw really begins and ends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from roark_analytics_python_livekit._recording.levels import Loudness

Sound = npt.NDArray[np.float64]

BEGIN = 2.0  # seconds; where the speech begins


def word(
    rng: np.random.Generator, seconds: float, rate: int, attack: float, release: float
) -> Sound:
    """A voiced sound: harmonics of a moving pitch, syllables, and a soft end."""
    times = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(90, 220) * (1 + 0.1 * np.sin(4 * np.pi * times))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 12))
    syllables = 0.65 + 0.35 * np.cos(8 * np.pi * times + rng.uniform(0, 6))
    rising, falling = round(attack * rate), round(release * rate)
    envelope = np.ones(len(times))
    envelope[:rising] *= (1 - np.cos(np.pi * np.arange(rising) / rising)) / 2
    envelope[-falling:] *= (1 + np.cos(np.pi * np.arange(falling) / falling)) / 2
    sound = voice * syllables * envelope
    loudest: Sound = sound / np.abs(sound).max()
    return loudest


class Recorded:
    """Two words in a noisy line, and their levels.

    Args:
        seed: Of everything that is chance.
        noise: The line's, in dB of full scale; None is digital silence.
        voice: The voice's peak, in dB of full scale.
    """

    def __init__(
        self,
        seed: int,
        *,
        noise: float | None = -60.0,
        voice: float = -12.0,
        attack: float = 0.02,
        release: float = 0.06,
        between: float = 0.1,
        rate: int = 24_000,
    ) -> None:
        rng = np.random.default_rng(seed)
        line = np.zeros(round(6.0 * rate))
        at = BEGIN
        for rise, fall in ((attack, 0.05), (0.03, release)):
            sound = word(rng, rng.uniform(0.4, 0.8), rate, rise, fall) * self.level(voice)
            first = round(at * rate)
            line[first : first + len(sound)] += sound
            self.end = at + len(sound) / rate
            at = self.end + between
        if noise is not None:
            line += rng.normal(0, self.level(noise), len(line))
        self.line = line
        self.rate = rate

    @staticmethod
    def level(decibels: float) -> float:
        """dB of full scale as s16le counts."""
        return float(32_767 * 10 ** (decibels / 20))

    def voiced(self, begin: float, end: float) -> tuple[float, float]:
        """What is said of a detector's verdict, as errors in seconds."""
        loudness = Loudness()
        samples = self.line.clip(-32_768, 32_767).astype(np.int16)
        for part in np.array_split(samples, 60):
            loudness.add(part, self.rate)
        found = loudness.voiced(begin, end)
        return found[0] - BEGIN, found[1] - self.end


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("noise", [None, -75.0, -60.0, -55.0])
def test_the_true_edges_of_a_voice_are_found(noise: float | None, seed: int) -> None:
    """A detector is off by a few 100 ms either way; the levels tell to 20 ms."""
    rng = np.random.default_rng(seed + 100)
    recorded = Recorded(seed, noise=noise, release=0.03 + 0.004 * seed)
    onset, offset = recorded.voiced(
        BEGIN + rng.uniform(-0.3, 0.3), recorded.end + rng.uniform(-0.3, 0.5)
    )
    assert abs(onset) <= 0.02
    assert abs(offset) <= 0.02


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_every_rate_has_the_same_seconds(rate: int) -> None:
    """22.05 kHz has no whole number of samples in 10 ms: nothing drifts."""
    recorded = Recorded(3, rate=rate)
    shifted = np.concatenate([np.zeros(600 * rate), recorded.line])
    loudness = Loudness()
    loudness.add(shifted.clip(-32_768, 32_767).astype(np.int16), rate)
    begin, end = loudness.voiced(600 + BEGIN + 0.1, 600 + recorded.end + 0.2)
    assert begin == pytest.approx(600 + BEGIN, abs=0.02)
    assert end == pytest.approx(600 + recorded.end, abs=0.02)


@pytest.mark.parametrize("noise", [-50.0, -40.0, -35.0])
def test_a_noisy_line_is_not_taken_for_speech(noise: float) -> None:
    """What is lost in the noise is lost: never does the speech become longer."""
    for seed in range(8):
        recorded = Recorded(seed, noise=noise)
        onset, offset = recorded.voiced(BEGIN + 0.1, recorded.end - 0.1)
        assert -0.02 <= onset <= 0.1
        assert -0.1 <= offset <= 0.02


def test_a_click_beside_the_speech_does_not_belong_to_it() -> None:
    """A single loud 10 ms step, 150 ms behind the last word."""
    recorded = Recorded(5)
    first = round((recorded.end + 0.15) * recorded.rate)
    recorded.line[first : first + 40] += 15_000
    onset, offset = recorded.voiced(BEGIN + 0.1, recorded.end + 0.1)
    assert abs(onset) <= 0.02 and abs(offset) <= 0.02


def test_another_utterance_is_left_alone() -> None:
    """What is 300 ms away is another one's business."""
    recorded = Recorded(6, between=0.32)
    _, offset = recorded.voiced(BEGIN + 0.1, BEGIN + 0.3)
    assert offset < -0.5


def test_a_verdict_on_silence_is_left_as_it_is() -> None:
    """There is nothing to say better."""
    recorded = Recorded(7)
    onset, offset = recorded.voiced(0.5, 1.0)
    assert (onset + BEGIN, offset + recorded.end) == pytest.approx((0.5, 1.0))


@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.0), (3.0, 2.0), (50.0, 60.0), (-2.0, -1.0)])
def test_a_verdict_that_makes_no_sense_is_left_as_it_is(begin: float, end: float) -> None:
    """Empty, backwards, or outside of what was recorded."""
    loudness = Loudness()
    loudness.add(np.zeros(4 * 8000, np.int16), 8000)
    assert loudness.voiced(begin, end) == (begin, end)


def test_nothing_recorded_yet_is_no_error() -> None:
    """Asked before the first sample."""
    assert Loudness().voiced(1.0, 2.0) == (1.0, 2.0)
