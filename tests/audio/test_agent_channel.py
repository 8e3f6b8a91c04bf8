"""The agent's channel: what was played, when it was played, as far as it was.

Each behaviour is looked at on every kind of sink, which report as differently as their versions.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from roark_analytics_python_livekit._recording.frames import (
    AgentFrame,
    Cleared,
    Finished,
    Flushed,
    Opened,
    Progressed,
    SinkTraits,
    Started,
)
from roark_analytics_python_livekit.audio import AudioCapture, Played
from tests.audio.playback_harness import Speech, Stage, burst
from tests.support.fake_sinks import (
    AVATARS,
    COULD_START,
    PLAIN,
    PLAINS,
    ROOM_1_2,
    ROOM_1_3,
    ROOM_1_5,
    ROOM_1_6,
    ROOM_1_8,
    ROOMS,
    FakeSink,
    SinkKind,
)
from tests.support.signals import LinearResampler, numbered, sine, stereo

RATE = 4000

NOTHING = SinkTraits()
START = SinkTraits(reports_start=True)
PROGRESS = SinkTraits(reports_start=True, reports_progress=True)


def sinks(*kinds: SinkKind) -> pytest.MarkDecorator:
    """Runs a test on a sink of each kind."""
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.name)


every_sink = sinks(*ROOMS, *PLAINS, *AVATARS)
pausable_sinks = sinks(*ROOMS[1:], *PLAINS)


def tolerance(stage: Stage) -> float:
    """What the reports of a sink allow, in seconds."""
    return 0.01 if stage.sink.kind.traits.reports_progress else 0.031


def check(stage: Stage, cuts: int = 0) -> None:
    """The agent's channel is what sounded; each cut may be off by 20 ms."""
    found = stage.difference(tolerance(stage))
    assert found.total <= 0.02 * cuts + 0.001, found


@every_sink
def test_a_burst_is_played_at_its_true_length(kind: SinkKind) -> None:
    """TTS gives seconds at once; they stand where the sink played them."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(3.0)))
    stage.finish()
    check(stage)


@every_sink
def test_speech_as_slow_as_it_is_spoken_has_no_holes(kind: SinkKind) -> None:
    """Frames of 50 ms that come every 50 ms."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech([(i * 0.05, 0.05) for i in range(40)]))
    right = stage.finish()
    check(stage)
    if (
        not stage.sink.kind.traits.first_frames_seconds
    ):  # where those are shorter, the sink itself runs dry
        assert np.diff(np.flatnonzero(right)).max() == 1


@every_sink
def test_frames_that_come_late_leave_gaps(kind: SinkKind) -> None:
    """Slow TTS: the play head waits for what is not there yet."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech([(i * 0.5, 0.2) for i in range(8)]))
    stage.finish()
    check(stage)


@every_sink
@pytest.mark.parametrize("played", [0.31, 1.0003, 2.777])
def test_an_interruption_stops_the_audio_where_playback_stopped(
    kind: SinkKind, played: float
) -> None:
    """4 s were pushed, and the caller cut in: nothing stands after that."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(4.0), interrupted=played))
    stage.finish(5.0)
    check(stage, cuts=1)


@every_sink
def test_what_is_said_after_an_interruption_has_its_own_place(kind: SinkKind) -> None:
    """Nothing of the interrupted speech comes back."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(4.0), interrupted=1.2))
    stage.speak(Speech(burst(1.5), after=0.3))
    stage.speak(Speech(burst(0.5), interrupted=0.2))
    stage.finish()
    check(stage, cuts=2)


@sinks(ROOM_1_2, ROOM_1_3)
def test_an_interruption_cuts_the_end_of_the_speech_before_it_too(kind: SinkKind) -> None:
    """The sink had reported that end while it still sounded; its queue is dropped with it."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech([*burst(0.4), (0.3, 0.1)]))
    stage.speak(Speech(burst(1.0), interrupted=0.05, after=0.0503))
    stage.finish()
    check(stage)
    assert np.isnan(stage.sink.sounded()[round(0.45 * RATE)])


@pausable_sinks
def test_a_pause_is_silent_and_what_it_drops_is_not_there(kind: SinkKind) -> None:
    """RoomIO throws away the 0.2 s that its source had queued; other sinks hold everything."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(4.0), pauses=[(1.0203, 1.0), (3.0608, 0.4)]))
    stage.finish()
    check(stage, cuts=4)


@pausable_sinks
def test_a_pause_that_ends_in_an_interruption_keeps_what_was_played(kind: SinkKind) -> None:
    """Some versions count what the pause threw away as played."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(4.0), pauses=[(1.0203, 1.0)], interrupted=1.6))
    stage.speak(Speech(burst(1.0)))
    stage.finish()
    check(stage, cuts=2)


@pausable_sinks
def test_an_interruption_after_a_pause_is_cut_where_it_was(kind: SinkKind) -> None:
    """Paused, resumed, and then cut off."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(4.0), pauses=[(1.0203, 0.5)], interrupted=2.5))
    stage.finish()
    check(stage, cuts=3)


@pausable_sinks
def test_a_pause_with_nothing_left_to_hold_stops_nothing(kind: SinkKind) -> None:
    """The last 0.1 s of the speech: RoomIO has handed them to its source already."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(1.0), pauses=[(0.9003, 0.5)]))
    stage.finish()
    check(stage, cuts=2)


@sinks(ROOM_1_5, ROOM_1_6)
@pytest.mark.parametrize("begin", [0.0134, 0.0334, 0.0534])
def test_a_pause_within_shorter_first_frames_stops_where_the_queue_is_full(
    kind: SinkKind, begin: float
) -> None:
    """0.2 s are queued: there is room for a frame of 50 ms after 10, 60, 110 ms, and so on."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(2.0), pauses=[(begin, 1.0)]))
    stage.finish()
    found = stage.difference(0.031)
    assert found.total <= 0.006, found


@every_sink
def test_segments_in_a_row_follow_each_other(kind: SinkKind) -> None:
    """Five speeches, one behind the other."""
    stage = Stage(FakeSink(kind, RATE))
    for i in range(5):
        stage.speak(Speech(burst(0.5 + 0.2 * i), after=0.05))
    stage.finish()
    check(stage)
    assert len(stage.capture.take_played()) == 5


@sinks(*PLAINS)
def test_segments_that_are_pushed_ahead_wait_for_their_turn(kind: SinkKind) -> None:
    """A sink may queue a segment behind the one that it plays."""
    stage = Stage(FakeSink(kind, RATE))
    stage.go(0.5)
    for seconds in (1.0, 2.0, 0.5):
        stage.push(seconds)
        stage.give(stage.sink.flush())
    stage.go(6.0)
    stage.finish()
    check(stage)


@sinks(ROOM_1_3, ROOM_1_6, ROOM_1_8)
def test_a_start_that_is_reported_before_the_first_frame_is_taken_counts(kind: SinkKind) -> None:
    """The sink plays while `capture_frame` has not returned yet."""
    stage = Stage(FakeSink(kind, RATE, start_first=True))
    stage.speak(Speech(burst(1.0)))
    stage.speak(Speech(burst(1.0)))
    stage.finish()
    check(stage)


def test_an_early_start_is_believed_over_the_first_frame() -> None:
    """`capture_frame` took 0.3 s to return."""
    capture = AudioCapture(Opened(0.0, False, START, RATE), LinearResampler)
    capture.report(Started(1.0))
    capture.captured(AgentFrame(1.3, numbered(0, RATE).tobytes(), RATE))
    capture.report(Flushed(1.3))
    capture.report(Finished(2.0, 1.0, False))
    right = stereo(capture.finish(3.0))[:, 1]
    assert np.flatnonzero(right)[[0, -1]].tolist() == [RATE, 2 * RATE - 1]
    assert capture.take_played() == [Played(1.0, 2.0)]


def test_a_start_without_a_segment_is_not_kept_for_a_later_one() -> None:
    """Its segment never came: it was finished before a frame was taken."""
    capture = AudioCapture(Opened(0.0, False, START, RATE), LinearResampler)
    capture.report(Started(1.0))
    capture.report(Finished(1.1, 0.0, True))
    capture.captured(AgentFrame(5.0, numbered(0, RATE).tobytes(), RATE))
    capture.report(Started(5.0))
    capture.report(Flushed(5.0))
    capture.report(Finished(6.0, 1.0, False))
    right = stereo(capture.finish(7.0))[:, 1]
    assert np.flatnonzero(right)[0] == 5 * RATE


@every_sink
def test_a_call_that_ends_in_mid_speech_has_what_was_played(kind: SinkKind) -> None:
    """No more reports come: the play head stops when the call does."""
    stage = Stage(FakeSink(kind, RATE))
    stage.go(0.5)
    stage.push(4.0)
    right = stage.finish(2.0)
    lead = 0.4 if kind.elsewhere else 0.031  # nobody told when it played
    assert abs(np.count_nonzero(right) / RATE - 2.0) <= lead
    assert len(right) == 2.5 * RATE


@sinks(*ROOMS, *PLAINS[:3])
def test_a_very_long_turn_streams_within_a_second(kind: SinkKind) -> None:
    """What has been played does not wait for the end of the speech."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(12.0)))
    stage.finish()
    check(stage)
    assert stage.largest_lag < 1.0


@sinks(*PLAINS[:3])
def test_a_pause_does_not_hold_back_what_is_said_after_it(kind: SinkKind) -> None:
    """The sink has reported how far it came, or never does."""
    stage = Stage(FakeSink(kind, RATE))
    stage.speak(Speech(burst(8.0), pauses=[(2.0203, 0.5)]))
    stage.finish()
    check(stage, cuts=2)
    assert stage.largest_lag < 1.0


def test_a_very_long_turn_holds_only_what_is_not_played_yet() -> None:
    """Two minutes at once: memory falls as they are played."""
    rate = 24_000
    capture = AudioCapture(Opened(0.0, False, START, rate), LinearResampler)
    frame = np.ones(rate // 10, np.int16)
    tracemalloc.start()
    try:
        for _ in range(1200):
            capture.captured(AgentFrame(1.0, frame.tobytes(), rate))
        capture.report(Started(1.0))
        given = tracemalloc.get_traced_memory()[0]
        held = []
        for second in range(1, 121):
            for tick in range(10):
                capture.settle(second + tick / 10)
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    pcm = 120 * rate * 2
    assert given < 1.2 * pcm
    for second, memory in enumerate(held, start=1):
        assert memory < 1.2 * pcm * (1 - (second - 2) / 120) + 500_000


@sinks(*AVATARS, COULD_START)
def test_a_speech_whose_place_nobody_tells_is_not_waited_for_without_end(
    kind: SinkKind,
) -> None:
    """After half a minute it stands where it would be if it was played when it came."""
    rate = 1000
    capture = AudioCapture(Opened(0.0, False, kind.traits, rate), LinearResampler)
    for i in range(60):
        capture.captured(AgentFrame(1.0, numbered(i * rate, rate).tobytes(), rate))
    pcm = b"".join(capture.settle(tick / 10) for tick in range(500))
    assert 49.9 - len(pcm) / 4 / rate < 31
    capture.report(Flushed(50.0))
    capture.report(Finished(61.2, 60.0, False))
    right = stereo(pcm + capture.finish(62.0))[:, 1]
    assert np.count_nonzero(right) == 60 * rate
    assert np.flatnonzero(right)[0] == rate


def test_a_segment_whose_end_was_never_reported_does_not_confuse_those_behind() -> None:
    """A sink was replaced, or forgot: the next reports are the next segment's."""
    capture = AudioCapture(Opened(0.0, False, START, RATE), LinearResampler)
    for start in (1.0, 20.0, 30.0):
        capture.captured(AgentFrame(start, numbered(round(start * 100), RATE).tobytes(), RATE))
        capture.report(Started(start + 0.1))
        capture.report(Flushed(start + 0.1))
        if start > 1.0:
            capture.report(Finished(start + 1.1, 1.0, False))
    right = stereo(capture.finish(40.0))[:, 1]
    starts = np.flatnonzero(np.diff((right != 0).astype(int)) == 1) + 1
    assert starts.tolist() == [round(at * RATE) for at in (1.1, 20.1, 30.1)]
    assert [played.start for played in capture.take_played()] == [1.1, 20.1, 30.1]


def test_nothing_is_said_to_have_been_played_that_was_not() -> None:
    """Interrupted before the first sample: no segment of the agent's."""
    capture = AudioCapture(Opened(0.0, False, START, RATE), LinearResampler)
    capture.captured(AgentFrame(1.0, numbered(0, RATE).tobytes(), RATE))
    capture.report(Flushed(1.1))
    capture.report(Cleared(1.1))
    capture.report(Finished(1.1, 0.0, True))
    assert not stereo(capture.finish(3.0)).any()
    assert capture.take_played() == []


def test_what_was_played_is_told_once_with_its_true_times() -> None:
    """In order, from the first to the last sample that sounded."""
    stage = Stage(FakeSink(ROOM_1_8, RATE))
    stage.speak(Speech(burst(1.0), after=0.5))
    stage.speak(Speech(burst(4.0), after=0.6, interrupted=1.5))
    stage.finish()
    (first, second), sounded = stage.capture.take_played(), stage.sink.sounded()
    assert (first.start, first.end) == pytest.approx((sounded[0], sounded[RATE - 1]), abs=0.01)
    assert second.start == pytest.approx(sounded[RATE], abs=0.01)
    assert second.end == pytest.approx(np.nanmax(sounded), abs=0.01)
    assert stage.capture.take_played() == []


def test_runs_that_are_reported_as_they_pass_are_all_taken() -> None:
    """A sink may report every half second, not only when a run ends."""
    capture = AudioCapture(Opened(0.0, False, PROGRESS, RATE), LinearResampler)
    capture.captured(AgentFrame(1.0, numbered(0, 3 * RATE).tobytes(), RATE))
    capture.report(Started(1.0))
    pcm = b""
    for i in range(6):
        pcm += capture.settle(1.5 + i / 2)
        capture.report(Progressed(1.0 + i / 2, i / 2, 0.5))
    capture.report(Finished(4.0, 3.0, False))
    right = stereo(pcm + capture.finish(5.0))[:, 1]
    assert np.array_equal(right[RATE : 4 * RATE], numbered(0, 3 * RATE))


def test_a_report_that_comes_after_its_audio_was_placed_leaves_no_hole() -> None:
    """It says 20 ms later than was believed: those who listen hear less of that than of a hole."""
    capture = AudioCapture(Opened(0.0, False, PROGRESS, RATE), LinearResampler)
    capture.captured(AgentFrame(1.0, numbered(0, 3 * RATE).tobytes(), RATE))
    capture.report(Started(1.0))
    pcm = b"".join(capture.settle(tick / 10) for tick in range(40))
    capture.report(Progressed(1.02, 0.0, 3.0))
    capture.report(Finished(4.02, 3.0, False))
    right = stereo(pcm + capture.finish(5.0))[:, 1]
    assert np.array_equal(right[RATE : 4 * RATE], numbered(0, 3 * RATE))


@pytest.mark.parametrize("traits", [NOTHING, START, PROGRESS])
def test_a_segment_whose_rate_changes_keeps_all_of_its_audio(traits: SinkTraits) -> None:
    """Another voice in the middle of a sentence: both parts sound, at their own pitch."""
    rate = 24_000
    capture = AudioCapture(Opened(0.0, False, traits, rate), LinearResampler)
    for given, frequency in ((rate, 300), (16_000, 500), (rate, 400)):
        for frame in np.split(sine(frequency, 1.0, given), 10):
            capture.captured(AgentFrame(1.0, frame.tobytes(), given))
    capture.report(Started(1.0))
    capture.report(Flushed(1.0))
    pcm = b"".join(capture.settle(1.0 + tick / 10) for tick in range(30))
    capture.report(Finished(4.0, 3.0, False))
    right = stereo(pcm + capture.finish(5.0))[:, 1]
    loud = np.flatnonzero(np.abs(right) > 500) / rate
    assert loud[0] == pytest.approx(1.0, abs=0.002)
    assert loud[-1] == pytest.approx(4.0, abs=0.002)
    for begin, frequency in ((1.2, 300), (2.2, 500), (3.2, 400)):
        part = right[round(begin * rate) : round((begin + 0.6) * rate)]
        spectrum = np.abs(np.fft.rfft(part))
        assert np.argmax(spectrum) / 0.6 == pytest.approx(frequency, abs=2)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_a_voice_of_another_rate_than_the_recording_takes_its_place(rate: int) -> None:
    """The sink takes any rate, and the recording has another."""
    capture = AudioCapture(Opened(0.0, False, START, 24_000), LinearResampler)
    capture.captured(AgentFrame(1.0, sine(300, 2.0, rate).tobytes(), rate))
    capture.report(Started(1.0))
    capture.report(Flushed(1.0))
    pcm = b"".join(capture.settle(tick / 10) for tick in range(25))
    capture.report(Cleared(2.5))
    capture.report(Finished(2.5, 1.5, True))
    loud = np.flatnonzero(np.abs(stereo(pcm + capture.finish(4.0))[:, 1]) > 500) / 24_000
    assert loud[0] == pytest.approx(1.0, abs=0.002)
    assert loud[-1] == pytest.approx(2.5, abs=0.003)


@pytest.mark.parametrize("traits", [NOTHING, START])
def test_a_speech_that_has_fallen_silent_does_not_hold_back_the_recording(
    traits: SinkTraits,
) -> None:
    """A gap in slow TTS, a voice of another rate: the other channel goes on."""
    capture = AudioCapture(Opened(0.0, False, traits, 24_000), LinearResampler)
    capture.captured(AgentFrame(1.0, sine(300, 0.5, 16_000).tobytes(), 16_000))
    capture.report(Started(1.0))
    pcm = b"".join(capture.settle(tick / 10) for tick in range(100))
    assert 9.9 - len(pcm) / 4 / 24_000 < 1.0


def test_many_short_gaps_do_not_add_up() -> None:
    """Frames that are each 3 ms too late: together they are a second."""
    capture = AudioCapture(Opened(0.0, False, NOTHING, RATE), LinearResampler)
    pcm = b""
    for i in range(300):
        at = 1.0 + i * 0.023
        pcm += capture.settle(at)
        capture.captured(AgentFrame(at, numbered(i * 80, 80).tobytes(), RATE))
    right = stereo(pcm + capture.finish(9.0))[:, 1]
    last = np.flatnonzero(right)[-1] / RATE
    assert last == pytest.approx(1.0 + 299 * 0.023 + 0.02, abs=0.01)


def test_a_resume_after_an_interruption_brings_nothing_back() -> None:
    """livekit lets go of the pause when it has cut the speech off; the report may come after."""
    stage = Stage(FakeSink(ROOM_1_2, RATE))
    stage.speak(Speech(burst(3.0), pauses=[(1.0203, 2.0)], interrupted=1.4))
    stage.finish(4.0)
    check(stage, cuts=2)


@sinks(ROOM_1_2, ROOM_1_8, PLAIN)
def test_audio_that_is_pushed_while_playback_is_paused_waits(kind: SinkKind) -> None:
    """A speech that begins while the caller speaks: nothing sounds before it is let go."""
    stage = Stage(FakeSink(kind, RATE))
    stage.go(0.5)
    stage.give(stage.sink.pause())
    stage.go(0.6)
    for _ in range(10):
        stage.push(0.1)
    stage.give(stage.sink.flush())
    stage.go(2.0)
    stage.give(stage.sink.resume())
    stage.go(4.0)
    stage.finish()
    check(stage)
