"""A process is killed in mid-call: the next one delivers what it left."""

from __future__ import annotations

import json
import signal
import wave
from pathlib import Path

import numpy as np
import pytest

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._recovery import Recovered, recover_all
from tests.support.simulated_call import KEY, RATE, pcm, spawn

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
    with spawn(service, spool) as child:
        assert child.stdout is not None
        while child.stdout.readline().strip() != "12":
            pass
        child.send_signal(signal.SIGKILL)

    (recovered,) = await recover(service, spool)
    assert recovered.outcome is Outcome.OK
    assert list(spool.iterdir()) == []
    call = json.loads((calls / "RM_1" / "call.json").read_text())
    turns = [row["content"] for row in call["ended"]["transcript"]]
    assert turns[:11] == [f"turn {number}" for number in range(1, 12)]
    assert call["ended"]["delivery"]["recovered"] is True
    assert call["ended"]["recording"]["status"] == "complete"
    with wave.open(str(calls / "RM_1" / "recording.wav")) as wav:
        sound = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 2)
    assert len(sound) / RATE > 12 * 0.5 - 1.0
    first = int(np.flatnonzero(sound[:, 0])[0])  # the frame before it was handed over
    assert np.array_equal(sound[first:, 0], pcm(0, len(sound) - first))
