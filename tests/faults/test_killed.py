"""A process is killed in mid-call: the next one delivers what it left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._recovery import Recovered, recover_all
from tests.support.fake_roark import call_file, recording
from tests.support.simulated_call import KEY, RATE, kill, pcm

pytestmark = pytest.mark.faults


async def recover(service: str, spool: Path, limits: Limits = DEFAULT_LIMITS) -> list[Recovered]:
    """What the next process does in the background, and `recover` by hand."""
    found: list[Recovered] = []
    async with RoarkClient(KEY, base_url=service) as client:
        await recover_all(Spool(spool), client, Guard(), limits=limits, on_call=found.append)
    return found


async def test_a_call_killed_in_its_middle_is_recovered_to_the_last_second(
    service: str, calls: Path, spool: Path
) -> None:
    """Every turn but the last, all sound but the last second; the spool is empty (fault 17)."""
    kill(service, spool, turn=12)
    (recovered,) = await recover(service, spool)
    assert recovered.outcome is Outcome.OK
    assert list(spool.iterdir()) == []
    call = call_file(calls)
    turns = [row["content"] for row in call["ended"]["transcript"]]
    assert turns[:11] == [f"turn {number}" for number in range(1, 12)]
    assert call["ended"]["delivery"]["recovered"] is True
    assert call["ended"]["recording"]["status"] == "complete"
    _, sound = recording(calls)
    assert len(sound) / RATE > 12 * 0.5 - 1.0
    first = int(np.flatnonzero(sound[:, 0])[0])  # the frame before it was handed over
    assert np.array_equal(sound[first:, 0], pcm(0, len(sound) - first))
