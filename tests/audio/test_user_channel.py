"""The caller's channel: frames without time stamps, placed where they were heard."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roark_analytics_python_livekit._recording.frames import Listening, Opened, Samples, UserFrame
from roark_analytics_python_livekit._recording.user_track import Drift
from tests.audio.playback_harness import Line, spoken, stalled, when_said
from tests.support.signals import Times, difference, sine, user_frame

steady = settings(deadline=None, derandomize=True, database=None, max_examples=60)

RATE = 8000


def check(line: Line, start: float, seconds: float, tolerance: float) -> None:
    """Everything said from `start` on is there, once, and in its place."""
    said = when_said(start, seconds, line.source_rate)
    found = difference(line.times(len(said)), said, line.source_rate, tolerance)
    assert found.total == 0, found


def test_what_is_heard_live_stands_where_it_was_said() -> None:
    """A frame is there when its last sample was said: its first was a frame earlier."""
    line = Line(RATE)
    line.hear(spoken(0.3, 3.0, RATE))
    line.finish(4.0)
    check(line, 0.3, 3.0, 0.001)


def test_a_burst_after_a_slow_start_takes_its_true_place() -> None:
    """livekit buffers while a session starts, and hands over seconds at once."""
    line = Line(RATE, opened=2.0)
    line.hear(stalled(0.0, 4.0, spoken(2.5, 4.0, RATE)))
    line.finish(7.0)
    check(line, 2.5, 4.0, 0.001)


def test_the_recording_begins_with_audio_that_is_older_than_the_taps() -> None:
    """Nothing said before the taps were in is lost; moments move along."""
    line = Line(RATE, opened=10.0)
    line.hear(stalled(0.0, 10.2, spoken(7.0, 5.0, RATE)))
    line.finish(12.5)
    assert line.capture.origin == pytest.approx(7.0)
    assert line.length == pytest.approx(5.5)
    check(line, 7.0, 5.0, 0.001)


def test_a_first_word_long_after_the_beginning_stands_in_its_place() -> None:
    """The recording does not wait for ever for the caller's first frame."""
    line = Line(RATE)
    line.go(8.0)
    assert len(line.pcm) > 0
    line.hear(spoken(9.0, 2.0, RATE))
    line.finish(12.0)
    check(line, 9.0, 2.0, 0.001)


def test_a_gap_is_silence() -> None:
    """Frames that stay away for more than a quarter of a second leave a hole of that length."""
    line = Line(RATE)
    line.hear(spoken(0.0, 1.0, RATE))
    line.hear(spoken(1.4, 1.0, RATE, first=RATE))
    left = line.finish(3.0)
    assert not left[RATE : round(1.4 * RATE)].any()
    assert left[RATE - 1] and left[round(1.4 * RATE)]
    times = line.times(2 * RATE)
    assert abs(times[RATE] - 1.4) < 0.001


@steady
@given(st.integers(0, 2**32), st.sampled_from([0.01, 0.02, 0.05]))
def test_jitter_does_not_break_a_run(seed: int, frame: float) -> None:
    """Frames that are late by less than a quarter of a second follow each other without a hole."""
    rng = random.Random(seed)
    last, late = 0.0, []
    for at, samples in spoken(0.0, 4.0, RATE, frame):
        last = max(last, at + (rng.uniform(0, 0.24) if rng.random() < 0.05 and at > 0.3 else 0))
        late.append((last, samples))
    line = Line(RATE)
    line.hear(late)
    line.finish(5.0)
    check(line, 0.0, 4.0, 0.001)


@pytest.mark.parametrize("seconds", [0.3, 0.6, 2.0, 4.5])
def test_a_stall_in_the_call_leaves_no_hole_and_loses_nothing(seconds: float) -> None:
    """The agent's loop was held: what was said meanwhile comes as a burst."""
    line = Line(RATE)
    line.hear(stalled(1.52, 1.52 + seconds, spoken(0.0, 7.0, RATE)))
    line.finish(8.0)
    check(line, 0.0, 7.0, 0.001)


@steady
@given(
    st.lists(st.tuples(st.floats(0.2, 1.5), st.floats(0.05, 2.0)), max_size=3),
    st.integers(0, 2**32),
)
def test_stalls_and_jitter_leave_no_hole(stalls: list[tuple[float, float]], seed: int) -> None:
    """However often: sound goes on without a hole, in order, within 25 ms of its moment."""
    rng = random.Random(seed)
    arrivals = [(at + rng.uniform(0, 0.02), samples) for at, samples in spoken(0.0, 8.0, RATE)]
    moment = 0.0
    for after, seconds in stalls:
        if moment + after + seconds > 7.0:
            break  # only frames that come in time after a burst tell how old it is
        arrivals = list(stalled(moment + after, moment + after + seconds, arrivals))
        moment += after + seconds
    line = Line(RATE)
    line.hear(sorted(arrivals, key=lambda arrival: arrival[0]))
    left = line.finish(9.0)
    places = np.flatnonzero(left)
    numbers = left[places].view(np.uint16).astype(int) - 1
    assert np.diff(places).max() == 1
    assert set(np.diff(numbers)) <= {0, 1, 2}  # single samples follow the clock
    assert np.abs(line.capture.origin + places / RATE - numbers / RATE).max() < 0.025


def test_a_stall_longer_than_is_waited_for_loses_only_what_was_given_out() -> None:
    """The recording went on without it: the rest of the burst still stands in its place."""
    rate = 4000
    line = Line(rate)
    line.hear(stalled(1.02, 9.02, spoken(0.0, 10.0, rate)))
    line.finish(11.0)
    found = difference(line.times(10 * rate), when_said(0.0, 10.0, rate), rate, 0.001)
    assert found.misplaced == 0
    assert 2.9 < found.missing < 3.2
    assert line.length == 11.0


def test_the_frame_at_an_unpublish_does_not_move_what_follows() -> None:
    """RoomIO pushes half a second of zeros at once when a track goes away."""
    line = Line(RATE)
    line.hear(spoken(0.0, 2.0, RATE))
    line.unpublish(2.01)
    line.hear(spoken(6.0, 2.0, RATE, first=2 * RATE))
    left = line.finish(9.0)
    times = line.times(4 * RATE)
    said = np.concatenate([when_said(0.0, 2.0, RATE), when_said(6.0, 2.0, RATE)])
    assert np.abs(times - said).max() < 0.001
    assert not left[2 * RATE : 6 * RATE].any()


def test_a_track_that_comes_back_at_once_goes_on() -> None:
    """Unpublished and published again within the zeros' length: nothing is lost or moved."""
    line = Line(RATE)
    line.hear(spoken(0.0, 2.0, RATE))
    line.unpublish(2.01)
    line.hear(spoken(2.2, 2.0, RATE, first=2 * RATE))
    line.finish(5.0)
    said = np.concatenate([when_said(0.0, 2.0, RATE), when_said(2.2, 2.0, RATE)])
    assert np.abs(line.times(4 * RATE) - said).max() < 0.001


@pytest.mark.parametrize(("new_input", "begin"), [(True, 2.03), (False, 2.0)])
def test_another_input_is_not_taken_for_the_one_before(new_input: bool, begin: float) -> None:
    """30 ms between two inputs are silence; from one input they are a frame that came late."""
    line = Line(RATE)
    line.hear(spoken(0.0, 2.0, RATE))
    line.capture.reopened(Opened(2.0, True, None, RATE, new_input=new_input))
    line.hear(spoken(2.03, 1.0, RATE, first=2 * RATE))
    line.finish(4.0)
    assert line.times(3 * RATE)[2 * RATE] == pytest.approx(begin, abs=0.001)


def test_a_caller_who_falls_silent_does_not_hold_back_the_recording() -> None:
    """Frames stop without a word (a track that is muted): output goes on 5 s later."""
    line = Line(RATE)
    line.hear(spoken(0.0, 2.0, RATE))
    line.go(20.0)
    assert 20.0 - line.length < 5.2


def test_a_line_that_gives_nothing_and_is_listened_to_holds_nothing_back() -> None:
    """RoomIO's frames come as time passes: where there is none, there is nothing to wait for."""
    line = Line(RATE, paced=True)
    line.hear(spoken(0.0, 2.0, RATE))
    for second in range(3, 10):
        line.go(second)
        assert second - line.length < 1.0
    line.hear(spoken(10.0, 2.0, RATE, first=2 * RATE))
    line.finish(12.5)
    said = np.concatenate([when_said(0.0, 2.0, RATE), when_said(10.0, 2.0, RATE)])
    assert np.abs(line.times(4 * RATE) - said).max() < 0.001


@pytest.mark.parametrize("seconds", [0.2, 0.29, 0.5, 2.0, 4.0])
def test_a_line_that_nobody_takes_from_is_waited_for(seconds: float) -> None:
    """The agent's loop is blocked: what the caller says meanwhile comes late, and all at once."""
    line = Line(RATE, paced=True)
    line.hear(spoken(0.0, 2.0, RATE))
    line.is_listened = False
    line.go(2.0 + seconds)
    line.is_listened = True
    line.go(2.0 + seconds)  # a sign of life may come before the first frame is taken
    line.capture.listening(Listening(2.0 + seconds))
    late = spoken(2.0, 6.0, RATE, first=2 * RATE)
    line.hear(stalled(0.0, 2.05 + seconds, late))
    line.finish(8.5)
    check(line, 0.0, 8.0, 0.001)


def test_the_lag_of_a_live_call_is_short() -> None:
    """With frames coming in, what was said a frame ago is given out."""
    line = Line(RATE)
    line.hear(spoken(0.0, 5.0, RATE))
    line.go(5.0)
    assert 5.0 - line.length < 0.2


def sent_by(rate: int, seconds: float, frame: float, ppm: float, tone: float) -> list[Samples]:
    """A tone in frames; the sender's clock is what makes it late or early."""
    samples = sine(tone, seconds * (1 + abs(ppm) * 1e-6) + 1, rate)
    size = round(frame * rate)
    return [samples[i : i + size] for i in range(0, len(samples) - size, size)]


def lateness(left: Samples, rate: int, tone: float) -> Times:
    """How late the tone in a recording is, every second, in seconds."""
    count = len(left) // rate
    times = np.arange(count * rate) / rate
    turned = left[: count * rate] * np.exp(-2j * np.pi * tone * times)
    phases = np.unwrap(np.angle(turned.reshape(count, rate).sum(axis=1)) + np.pi / 2)
    late: Times = -phases / (2 * np.pi * tone)
    return late


@pytest.mark.parametrize("ppm", [300, -300])
@pytest.mark.parametrize(
    ("rate", "frame", "minutes", "tick"), [(24_000, 0.05, 5, 0.1), (2000, 0.25, 120, 1.0)]
)
def test_a_clock_that_drifts_is_followed(
    rate: int, frame: float, minutes: int, tick: float, ppm: int
) -> None:
    """Samples stay within 5 ms of when they were heard, and no click tells of it."""
    tone, seconds = 50.0, minutes * 60.0
    line = Line(rate, tick=tick)
    stretch = 1 + ppm * 1e-6  # seconds here for one of the sender's
    size = round(frame * rate)
    frames = sent_by(rate, seconds, frame, ppm, tone)
    arrivals = [((i + 1) * size / rate * stretch, part) for i, part in enumerate(frames)]
    line.hear(arrival for arrival in arrivals if arrival[0] < seconds)
    left = line.finish(seconds)
    found = lateness(left[: round((seconds - 2) * rate)], rate, tone)
    true = (np.arange(len(found)) + 0.5) * ppm * 1e-6
    assert np.abs(found - true).max() < 0.005
    whole = left[: round((seconds - 1) * rate)].astype(int)
    steepest = 10_000 * 2 * np.pi * tone / rate
    assert np.abs(np.diff(whole)).max() < 1.2 * steepest + 2


@pytest.mark.parametrize("frame", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("tick", [0.01, 0.1, 1.0])
def test_drift_is_followed_whatever_the_frames_and_the_ticks(frame: float, tick: float) -> None:
    """Even where a frame is too short to take a correction of its own."""
    rate, ppm = 8000, 300
    line = Line(rate, tick=tick)
    frames = sent_by(rate, 60.0, frame, ppm, 50.0)
    size = round(frame * rate)
    arrivals = [((i + 1) * size / rate * (1 + ppm * 1e-6), part) for i, part in enumerate(frames)]
    line.hear(arrival for arrival in arrivals if arrival[0] < 60.0)
    found = lateness(line.finish(60.0)[: 58 * rate], rate, 50.0)
    assert abs(found[-1] - 58 * ppm * 1e-6) < 0.005


@pytest.mark.parametrize("late", [0.05, -0.05])
def test_drift_is_corrected_by_a_thousandth_at_most(late: float) -> None:
    """50 ms at once are caught up with in 50 s, each second 8 samples of 8,000."""
    drift, second = Drift(), sine(200, 1.0, RATE)
    changed = []
    for number in range(70):
        drift.observe(number + 0.5, late)
        changed.append(len(drift.correct(second, RATE)) - RATE)
    assert max(map(abs, changed)) == 8
    assert sum(changed) == round(late * RATE)
    assert drift.shift == pytest.approx(late, abs=1 / RATE)


def test_a_clock_without_drift_is_left_alone() -> None:
    """Jitter of 20 ms in when frames come changes no sample."""
    rng = random.Random(4)
    line = Line(RATE)
    tone = sine(200, 30.0, RATE)
    size = RATE // 20
    line.hear(
        ((i + 1) * 0.05 + (rng.uniform(0, 0.02) if i % 7 else 0.0), tone[i * size : (i + 1) * size])
        for i in range(600)
    )
    assert np.array_equal(line.finish(31.0)[: 30 * RATE], tone)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frame", [0.01, 0.05])
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_every_rate_takes_its_place(rate: int, frame: float, channels: int) -> None:
    """A tone burst begins and ends where it was said, and sounds the same."""
    silence, tone = np.zeros(rate, np.int16), sine(300, 1.0, rate)
    samples = np.concatenate([silence, tone, silence])
    line = Line(rate, recorded=24_000, channels=channels)
    size = round(frame * rate)
    line.hear(((i + size) / rate, samples[i : i + size]) for i in range(0, len(samples), size))
    left = line.finish(3.2)
    loud = np.flatnonzero(np.abs(left) > 500) / 24_000
    assert abs(loud[0] - 1.0) < 0.002
    assert abs(loud[-1] - 2.0) < 0.002
    middle = left[round(1.1 * 24_000) : round(1.9 * 24_000)].astype(int)
    expected = sine(300, 3.0, 24_000)[round(0.1 * 24_000) : round(0.9 * 24_000)].astype(int)
    assert np.abs(middle - expected).max() < 120


@steady
@given(st.lists(st.integers(0, 900), min_size=1, max_size=60))
def test_frames_of_odd_sizes_are_all_kept(sizes: list[int]) -> None:
    """Empty ones, single samples, primes: what counts is when the last sample was there."""
    line, count = Line(RATE), 0
    for size in sizes:
        samples = np.arange(count + 1, count + size + 1, dtype=np.uint16).view(np.int16)
        count += size
        line.hear([(count / RATE, samples)])
    line.finish(count / RATE + 1)
    assert np.abs(line.times(count) - np.arange(count) / RATE).max(initial=0) < 0.001


def test_an_incomplete_last_sample_of_several_channels_is_left_out() -> None:
    """A stereo frame whose bytes end in the middle of a pair is taken as far as it goes."""
    frame = UserFrame(1.0, np.array([10, 20, 30], np.int16).tobytes(), RATE, 2)
    assert frame.mono().tolist() == [15]


def test_several_channels_become_their_mean() -> None:
    """Loud channels do not overflow."""
    frame = UserFrame(1.0, np.array([32_767, 32_767, -10, 20], np.int16).tobytes(), RATE, 2)
    assert frame.mono().tolist() == [32_767, 5]


def test_a_change_of_rate_in_the_call_loses_nothing() -> None:
    """A new track may have another rate: it goes on where the one before was over."""
    line = Line(RATE)
    line.hear(spoken(0.0, 2.0, RATE))
    tone = sine(300, 1.0, 16_000)
    for i in range(20):
        at = 2.0 + (i + 1) * 0.05
        line.go(at)
        line.capture.heard(user_frame(at, tone[i * 800 : (i + 1) * 800], 16_000))
    left = line.finish(4.0)
    assert line.capture.origin == pytest.approx(0.0, abs=0.001)
    loud = np.flatnonzero(np.abs(left[2 * RATE :]) > 500) / RATE
    assert loud[0] < 0.003 and abs(loud[-1] - 1.0) < 0.003


def test_no_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is what the items say: a wall clock that jumps moves nothing."""

    def no_clock() -> float:
        raise AssertionError("a clock was read")

    line = Line(RATE, opened=1e6)
    with monkeypatch.context() as patch:
        for name in ("time", "monotonic", "perf_counter"):
            patch.setattr(time, name, no_clock)
        line.hear(spoken(1e6, 2.0, RATE))
        line.finish(1e6 + 3)
    check(line, 1e6, 2.0, 0.001)
