"""`StereoMixer` and `Run`: placed mono becomes interleaved stereo, each sample once."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roark_analytics_python_livekit._recording.frames import Samples
from roark_analytics_python_livekit._recording.mixer import AGENT, USER, Run, StereoMixer
from tests.support.signals import LinearResampler, sine

steady = settings(deadline=None, derandomize=True, database=None, max_examples=150)

places = st.tuples(
    st.sampled_from([USER, AGENT]),
    st.integers(0, 400),  # position
    st.integers(1, 120),  # samples
)
steps = st.lists(st.one_of(places, st.integers(0, 120)), max_size=30)  # an integer: settle more


def test_what_is_nowhere_placed_is_silence() -> None:
    """Both channels are as long as was asked for, and all zero."""
    assert StereoMixer(8000).settle(3).tolist() == [[0, 0]] * 3


def test_left_is_the_user_and_right_is_the_agent() -> None:
    """Samples stand where they were placed, interleaved."""
    mixer = StereoMixer(8000)
    mixer.place(USER, 1, np.array([5, 6], np.int16))
    mixer.place(AGENT, 0, np.array([-7], np.int16))
    assert mixer.settle(4).tolist() == [[0, -7], [5, 0], [6, 0], [0, 0]]


def test_what_is_settled_is_given_once() -> None:
    """Asking again for the same, or for less, gives nothing."""
    mixer = StereoMixer(8000)
    assert len(mixer.settle(10)) == 10
    assert len(mixer.settle(10)) == 0
    assert len(mixer.settle(5)) == 0
    assert mixer.settled_samples == 10


def test_a_moment_has_its_sample() -> None:
    """The time line begins at the origin."""
    mixer = StereoMixer(8000, 100.0)
    assert (mixer.sample_at(100.0), mixer.sample_at(100.5), mixer.sample_at(99.0)) == (
        0,
        4000,
        -8000,
    )
    assert mixer.time_of(4000) == 100.5


def test_samples_that_come_too_late_are_left_out() -> None:
    """What lies before the settled mark is lost; the rest stands in its place."""
    mixer = StereoMixer(8000)
    mixer.settle(10)
    mixer.place(USER, 7, np.arange(1, 6, dtype=np.int16))
    assert mixer.settle(12)[:, 0].tolist() == [4, 5]


def test_a_channel_does_not_write_over_what_it_has() -> None:
    """A run that begins before the one before it is over loses its beginning."""
    mixer = StereoMixer(8000)
    mixer.place(AGENT, 0, np.full(4, 1, np.int16))
    mixer.place(AGENT, 2, np.full(4, 2, np.int16))
    assert mixer.settle(6)[:, 1].tolist() == [1, 1, 1, 1, 2, 2]
    assert mixer.end_sample(AGENT) == 6


@steady
@given(steps)
def test_both_channels_match_a_tape_that_is_kept_whole(
    given_steps: list[tuple[int, int, int] | int],
) -> None:
    """However placing and settling alternate: nothing lost, doubled or moved, lengths equal."""
    mixer, tape, ends = StereoMixer(8000), np.zeros((6000, 2), np.int16), [0, 0]
    settled, number, out = 0, 1, [mixer.settle(0)]
    for step in given_steps:
        if isinstance(step, int):
            settled += step
            out.append(mixer.settle(settled))
            assert sum(map(len, out)) == settled
            continue
        channel, position, count = step
        samples = np.arange(number, number + count, dtype=np.int16)
        number += count
        mixer.place(channel, position, samples)
        begin = max(position, ends[channel], settled)
        kept = samples[max(0, min(count, begin - position)) :]
        if len(kept):
            tape[begin : begin + len(kept), channel] = kept
            ends[channel] = begin + len(kept)
        assert mixer.end_sample(channel) == max(ends[channel], settled)
    out.append(mixer.settle(6000))
    assert np.array_equal(np.concatenate(out), tape)


def test_nothing_is_kept_before_the_settled_mark() -> None:
    """Memory is bounded by what was placed ahead of it."""
    mixer = StereoMixer(8000)
    kept: list[weakref.ref[Samples]] = []
    for i in range(10):
        samples = np.full(100, i + 1, np.int16)
        kept.append(weakref.ref(samples))
        mixer.place(USER, i * 100, samples)
        del samples
    mixer.settle(650)
    gc.collect()
    assert [ref() is not None for ref in kept] == [False] * 6 + [True] * 4


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_a_run_of_another_rate_keeps_its_length(rate: int) -> None:
    """A second stays a second, and the run's end moves with what came out of the resampler."""
    mixer = StereoMixer(24_000)
    run = Run(mixer, USER, 2400, rate, LinearResampler)
    tone = sine(200, 1.0, rate)
    for part in np.array_split(tone, 37):
        run.push(part)
        assert run.end_sample == mixer.end_sample(USER) <= 2400 + 24_000
    run.finish()
    assert abs(run.end_sample - (2400 + 24_000)) <= 2
    left = mixer.settle(27_000)[:, 0]
    assert not left[:2400].any()
    expected = sine(200, 1.0, 24_000).astype(int)
    assert np.abs(left[2400 : 2400 + 23_990] - expected[:23_990]).max() < 60


def test_a_run_of_the_same_rate_is_left_as_it_is() -> None:
    """No resampler is made where none is needed."""

    def no_resampler(before: int, after: int) -> LinearResampler:
        raise AssertionError("there is nothing to resample")

    mixer = StereoMixer(8000)
    run = Run(mixer, AGENT, 5, 8000, no_resampler)
    run.push(np.array([1, 2], np.int16))
    run.finish()
    assert run.end_sample == 7
    assert mixer.settle(7)[5:, 1].tolist() == [1, 2]
