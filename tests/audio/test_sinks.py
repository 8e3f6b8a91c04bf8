"""The fake sinks say of their playback what the real ones are known to say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from roark_analytics_python_livekit._recording.frames import (
    AgentFrame,
    Finished,
    Progressed,
    SinkTraits,
    Started,
)
from tests.support.fake_sinks import (
    ROOM_1_0,
    ROOM_1_2,
    ROOM_1_3,
    ROOM_1_5,
    ROOM_1_6,
    ROOM_1_7,
    ROOM_1_8,
    AvatarSink,
    Noted,
    PlainSink,
    RoomSink,
    RoomVersion,
    Sink,
)

RATE = 1000


def told(
    sink: Sink, *, pause: tuple[float, float] | None = None, clear: float | None = None
) -> list[Noted]:
    """What is noted of 2 s that are pushed at once, one second after the beginning."""
    noted = sink.advance(1.0)
    for _ in range(20):
        noted += sink.push(100)
    noted += sink.flush()
    if pause is not None:
        noted += [*sink.advance(pause[0]), *sink.pause(), *sink.advance(pause[1]), *sink.resume()]
    if clear is not None:
        noted += [*sink.advance(clear), *sink.clear()]
    return [item for item in noted + sink.advance(10.0) if not isinstance(item, AgentFrame)]


def of(kind: type, noted: list[Noted]) -> list[Noted]:
    """Those of one kind."""
    return [item for item in noted if isinstance(item, kind)]


@pytest.mark.parametrize(
    "make_sink",
    [
        pytest.param(lambda: RoomSink(ROOM_1_8, RATE), id="room"),
        pytest.param(lambda: PlainSink(SinkTraits(True, True), RATE), id="own"),
    ],
)
def test_a_speech_sounds_from_its_first_frame_on_without_a_hole(
    make_sink: Callable[[], Sink],
) -> None:
    """Two seconds that are reported as one run."""
    sink = make_sink()
    noted = told(sink)
    assert of(Started, noted) == [Started(1.0)]
    (run,) = of(Progressed, noted)
    assert isinstance(run, Progressed)
    assert (run.at, run.offset, run.duration) == pytest.approx((1.0, 0.0, 2.0))
    (end,) = of(Finished, noted)
    assert isinstance(end, Finished) and end.at == pytest.approx(3.0) and end.position == 2.0
    assert np.allclose(sink.sounded.times(), 1.0 + np.arange(2000) / RATE)


@pytest.mark.parametrize(
    ("version", "starts", "runs"),
    [(ROOM_1_0, 0, 0), (ROOM_1_2, 0, 0), (ROOM_1_3, 1, 0), (ROOM_1_6, 1, 0), (ROOM_1_8, 1, 1)],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_is_reported_grew_with_the_versions(
    version: RoomVersion, starts: int, runs: int
) -> None:
    """Nothing, then the start, then the runs."""
    noted = told(RoomSink(version, RATE))
    assert (len(of(Started, noted)), len(of(Progressed, noted))) == (starts, runs)


@pytest.mark.parametrize(
    ("version", "position", "starts"),
    [(ROOM_1_2, 2.0, 0), (ROOM_1_3, 2.0, 2), (ROOM_1_6, 1.8, 1), (ROOM_1_8, 1.8, 1)],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_pause_throws_away_what_the_source_held(
    version: RoomVersion, position: float, starts: int
) -> None:
    """0.2 s never sound; whether the position knows of it, and the start is told again, differs."""
    sink = RoomSink(version, RATE)
    noted = told(sink, pause=(1.52, 2.0))
    times = sink.sounded.times()
    assert np.isnan(times).sum() == 200
    assert np.nanmax(np.diff(times[~np.isnan(times)])) > 0.4
    (end,) = of(Finished, noted)
    assert isinstance(end, Finished) and end.position == pytest.approx(position)
    assert len(of(Started, noted)) == starts


def test_runs_end_at_a_pause_and_go_on_behind_what_it_threw_away() -> None:
    """1.7 and later say exactly what sounded."""
    runs = of(Progressed, told(RoomSink(ROOM_1_8, RATE), pause=(1.52, 2.0)))
    told_of = [(run.at, run.offset, run.duration) for run in runs if isinstance(run, Progressed)]
    assert told_of == [pytest.approx((1.0, 0.0, 0.55)), pytest.approx((2.0, 0.75, 1.25))]


@pytest.mark.parametrize("version", [ROOM_1_0, ROOM_1_2, ROOM_1_8], ids=lambda v: v.name)
def test_an_interruption_is_reported_with_what_had_sounded(version: RoomVersion) -> None:
    """Of 2 s that were pushed, 0.7 s."""
    sink = RoomSink(version, RATE)
    (end,) = of(Finished, told(sink, clear=1.7))
    assert isinstance(end, Finished)
    assert (end.at, end.interrupted) == (1.7, True)
    assert end.position == pytest.approx(0.7)
    assert np.count_nonzero(~np.isnan(sink.sounded.times())) == 700


@pytest.mark.parametrize(
    ("version", "first"),
    [(ROOM_1_3, 0.04), (ROOM_1_5, 0.01), (ROOM_1_7, 0.01), (ROOM_1_8, 0.01)],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_first_sound_waits_for_a_frame(version: RoomVersion, first: float) -> None:
    """10 ms at a time: RoomIO begins with a frame of 50 ms, of 20 ms, or with 20 ms of one."""
    sink = RoomSink(version, RATE)
    for i in range(10):
        sink.advance(1.0 + i / 100)
        sink.push(10)
    sink.flush()
    sink.advance(2.0)
    assert sink.sounded.times()[0] == pytest.approx(1.0 + first)


def test_an_avatar_says_it_has_started_when_it_is_given_the_first_frame() -> None:
    """It sounds later, and ends later."""
    sink = AvatarSink(RATE, delay=0.4)
    noted = told(sink)
    assert of(Started, noted) == [Started(1.0)]
    assert sink.sounded.times()[0] == pytest.approx(1.4)
    (end,) = of(Finished, noted)
    assert isinstance(end, Finished) and end.at == pytest.approx(3.4)
