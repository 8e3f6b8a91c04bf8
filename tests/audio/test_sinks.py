"""The fake sinks say of their playback what the real ones are known to say."""

from __future__ import annotations

import numpy as np
import pytest

from roark_analytics_python_livekit._recording.frames import (
    AgentFrame,
    Finished,
    Progressed,
    Started,
)
from tests.support.fake_sinks import (
    AVATAR,
    PROGRESSES,
    ROOM_1_0,
    ROOM_1_2,
    ROOM_1_3,
    ROOM_1_5,
    ROOM_1_6,
    ROOM_1_7,
    ROOM_1_8,
    FakeSink,
    Item,
    SinkKind,
)

RATE = 1000


def told(
    sink: FakeSink, *, pause: tuple[float, float] | None = None, clear: float | None = None
) -> list[Item]:
    """What is handed over of 2 s that are pushed at once, one second after the beginning."""
    items = sink.advance(1.0)
    for _ in range(20):
        items += sink.push(100)
    items += sink.flush()
    if pause is not None:
        items += [*sink.advance(pause[0]), *sink.pause(), *sink.advance(pause[1]), *sink.resume()]
    if clear is not None:
        items += [*sink.advance(clear), *sink.clear()]
    return [item for item in items + sink.advance(10.0) if not isinstance(item, AgentFrame)]


def of(kind: type, items: list[Item]) -> list[Item]:
    """Those of one kind."""
    return [item for item in items if isinstance(item, kind)]


@pytest.mark.parametrize("kind", [ROOM_1_8, PROGRESSES], ids=lambda kind: kind.name)
def test_a_speech_sounds_from_its_first_frame_on_without_a_hole(kind: SinkKind) -> None:
    """Two seconds that are reported as one run."""
    sink = FakeSink(kind, RATE)
    items = told(sink)
    assert of(Started, items) == [Started(1.0)]
    (run,) = of(Progressed, items)
    assert isinstance(run, Progressed)
    assert (run.at, run.offset, run.duration) == pytest.approx((1.0, 0.0, 2.0))
    (end,) = of(Finished, items)
    assert isinstance(end, Finished) and end.at == pytest.approx(3.0) and end.position == 2.0
    assert np.allclose(sink.sounded(), 1.0 + np.arange(2000) / RATE)


@pytest.mark.parametrize(
    ("kind", "starts", "runs"),
    [(ROOM_1_0, 0, 0), (ROOM_1_2, 0, 0), (ROOM_1_3, 1, 0), (ROOM_1_6, 1, 0), (ROOM_1_8, 1, 1)],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_is_reported_grew_with_the_versions(kind: SinkKind, starts: int, runs: int) -> None:
    """Nothing, then the start, then the runs."""
    items = told(FakeSink(kind, RATE))
    assert (len(of(Started, items)), len(of(Progressed, items))) == (starts, runs)


@pytest.mark.parametrize(
    ("kind", "position", "starts"),
    [(ROOM_1_2, 2.0, 0), (ROOM_1_3, 2.0, 2), (ROOM_1_6, 1.8, 1), (ROOM_1_8, 1.8, 1)],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_pause_throws_away_what_the_source_held(
    kind: SinkKind, position: float, starts: int
) -> None:
    """0.2 s never sound; whether the position knows of it, and the start is told again, differs."""
    sink = FakeSink(kind, RATE)
    items = told(sink, pause=(1.52, 2.0))
    times = sink.sounded()
    assert np.isnan(times).sum() == 200
    assert np.nanmax(np.diff(times[~np.isnan(times)])) > 0.4
    (end,) = of(Finished, items)
    assert isinstance(end, Finished) and end.position == pytest.approx(position)
    assert len(of(Started, items)) == starts


def test_runs_end_at_a_pause_and_go_on_behind_what_it_threw_away() -> None:
    """1.7 and later say exactly what sounded."""
    runs = of(Progressed, told(FakeSink(ROOM_1_8, RATE), pause=(1.52, 2.0)))
    told_of = [(run.at, run.offset, run.duration) for run in runs if isinstance(run, Progressed)]
    assert told_of == [pytest.approx((1.0, 0.0, 0.55)), pytest.approx((2.0, 0.75, 1.25))]


@pytest.mark.parametrize("kind", [ROOM_1_0, ROOM_1_2, ROOM_1_8], ids=lambda kind: kind.name)
def test_an_interruption_is_reported_with_what_had_sounded(kind: SinkKind) -> None:
    """Of 2 s that were pushed, 0.7 s."""
    sink = FakeSink(kind, RATE)
    (end,) = of(Finished, told(sink, clear=1.7))
    assert isinstance(end, Finished)
    assert (end.at, end.interrupted) == (1.7, True)
    assert end.position == pytest.approx(0.7)
    assert np.count_nonzero(~np.isnan(sink.sounded())) == 700


@pytest.mark.parametrize(
    ("kind", "first"),
    [(ROOM_1_3, 0.04), (ROOM_1_5, 0.01), (ROOM_1_7, 0.01), (ROOM_1_8, 0.01)],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_first_sound_waits_for_a_frame(kind: SinkKind, first: float) -> None:
    """10 ms at a time: RoomIO begins with a frame of 50 ms, of 20 ms, or with 20 ms of one."""
    sink = FakeSink(kind, RATE)
    for i in range(10):
        sink.advance(1.0 + i / 100)
        sink.push(10)
    sink.flush()
    sink.advance(2.0)
    assert sink.sounded()[0] == pytest.approx(1.0 + first)


def test_an_avatar_says_it_has_started_when_it_is_given_the_first_frame() -> None:
    """It sounds later, and ends later."""
    sink = FakeSink(AVATAR, RATE)
    items = told(sink)
    assert of(Started, items) == [Started(1.0)]
    assert sink.sounded()[0] == pytest.approx(1.4)
    (end,) = of(Finished, items)
    assert isinstance(end, Finished) and end.at == pytest.approx(3.4)
