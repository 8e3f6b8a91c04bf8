"""The end of calls and processes, outages and odd clocks."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from local_roark import Faults, create_app, serve_in_background
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from tests.faults.test_disk import CHUNK_BYTES, dead_call, sound, until
from tests.faults.test_killed import recover
from tests.support.fake_roark import call_file
from tests.support.processes import run
from tests.support.simulated_call import RATE, FastClock, SimulatedCall, pcm

pytestmark = pytest.mark.faults

DAY = 24 * 3600.0


def assert_sound(calls: Path, seconds: float, call_id: str = "RM_1") -> None:
    """The recording is the caller's sound, sample by sample, and about so long."""
    left = sound(calls, call_id)
    first, last = (int(np.flatnonzero(left)[place]) for place in (0, -1))
    assert np.array_equal(left[first : last + 1], pcm(0, last + 1 - first))
    assert abs((last - first) / RATE - seconds) < 0.6


async def test_a_job_ends_within_its_budget_and_the_next_process_delivers_the_rest(
    service: str, calls: Path, spool: Path, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    """The service hangs; later a second call-ended says that all is there (fault 18)."""
    clock = FastClock(10.0)
    call = SimulatedCall(service, spool, clock=clock, budget=2.0)
    call.talk(4.0)
    until(lambda: (calls / "RM_1" / "chunks" / "000000.pcm").exists())
    faults.add("chunk-upload-url:hang")
    call.talk(4.0)
    clock.go(1.0)
    before = time.monotonic()
    call.end()
    assert await call.worker.wait(10.0)
    assert time.monotonic() - before < 8.0  # a budget of two seconds, on a busy machine
    first = call_file(calls)["ended"]
    assert first["recording"]["status"] == "partial"
    assert first["callEndedReason"] == "participant_disconnected"
    assert call.pipeline.call is not None
    kept = call.pipeline.call.uploader.stats.spooled
    assert kept > 0
    assert any(f"{kept} kept in the spool" in record.getMessage() for record in caplog.records)

    faults.clear()
    (recovered,) = await recover(service, spool)
    assert recovered.outcome is Outcome.OK
    second = call_file(calls)["ended"]
    assert second["recording"]["status"] == "complete"
    assert second["recording"]["gaps"] == []
    assert second["callEndedReason"] == first["callEndedReason"]
    assert second["transcript"] == first["transcript"]
    assert_sound(calls, 8.0)
    assert list(spool.iterdir()) == []


async def test_everything_hangs_and_everything_is_kept(
    service: str, calls: Path, spool: Path, faults: Faults
) -> None:
    """Nothing of the call arrived; recovery delivers it from its beginning (fault 18)."""
    faults.add("*:hang")
    call = SimulatedCall(service, spool, clock=(clock := FastClock(10.0)), budget=1.0)
    call.talk(3.0)
    clock.go(1.0)
    call.end()
    assert await call.worker.wait(10.0)
    assert call.pipeline.call is not None
    assert call.pipeline.call.uploader.stats.spooled >= 3
    faults.clear()
    await recover(service, spool)
    assert call_file(calls)["started"] is not None
    assert call_file(calls)["ended"]["recording"]["status"] == "complete"
    assert_sound(calls, 3.0)


LEAVING = """
import sys
from pathlib import Path
from tests.support.simulated_call import SimulatedCall

call = SimulatedCall(sys.argv[1], Path(sys.argv[2]))
call.talk(1.0)
"""


def test_a_process_that_just_ends_delivers_its_open_call(
    service: str, calls: Path, spool: Path
) -> None:
    """Its main thread is gone with the call open: the shipping thread ends it (fault 18)."""
    ended = run("-c", LEAVING, service, spool)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert call_file(calls)["ended"]["callEndedReason"] == "process_exit"
    assert call_file(calls)["ended"]["recording"]["status"] == "complete"
    assert_sound(calls, 1.0)
    assert list(spool.iterdir()) == []


OFF_MAIN = """
import sys, threading
from pathlib import Path
from tests.support.simulated_call import SimulatedCall

def work():
    call = SimulatedCall(sys.argv[1], Path(sys.argv[2]))
    threading.main_thread().join()
    call.talk(1.5)
    if sys.argv[3] == "closes":
        call.end("user_initiated")
        call.join()

threading.Thread(target=work, daemon=False).start()
"""


@pytest.mark.parametrize(
    ("how", "reason"), [("closes", "user_initiated"), ("just ends", "process_exit")]
)
def test_an_agent_on_another_thread_outlives_the_main_one(
    service: str, calls: Path, spool: Path, how: str, reason: str
) -> None:
    """The process waits for that thread: its call goes on until the thread ends, too (fault 18)."""
    ended = run("-c", OFF_MAIN, service, spool, how)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert call_file(calls)["ended"]["callEndedReason"] == reason
    assert_sound(calls, 1.5)


HANGS = """
import os, sys, time
from pathlib import Path
from tests.support.simulated_call import SimulatedCall

hung = []

def hang(*_):
    hung.append(True)
    time.sleep(45)

class Hanging:
    __str__ = hang

call = SimulatedCall(sys.argv[1], Path(sys.argv[2]), budget=1.0)
call.talk(0.6)
if sys.argv[3] == "disk":
    os.write = hang
    call.talk(0.6)
else:
    call.queue.put_urgent({"type": "metadata", "values": {"it": Hanging()}})
while not hung:
    time.sleep(0.01)
print(time.monotonic(), flush=True)
"""


@pytest.mark.parametrize("what", ["metadata", "disk"])
def test_a_process_ends_whatever_hangs(service: str, spool: Path, what: str) -> None:
    """Within the budget and a second, not when it comes back: that is 45 s later (fault 37)."""
    ended = run("-c", HANGS, service, spool, what)
    took = time.monotonic() - float(ended.stdout)
    print(f"{what}: the process ended after {took:.1f} s")
    assert ended.returncode == 0
    assert "something hangs: the process ends without it" in ended.stderr
    assert took < 30.0  # a budget of one second, on a busy machine


@pytest.mark.parametrize("jump", [-DAY, DAY])
async def test_a_jump_of_the_wall_clock_changes_nothing(
    service: str, calls: Path, spool: Path, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls do not grow too old by it, and offsets stay where they are (fault 20)."""
    dead_call(spool, service, "RM_2")
    (waiting,) = Spool(spool, clock=lambda: time.time() + jump).calls()
    assert 0.0 <= waiting.age < DAY + 3600
    call = SimulatedCall(service, None, clock=FastClock(10.0), budget=100.0)
    call.talk(1.0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    assert Spool(spool).evict() == []
    call.talk(2.0)
    call.end()
    until(lambda: call.worker.done)
    (recovered,) = await recover(service, spool)
    assert recovered.outcome is Outcome.OK
    assert_sound(calls, 3.0)
    rows = call_file(calls)["ended"]["transcript"]
    offsets = [row["audioOffsetMs"] for row in rows]
    assert np.abs(np.diff(offsets) - 500).max() <= 1
    dead = call_file(calls, "RM_2")["ended"]["transcript"]
    assert [row["audioOffsetMs"] for row in dead] == [1000, 2000, 3000]


def test_an_outage_of_ten_minutes_costs_nothing_and_no_memory(
    service: str, calls: Path, spool: Path, faults: Faults
) -> None:
    """Every turn and every sample arrives; the sound waits on disk (fault 27)."""
    clock = FastClock(0.0)
    call = SimulatedCall(service, spool, clock=clock, budget=600.0)
    call.rush(10.0)
    until(lambda: (calls / "RM_1" / "chunks" / "000001.pcm").exists())
    faults.add("*:drop")
    tracemalloc.start()
    try:
        call.rush(300.0)
        tracemalloc.reset_peak()
        middle, _ = tracemalloc.get_traced_memory()
        call.rush(300.0)
        end, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    figures = f"{middle / 1e6:.1f} MB, {end / 1e6:.1f} MB at its end, {peak / 1e6:.1f} MB peak"
    print(f"after five minutes of outage: {figures}")
    waiting = sum(path.stat().st_size for path in spool.rglob("*.pcm"))
    assert waiting > 0.9 * 600 * 4 * RATE
    assert end - middle < 3e6 and peak < 32e6, figures
    faults.clear()
    call.rush(5.0)
    call.end()
    until(lambda: call.worker.done, 45.0)
    ended = call_file(calls)["ended"]
    assert ended["recording"]["status"] == "complete"
    numbers = [int(row["content"].split()[1]) for row in ended["transcript"]]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) == 1230
    assert_sound(calls, 615.0)
    assert list(spool.iterdir()) == []


class OneChunkFails:
    """Refuses each try of one chunk's bytes.

    Args:
        app: The service.
        index: Which chunk.
        status: What is answered.
    """

    def __init__(self, app: ASGIApp, index: int, status: int) -> None:
        self.failing = True
        self._app = app
        self._name = f"{index:06d}"
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes one request."""
        path = scope.get("path", "")
        chunk = path.rsplit("/", 1)[-1].split(".")[0]
        if not (self.failing and path.startswith("/uploads/") and chunk.endswith(self._name)):
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self._status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("status", [503, 400])
def test_a_chunk_that_fails_for_ever_is_the_only_one_missing(
    calls: Path, spool: Path, status: int
) -> None:
    """The others arrive, call-ended says which gap, and it is partial (fault 28)."""
    app = OneChunkFails(create_app(calls), 1, status)
    with serve_in_background(app) as service:
        clock = FastClock(10.0)
        call = SimulatedCall(service, spool, clock=clock, budget=2.0)
        call.talk(9.0)
        clock.go(1.0)
        call.end()
        until(lambda: call.worker.done)
        manifest: dict[str, Any] = call_file(calls)["ended"]["recording"]
        assert manifest["status"] == "partial"
        start, end = (round(count * CHUNK_BYTES / 4 / RATE * 1000) for count in (1, 2))
        assert manifest["gaps"] == [{"startMs": start, "endMs": end}]
        names = sorted(path.stem for path in (calls / "RM_1" / "chunks").iterdir())
        assert names[:2] == ["000000", "000002"]
        assert manifest["chunkCount"] == len(names)
        if status == 503:
            app.failing = False
            asyncio.run(recover(service, spool))
            assert call_file(calls)["ended"]["recording"]["status"] == "complete"
            assert_sound(calls, 9.0)
    assert list(spool.iterdir()) == []


def test_a_call_that_cannot_be_completed_does_not_keep_the_younger_ones(
    calls: Path, spool: Path
) -> None:
    """Recovery goes on behind it as long as the service takes anything (fault 28)."""
    app = OneChunkFails(create_app(calls), 3, 503)
    with serve_in_background(app) as service:
        dead_call(spool, service, "RM_1")
        dead_call(spool, service, "RM_2", frames=1000)
        found = {one.call_id: one.outcome for one in asyncio.run(recover(service, spool))}
    assert found == {"RM_1": Outcome.LATER, "RM_2": Outcome.OK}
    assert call_file(calls, "RM_1")["ended"]["recording"]["status"] == "partial"
    assert [path.name.split(".")[0] for path in spool.iterdir()] == ["RM_1"]
