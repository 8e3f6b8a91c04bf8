"""The agent's channel against a sink's own truth, on schedules that nobody thought of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audio.playback_harness import Speech, Stage
from tests.support.fake_sinks import (
    AVATAR,
    OLD_AVATAR,
    PLAINS,
    PROGRESSES,
    ROOM_1_0,
    ROOM_1_2,
    ROOM_1_3,
    ROOM_1_5,
    ROOM_1_6,
    ROOM_1_7,
    ROOM_1_8,
    FakeSink,
    SinkKind,
)

RATE = 2000
EXACT = 0.010  # seconds; where runs are reported
SIMULATED = 0.031  # seconds; else, with a device that is up to 25 ms behind
CUT = 0.020  # seconds of audio; at each pause, resume and interruption

steady = settings(deadline=None, derandomize=True, database=None, max_examples=60)


def sinks(*kinds: SinkKind) -> pytest.MarkDecorator:
    """Runs a test on a sink of each kind."""
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.name)


@st.composite
def speeches(
    draw: st.DrawFn, *, pauses: bool = True, late: bool = True, soonest: float = 0.01
) -> Speech:
    """Frames of 20 to 200 ms in bursts or late ones, pauses, and an interruption, or none."""
    waits = st.sampled_from([0, 0, 0, 10, 50, 300, 500]) if late else st.just(0)
    sizes = st.sampled_from([20, 50, 100, 130, 200])
    first = draw(st.sampled_from([100, 130, 200]))  # no speech is over within RoomIO's first frames
    frames, at = [(0.0, first / 1000)], 0.0
    for wait, size in draw(st.lists(st.tuples(waits, sizes), max_size=14)):
        at += wait / 1000
        frames.append((at, size / 1000))
    length = max(at, sum(seconds for _, seconds in frames))
    held: list[tuple[float, float]] = []
    if pauses:
        hold = st.tuples(moments(length), st.integers(1, 100))
        for begin, hundredths in sorted(draw(st.lists(hold, max_size=2))):
            if not held or begin > sum(held[-1]):
                held.append((begin, hundredths / 100 + 0.0055))
    cut = draw(st.none() | moments(length + 0.3))
    after = soonest - 0.05 + draw(moments(1.0))
    return Speech(frames, held, cut, after)


def moments(most: float) -> st.SearchStrategy[float]:
    """Seconds from 0.05 on, never just when a frame ends, where it could go either way."""
    return st.integers(5, max(6, round(most * 100))).map(lambda at: at / 100 + 0.0034)


def calls(
    *, pauses: bool = True, late: bool = True, soonest: float = 0.01
) -> st.SearchStrategy[list[Speech]]:
    """One to three speeches, `soonest` seconds after the sink has said that one is over."""
    return st.lists(speeches(pauses=pauses, late=late, soonest=soonest), min_size=1, max_size=3)


def check(stage: Stage, call: list[Speech], tolerance: float, spared: float = 0.002) -> None:
    """Plays a call; the agent's channel is what sounded."""
    for speech in call:
        stage.speak(speech)
    stage.finish()
    cuts = sum(2 * len(speech.pauses) + (speech.interrupted is not None) for speech in call)
    found = stage.difference(tolerance)
    assert found.total <= cuts * CUT + spared, found


@pytest.mark.parametrize("start_first", [False, True], ids=["", "start first"])
@sinks(ROOM_1_7, ROOM_1_8)
@steady
@given(call=calls())
def test_a_room_that_reports_progress_is_recorded_exactly(
    kind: SinkKind, start_first: bool, call: list[Speech]
) -> None:
    """livekit-agents 1.7 and later: every run is where it was to 10 ms.

    Before 1.8 RoomIO may keep what is short of a frame for a second and longer, and say so when
    it is too late: that is the only audio that may stand elsewhere.
    """
    short_of_a_frame = 0.002 if kind.flushes else 0.05 * len(call)
    sink = FakeSink(kind, RATE, start_first=start_first)
    check(Stage(sink), call, EXACT, short_of_a_frame)


@sinks(ROOM_1_2, ROOM_1_3, ROOM_1_5)
@steady
@given(call=calls(soonest=0.3))
def test_a_room_that_reports_no_progress_is_simulated(kind: SinkKind, call: list[Speech]) -> None:
    """livekit-agents 1.2 to 1.5: its frames, its queue, and what a pause throws away.

    It says that a speech is over up to 0.25 s too early. A pause within that time of the next one
    throws away some of both, which is not simulated.
    """
    check(Stage(FakeSink(kind, RATE)), call, SIMULATED)


@sinks(ROOM_1_2, ROOM_1_3)
@steady
@given(call=calls(pauses=False))
def test_speeches_that_follow_at_once_are_simulated(kind: SinkKind, call: list[Speech]) -> None:
    """The end of one still sounds when the next is begun, or is cut with it."""
    check(Stage(FakeSink(kind, RATE)), call, SIMULATED)


@steady
@given(call=calls())
def test_a_room_that_waits_for_its_end_is_simulated(call: list[Speech]) -> None:
    """livekit-agents 1.6."""
    check(Stage(FakeSink(ROOM_1_6, RATE)), call, SIMULATED)


@steady
@given(call=calls(pauses=False))
def test_the_oldest_room_is_simulated(call: list[Speech]) -> None:
    """livekit-agents 1.0 and 1.1, which cannot pause."""
    check(Stage(FakeSink(ROOM_1_0, RATE)), call, SIMULATED)


@sinks(*PLAINS, replace(PROGRESSES, name="says progress, not start", says_so=False))
@steady
@given(call=calls())
def test_a_sink_that_holds_everything_is_recorded(kind: SinkKind, call: list[Speech]) -> None:
    """A console, or a sink of the user's own, whatever it reports."""
    check(Stage(FakeSink(kind, RATE)), call, EXACT if kind.progresses else SIMULATED)


@sinks(AVATAR, OLD_AVATAR)
@steady
@given(call=calls(pauses=False, late=False), delay=st.integers(5, 100))
def test_an_avatar_is_recorded_when_it_played(
    kind: SinkKind, call: list[Speech], delay: int
) -> None:
    """Its reports of the start are not worth anything, the end tells."""
    check(Stage(FakeSink(replace(kind, delay=delay / 100), RATE)), call, SIMULATED)


@steady
@given(call=calls(pauses=False))
def test_a_slow_avatar_that_is_let_finish_is_recorded_when_it_played(call: list[Speech]) -> None:
    """Late frames leave the same gaps there."""
    whole = [Speech(speech.frames, after=speech.after) for speech in call]
    check(Stage(FakeSink(AVATAR, RATE)), whole, SIMULATED)
