"""The instrument itself: sounds whose place is known must be found there."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("livekit.agents")


from offline.speech import SAMPLE_RATE, synthesize
from tests.support.correlation import find, resampled, voice_end

RATE = 24_000
VOICE = synthesize("I am sorry, but I cannot refund this order, it has left our warehouse.")
OTHER = synthesize("Of course, I will put you through to billing.", "en-us+m3")


def _recording(*placed: tuple[float, np.ndarray], seconds: float = 12.0) -> np.ndarray:
    channel = np.zeros(round(seconds * RATE))
    for start, sound in placed:
        first = round(start * RATE)
        channel[first : first + len(sound)] += sound
    return channel.astype(np.int16)


@pytest.mark.parametrize("start", [0.0, 0.731, 5.5])
def test_a_sound_is_found_to_the_sample_at_another_rate(start: float) -> None:
    """The place is right to a tenth of a millisecond, looked for everywhere or nearby."""
    channel = _recording((start, resampled(VOICE, SAMPLE_RATE, RATE)))
    for near in (None, start + 0.3):
        offset, score = find(VOICE, SAMPLE_RATE, channel, RATE, near)
        assert offset == pytest.approx(start, abs=1e-4)
        assert score > 0.99


def test_a_sound_that_is_not_there_scores_low() -> None:
    """Another voice is no match."""
    channel = _recording((2.0, resampled(OTHER, SAMPLE_RATE, RATE)))
    assert find(VOICE, SAMPLE_RATE, channel, RATE)[1] < 0.3
    assert find(VOICE, SAMPLE_RATE, np.zeros(RATE, dtype=np.int16), RATE)[1] == 0.0


def test_near_looks_only_there() -> None:
    """Of two occurrences the one nearby is found, although the other is first."""
    sound = resampled(VOICE, SAMPLE_RATE, RATE)
    channel = _recording((0.5, sound), (7.0, sound), seconds=14.0)
    assert find(VOICE, SAMPLE_RATE, channel, RATE, 6.8)[0] == pytest.approx(7.0, abs=1e-4)


def test_a_start_before_the_recording_is_negative() -> None:
    """A recording that misses the beginning of an utterance says by how much."""
    channel = resampled(VOICE, SAMPLE_RATE, RATE)[round(0.25 * RATE) :].astype(np.int16)
    assert find(VOICE, SAMPLE_RATE, channel, RATE)[0] == pytest.approx(-0.25, abs=1e-4)


@pytest.mark.parametrize("cut", [0.333, 1.2, 1.742, 2.9])
@pytest.mark.parametrize("followed", [False, True])
def test_the_end_of_an_interrupted_sound_is_found(cut: float, followed: bool) -> None:
    """Whether silence or another sound follows, the cut is found within 5 ms."""
    start = 1.0004
    whole = resampled(VOICE, SAMPLE_RATE, RATE)
    placed = [(start, whole[: round(cut * RATE)])]
    if followed:
        placed.append((start + cut, resampled(OTHER, SAMPLE_RATE, RATE)))
    channel = _recording(*placed)
    offset, _ = find(VOICE[: round(0.3 * SAMPLE_RATE)], SAMPLE_RATE, channel, RATE, start)
    assert voice_end(VOICE, SAMPLE_RATE, channel, RATE, offset) == pytest.approx(cut, abs=0.005)


def test_a_sound_that_was_not_cut_is_all_there() -> None:
    """The end of a whole sound is its length."""
    channel = _recording((1.0, resampled(VOICE, SAMPLE_RATE, RATE)))
    whole = len(VOICE) / SAMPLE_RATE
    assert voice_end(VOICE, SAMPLE_RATE, channel, RATE, 1.0) == pytest.approx(whole, abs=1e-3)
