"""`AudioCapture`: one time line from the first sample to the last, with silence where there is."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roark_analytics_python_livekit._recording.frames import (
    AgentFrame,
    Finished,
    Flushed,
    Opened,
    Samples,
    SinkTraits,
    Started,
)
from roark_analytics_python_livekit.audio import DEFAULT_RATE, AudioCapture
from tests.audio.playback_harness import Line, spoken
from tests.support.signals import LinearResampler, numbered, sine, stereo, user_frame

steady = settings(deadline=None, derandomize=True, database=None, max_examples=60)

RATE = 8000
START = SinkTraits(reports_start=True)


def capture_of(
    *, hears_user: bool = False, sink: SinkTraits | None = START, rate: int | None = RATE
) -> AudioCapture:
    """A capture whose taps went in at 100 s."""
    return AudioCapture(Opened(100.0, hears_user, sink, rate), LinearResampler)


def say(capture: AudioCapture, at: float, samples: Samples, rate: int = RATE) -> None:
    """The agent says something, all at once."""
    capture.captured(AgentFrame(at, samples.tobytes(), rate))
    capture.report(Started(at))
    capture.report(Flushed(at))


def test_a_call_without_audio_is_silence_of_its_length() -> None:
    """There is an input and an output, and neither was used."""
    capture = capture_of(hears_user=True)
    pcm = b"".join(capture.settle(100 + tick / 10) for tick in range(100))
    pcm += capture.finish(112.5)
    assert pcm == bytes(round(12.5 * RATE) * 4)


def test_a_call_of_text_only_is_silence_too() -> None:
    """No input, no output, and so no rate: livekit's own."""
    capture = capture_of(sink=None, rate=None)
    assert capture.finish(101.0) == bytes(DEFAULT_RATE * 4)
    assert capture.rate == DEFAULT_RATE
    assert capture.take_played() == []


def test_a_call_that_ends_when_it_begins_has_no_samples() -> None:
    """Nothing to give, nothing to fail."""
    assert capture_of(hears_user=True).finish(100.0) == b""


@steady
@given(
    st.integers(0, 30_000), st.booleans(), st.sampled_from([8000, 22_050, 24_000, 44_100, 48_000])
)
def test_the_recording_is_as_long_as_the_call(length_ms: int, hears: bool, rate: int) -> None:
    """Whatever was settled before: the samples are those of the elapsed time."""
    capture = capture_of(hears_user=hears, rate=rate)
    pcm, at = b"", 0.0
    while at < length_ms / 1000:
        pcm += capture.settle(100 + at)
        at += 0.7
    pcm += capture.finish(100 + length_ms / 1000)
    assert abs(len(pcm) / 4 - length_ms / 1000 * rate) <= 0.51


def test_the_recording_has_the_sink_s_rate() -> None:
    """The agent's samples stay as they are."""
    assert capture_of(rate=16_000).rate == 16_000


def test_where_the_sink_takes_any_rate_the_first_voice_s_is_the_recording_s() -> None:
    """No resampling of a voice that speaks first."""
    capture = capture_of(rate=None)
    say(capture, 100.5, numbered(0, 22_050), 22_050)
    capture.report(Finished(101.5, 1.0, False))
    pcm = capture.finish(102.0)
    assert capture.rate == 22_050
    right = stereo(pcm)[:, 1]
    assert np.array_equal(right[11_025 : 11_025 + 22_050], numbered(0, 22_050))


def test_both_sides_stand_on_one_time_line() -> None:
    """The caller left, the agent right, each at its own moment."""
    capture = capture_of(hears_user=True)
    caller = numbered(0, 4 * RATE)
    pcm = b""
    for i in range(80):
        at = 100 + (i + 1) * 0.05
        pcm += capture.settle(at)
        capture.heard(user_frame(at, caller[i * 400 : (i + 1) * 400], RATE))
        if i == 20:
            say(capture, 101.2, numbered(40_000, RATE))
    capture.report(Finished(102.2, 1.0, False))
    both = stereo(pcm + capture.finish(105.0))
    assert np.array_equal(both[: 4 * RATE, 0], caller)
    begin = round(1.2 * RATE)
    assert np.array_equal(both[begin : begin + RATE, 1], numbered(40_000, RATE))
    assert not both[:begin, 1].any() and not both[begin + RATE :, 1].any()


def test_an_input_that_appears_in_the_call_is_heard() -> None:
    """A console that changes from text to audio."""
    capture = capture_of(sink=None, rate=None)
    pcm = b"".join(capture.settle(100 + tick / 10) for tick in range(30))
    capture.reopened(Opened(103.0, True, START, 48_000))
    assert capture.rate == DEFAULT_RATE  # the recording has begun
    for i in range(40):
        at = 103.0 + (i + 1) * 0.05
        pcm += capture.settle(at)
        capture.heard(user_frame(at, sine(300, 0.05, DEFAULT_RATE), DEFAULT_RATE))
    left = stereo(pcm + capture.finish(106.0))[:, 0]
    loud = np.flatnonzero(np.abs(left) > 500) / DEFAULT_RATE
    assert loud[0] == pytest.approx(3.0, abs=0.002)
    assert loud[-1] == pytest.approx(5.0, abs=0.002)


def test_an_output_that_is_replaced_is_believed_as_it_deserves() -> None:
    """The next segment is placed by what the new sink reports."""
    capture = capture_of(sink=SinkTraits())
    say(capture, 100.5, numbered(0, RATE))
    capture.report(Finished(101.5, 1.0, False))
    capture.reopened(Opened(102.0, False, START, RATE))
    capture.captured(AgentFrame(102.5, numbered(RATE, RATE).tobytes(), RATE))
    capture.report(Started(102.9))
    capture.report(Flushed(102.9))
    capture.report(Finished(103.9, 1.0, False))
    right = stereo(capture.finish(104.0))[:, 1]
    assert np.flatnonzero(right)[RATE] == round(2.9 * RATE)


def test_a_pause_silences_both_channels_from_the_very_sample() -> None:
    """And to the very sample where it is resumed; the time line goes on."""
    pauses: list[tuple[float, float]] = []
    asked: list[tuple[float, float]] = []

    def silences(*span: float) -> list[tuple[float, float]]:
        asked.append((span[0], span[1]))
        return pauses

    opened = Opened(100.0, True, START, RATE)
    capture = AudioCapture(opened, LinearResampler, silences=silences)
    say(capture, 100.0, numbered(0, 4 * RATE))
    pcm = b""
    for i in range(80):
        at = 100 + (i + 1) * 0.05
        capture.heard(user_frame(at, np.full(400, 9, np.int16), RATE))
        pcm += capture.settle(at)
        if i == 19:
            pauses = [(101.0, math.inf)]
        if i == 49:
            pauses = [(101.0, 102.5)]
    both = stereo(pcm + capture.finish(104.0))
    assert len(both) == 4 * RATE
    assert both[:RATE].all() and not both[RATE : round(2.5 * RATE)].any()
    assert both[round(2.5 * RATE) :].all()
    begins, ends = zip(*asked, strict=True)
    assert (begins[0], ends[-1]) == (100.0, 104.0)
    assert begins[1:] == pytest.approx(ends[:-1])  # each sample once


def test_a_pause_holds_between_two_looks() -> None:
    """Paused and resumed before anything of it was given out."""
    line = Line(RATE, tick=10.0, silences=[(1.0001, 1.5), (2.0, 2.25)])
    line.hear(spoken(0.0, 4.0, RATE))
    left = line.finish(4.0)
    silent = np.flatnonzero(left == 0)
    assert silent[0] == round(1.0001 * RATE)
    assert len(silent) == round(1.5 * RATE) - silent[0] + round(0.25 * RATE)


def test_a_pause_that_is_never_resumed_lasts_to_the_end() -> None:
    """It has no end yet, whenever it is asked for."""
    line = Line(RATE, silences=[(3.0, math.inf)])
    line.hear(spoken(0.0, 5.0, RATE))
    left = line.finish(5.5)
    assert len(left) == round(5.5 * RATE)
    assert left[: 3 * RATE].all() and not left[3 * RATE :].any()


def test_a_pause_before_the_recording_begins_is_kept() -> None:
    """The caller asks not to be recorded before the first frame has come."""
    line = Line(RATE, opened=2.0, silences=[(2.0, 5.0)])
    line.hear((max(at, 3.0), samples) for at, samples in spoken(1.0, 6.0, RATE))
    left = line.finish(7.0)
    assert left[:RATE].all()  # said before they asked
    assert not left[RATE : 4 * RATE].any()
    assert left[4 * RATE :].all()


def test_what_a_pause_silences_is_not_taken_for_quiet_speech() -> None:
    """The levels are those of what was recorded."""
    line = Line(RATE, silences=[(0.0, math.inf)])
    tone = sine(300, 1.0, RATE)
    line.hear(((i + 1) * 0.05, tone[i * 400 : (i + 1) * 400]) for i in range(20))
    line.finish(2.0)
    assert line.capture.voiced(0.2, 0.8) == (0.2, 0.8)


def test_a_voice_is_looked_for_in_the_users_channel() -> None:
    """On the clock of the frames: the agent speaks at another time."""
    capture = capture_of(hears_user=True)
    tone, quiet = sine(300, 1.0, RATE), np.zeros(RATE, np.int16)
    say(capture, 103.0, tone)
    for i, samples in enumerate(np.split(np.concatenate([quiet, tone, quiet, quiet]), 80)):
        capture.heard(user_frame(100 + (i + 1) * 0.05, samples, RATE))
    capture.report(Finished(104.0, 1.0, False))
    capture.finish(104.0)
    assert capture.voiced(101.1, 101.8) == pytest.approx((101.0, 102.0), abs=0.02)
    assert capture.voiced(103.1, 103.8) == pytest.approx((103.1, 103.8))


def test_a_long_call_needs_no_more_memory_than_a_short_one() -> None:
    """But for 100 bytes a second of levels."""
    line, frame = Line(RATE), np.ones(400, np.int16)
    peaks = []
    tracemalloc.start()
    try:
        for minute in range(1, 7):
            line.hear((60 * (minute - 1) + (i + 1) * 0.05, frame) for i in range(1200))
            line.pcm.clear()
            peaks.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert peaks[-1] - peaks[0] < 5 * 60 * 100 + 20_000
