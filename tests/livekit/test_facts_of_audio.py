"""What the recording is told of livekit's inputs and sinks."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("livekit.agents")

from livekit import rtc

from roark_analytics_python_livekit._livekit.compat import is_unpublish, probe, sink_traits
from tests.support.fake_sinks import ROOM_1_2, ROOM_1_5

RATE = 24_000


@pytest.mark.parametrize(
    ("seconds", "level", "expected"),
    [(0.5, 0, True), (0.5, 1, False), (0.05, 0, False)],
    ids=["RoomIO's", "a long frame with sound", "a silent frame"],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_long_frame_of_zeros_says_that_the_track_went_away(
    seconds: float, level: int, expected: bool, channels: int
) -> None:
    """RoomIO has no other word for it."""
    samples = np.zeros(round(seconds * RATE) * channels, np.int16)
    samples[-1] = level
    frame = rtc.AudioFrame(samples.tobytes(), RATE, channels, len(samples) // channels)
    assert is_unpublish(frame) is expected


@pytest.mark.parametrize(
    ("progressive", "kind"), [(False, ROOM_1_2), (True, ROOM_1_5)], ids=["1.2", "1.5"]
)
def test_only_the_room_plays_in_frames(progressive: bool, kind: Any) -> None:
    """The fake rooms of the recording's tests are believed as the real ones are."""
    can = replace(
        probe(),
        playback_started=kind.starts,
        playback_progressed=False,
        progressive_frames=progressive,
    )
    tap = SimpleNamespace(label="Roark")
    assert sink_traits([tap, SimpleNamespace(label="RoomIO")], can) == kind.traits
    other = sink_traits([SimpleNamespace(label="RoomIO"), SimpleNamespace(label="Own")], can)
    assert (other.reports_start, other.frame_seconds, other.queue_seconds) == (kind.starts, 0, 0)
    assert other.first_frames_seconds == ()
