"""A call of two hours with a service that fails at random: all arrives, nothing is left over."""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from local_roark import Faults, create_app, serve_in_background
from tests.support.fake_roark import call_file, recording
from tests.support.processes import run
from tests.support.simulated_call import KEY, FastClock, SimulatedCall, pcm

SEED = int(os.environ.get("ROARK_TEST_SEED", "20251124"))
HOURS = float(os.environ.get("ROARK_TEST_HOURS", "2.0"))
RATE = 8000  # Hz: two hours are 230 MB
AFTERWARDS = 20.0  # times real time, once the call is over
SAMPLES = 8  # looks at the memory

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


def usage() -> dict[str, int]:
    """Descriptors and threads of this process."""
    return {"descriptors": len(os.listdir("/proc/self/fd")), "threads": threading.active_count()}


def resident() -> float:
    """Megabytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


def soak(base_url: str, spool: Path) -> dict[str, Any]:
    """Makes the call as fast as it goes, and measures; no load can make a frame come late."""
    clock, before, memory = FastClock(0.0), usage(), []
    options = {"clock": clock, "budget": 150 * AFTERWARDS, "rate": RATE, "turn_every": 100}
    call = SimulatedCall(base_url, spool, "RM_soak", tick=0.1, **options)
    began = time.monotonic()
    for _ in range(SAMPLES):
        call.rush(HOURS * 3600 / SAMPLES, backlog=64)
        memory.append(resident())
    call.end()
    clock.go(AFTERWARDS)
    call.join()
    took = time.monotonic() - began
    gc.collect()
    assert call.pipeline.call is not None
    stats = call.pipeline.call.uploader.stats
    return {
        "speed": round(HOURS * 3600 / took),
        "memory": memory,
        "leaked": {name: count - before[name] for name, count in usage().items()},
        "errors": call.guard.count,
        "retries": stats.retries,
        "chunks": stats.chunks_sent,
        "dropped": dict(stats.dropped),
    }


def test_a_long_call_with_random_faults_arrives_whole_and_leaves_nothing_behind(
    calls: Path, spool: Path
) -> None:
    """Each chunk at its place, memory flat, no thread and no descriptor left (fault 27)."""
    app = RandomFaults(lambda faults: create_app(calls, faults=faults), SEED)
    with serve_in_background(app) as service:
        ended = run("-m", "tests.faults.test_long_call", service, spool)
    assert ended.returncode == 0, ended.stderr.replace(KEY, "KEY")
    assert KEY not in ended.stderr
    measured = json.loads(ended.stdout)
    print(f"seed {SEED}: {measured}, hits {dict(app.faults.hits)}")
    assert measured["errors"] == 0 and measured["dropped"] == {}
    assert measured["retries"] > 20
    settled = measured["memory"][len(measured["memory"]) // 4 :]
    assert max(settled) - min(settled) < 12.0, measured["memory"]
    assert measured["leaked"] == {"descriptors": 0, "threads": 0}
    assert list(spool.iterdir()) == []
    event = call_file(calls, "RM_soak")["ended"]
    assert event["recording"]["status"] == "complete"
    texts = [row["content"] for row in event["transcript"]]
    assert texts == [f"turn {number}" for number in range(1, len(texts) + 1)]
    assert len(texts) == round(HOURS * 3600 / 5)
    _check_sound(calls)


def _check_sound(calls: Path) -> None:
    """Sample by sample, two hours of it."""
    _, both = recording(calls, "RM_soak")
    left, count = both[:, 0], len(both)
    first = int(np.flatnonzero(left)[0])
    assert first < RATE
    assert count - first >= HOURS * 3600 * RATE - RATE // 10
    assert np.array_equal(left[first:], pcm(0, count - first))


if __name__ == "__main__":
    print(json.dumps(soak(sys.argv[1], Path(sys.argv[2]))))
