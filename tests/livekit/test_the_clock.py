"""Nothing on the recording's time line depends on the wall clock."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest

pytest.importorskip("livekit.agents")

from roark_analytics_python_livekit._livekit.clock import WallClock
from tests.support.processes import run
from tests.support.recording_checks import HEARD, PLAYED, TURN

DAY = 86_400.0


async def test_a_clock_that_is_set_by_a_day_in_mid_call_moves_nothing(tmp_path: Path) -> None:
    """Forward in the greeting, two days back in the question, and right again in the answer."""
    ended = await asyncio.to_thread(run, "-m", "tests.livekit.jumping_clock", tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["played"] < PLAYED and found["heard"] < HEARD, found
    assert found["turns"] < TURN and found["seconds"] < 30, found


@pytest.mark.parametrize("step", [DAY, -DAY, 5.0])
def test_a_time_is_read_on_the_clock_as_it_was_then(step: float) -> None:
    """Whether it comes from before the clock was set or from after."""
    now, ahead = 100.0, 1_000_000.0
    clock = WallClock(wall=lambda: now + ahead, monotonic=lambda: now)
    now = 110.0
    clock.look()
    before = now + ahead - 3.0
    ahead += step
    now = 112.0
    assert clock.monotonic(before) == pytest.approx(107.0)
    now = 120.0
    assert clock.monotonic(now + ahead - 2.0) == pytest.approx(118.0)
    assert clock.monotonic(None) == 120.0


@pytest.mark.parametrize(
    "absurd",
    [
        0,
        0.0,
        -1.0,
        True,
        math.nan,
        math.inf,
        -math.inf,
        1e300,
        10**400,
        1_764_000_000_000,
        "now",
        {},
    ],
)
def test_a_time_that_cannot_be_one_is_now(absurd: object) -> None:
    """Milliseconds for seconds, nothing at all: they come from plugins."""
    clock = WallClock(wall=lambda: 1_764_000_000.0, monotonic=lambda: 100.0)
    assert clock.monotonic(absurd) == 100.0
    assert clock.monotonic(1_764_000_000.0 - DAY + 1) == 101.0 - DAY


def test_a_slewed_clock_is_followed() -> None:
    """500 ppm for an hour: never wrong by more than a few milliseconds."""
    now, ahead = 0.0, 1_000_000.0
    clock = WallClock(wall=lambda: now + ahead, monotonic=lambda: now)
    for second in range(3600):
        now, ahead = float(second), 1_000_000.0 + 0.0005 * second
        assert clock.monotonic(now + ahead - 1.0) == pytest.approx(now - 1.0, abs=0.01)
