"""A call of two hours with a service that fails at random: all arrives, nothing is left over."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from local_roark import Faults, create_app, serve_in_background
from tests.faults.test_disk import call_file
from tests.support.processes import environment
from tests.support.simulated_call import KEY, pcm
from tests.support.soak import RATE

SEED = int(os.environ.get("ROARK_TEST_SEED", "20251124"))
HOURS = float(os.environ.get("ROARK_TEST_HOURS", "2.0"))

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


class RandomFaults:
    """Puts a fault in force before some of the requests.

    Args:
        make: Makes the service, which has the faults.
        seed: Of the dice.
    """

    def __init__(self, make: Callable[[Faults], ASGIApp], seed: int) -> None:
        self.faults = Faults()
        self._app = make(self.faults)
        self._dice = random.Random(seed)
        self._kinds = ["status=500", "status=503", "drop", "drop-answer", "delay=0.05"]
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes one request; every hundredth begins a short outage of everything."""
        self._count += 1
        if self._count % 100 == 0:
            self.faults.clear()
            self.faults.add("*:drop,count=8")
        elif self._dice.random() < 0.03:
            self.faults.clear()
            self.faults.add(f"*:{self._dice.choice(self._kinds)},count=1")
        await self._app(scope, receive, send)


def run_soak(service: str, spool: Path) -> dict[str, Any]:
    """The call in a process of its own; what it measured."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.soak", service, str(spool), str(HOURS)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert ended.returncode == 0, ended.stderr.replace(KEY, "KEY")
    assert KEY not in ended.stderr
    measured: dict[str, Any] = json.loads(ended.stdout)
    return measured


def test_a_long_call_with_random_faults_arrives_whole_and_leaves_nothing_behind(
    calls: Path, spool: Path
) -> None:
    """Each chunk at its place, memory flat, no thread and no descriptor left (fault 27)."""
    app = RandomFaults(lambda faults: create_app(calls, faults=faults), SEED)
    with serve_in_background(app) as service:
        measured = run_soak(service, spool)
    print(f"seed {SEED}: {measured}, hits {dict(app.faults.hits)}")
    assert measured["errors"] == 0 and measured["dropped"] == {}
    assert measured["retries"] > 20
    settled = measured["memory"][len(measured["memory"]) // 4 :]
    assert max(settled) - min(settled) < 12.0, measured["memory"]
    assert measured["descriptors"][0] == measured["descriptors"][1]
    assert measured["threads"][0] == measured["threads"][1]
    assert list(spool.iterdir()) == []
    ended = call_file(calls, "RM_soak")["ended"]
    assert ended["recording"]["status"] == "complete"
    texts = [row["content"] for row in ended["transcript"]]
    assert texts == [f"turn {number}" for number in range(1, len(texts) + 1)]
    assert len(texts) == round(HOURS * 3600 / 5)
    assert_all_sound(calls / "RM_soak" / "recording.wav")


def assert_all_sound(path: Path) -> None:
    """Sample by sample, two hours of it."""
    with wave.open(str(path)) as wav:
        count = wav.getnframes()
        left = np.frombuffer(wav.readframes(count), "<i2")[::2]
    first = int(np.flatnonzero(left)[0])
    assert first < RATE
    assert count - first >= HOURS * 3600 * RATE - RATE // 10
    assert np.array_equal(left[first:], pcm(0, count - first))
