"""Several processes, threads and event loops: nothing is shared that must not be."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from local_roark import create_app, serve_in_background
from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._call.payloads import call_started
from roark_analytics_python_livekit._delivery.call_spool import CallSpool
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from tests.faults.test_disk import FRAMES, dead_call, sound, until
from tests.faults.test_killed import recover
from tests.support.fake_roark import call_file
from tests.support.processes import run, start
from tests.support.simulated_call import KEY, FastClock, SimulatedCall, facts_of, kill, pcm

pytestmark = pytest.mark.faults


def recovering(service: str, spool: Path) -> subprocess.Popen[str]:
    """Starts `recover` as a process of its own."""
    command = ("-m", "roark_analytics_python_livekit", "recover")
    return start(*command, "--spool-dir", spool, "--base-url", service, ROARK_API_KEY=KEY)


def accepted(calls: Path, call_id: str) -> Counter[str]:
    """How often each chunk and event was taken."""
    taken: Counter[str] = Counter()
    for one in call_file(calls, call_id)["deliveries"]:
        if one["status"] == 200 and one["endpoint"] == "uploads":
            taken[f"chunk {one['chunkIndex']}"] += 1
        if one["status"] == 200 and one["endpoint"] == "events":
            taken[one["event"]] += 1
    return taken


def test_two_processes_recover_a_killed_call_once(service: str, calls: Path, spool: Path) -> None:
    """Each chunk and event is accepted once, beside calls that died before (fault 17)."""
    for number in range(4):
        dead_call(spool, service, f"RM_{number + 2}", frames=FRAMES + 100)
    kill("http://127.0.0.1:9", spool, turn=20, speed=10)
    (journal,) = spool.glob("RM_1.*/journal")
    rebase(journal.parent, service)
    both = [recovering(service, spool) for _ in range(2)]
    outputs = [process.communicate(timeout=50) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert KEY not in str(outputs)
    assert list(spool.iterdir()) == []
    for number in range(1, 6):
        taken = accepted(calls, f"RM_{number}")
        assert set(taken.values()) == {1}, taken
        assert {"call-started", "call-ended", "chunk 0"} <= set(taken)
        assert sum(text.count(f"RM_{number}: delivered") for text, _ in outputs) == 1
    left = sound(calls)
    first = int(np.flatnonzero(left)[0])
    assert np.array_equal(left[first:], pcm(0, len(left) - first))


async def test_a_terminated_process_leaves_its_call_to_the_next(
    service: str, calls: Path, spool: Path
) -> None:
    """SIGTERM right after something happened loses next to nothing (fault 18)."""
    assert kill(service, spool, turn=12, speed=10, by=signal.SIGTERM) == -signal.SIGTERM
    (recovered,) = await recover(service, spool)
    assert recovered.outcome is Outcome.OK
    turns = [row["content"] for row in call_file(calls)["ended"]["transcript"]]
    assert turns[:11] == [f"turn {number}" for number in range(1, 12)]
    assert call_file(calls)["ended"]["recording"]["status"] == "complete"
    assert list(spool.iterdir()) == []


def rebase(path: Path, service: str) -> None:
    """Makes a call's journal one of this service, as if it had been that all the time."""
    call = CallSpool.claim(path)
    assert call is not None
    records = list(call.read_journal().records())
    records[0]["base_url"] = service
    (path / "journal").unlink()
    for record in records:
        call.append_record(record)
    call.release()


class PortsOfKeys:
    """Notes which client port carried which call."""

    def __init__(self, app: ASGIApp) -> None:
        self.seen: set[tuple[int, bytes]] = set()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes one request."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            self.seen.add((scope["client"][1], headers.get(b"idempotency-key", b"")))
        await self._app(scope, receive, send)


FORKING = """
import asyncio, os, sys
from roark_analytics_python_livekit import RoarkClient
from tests.faults.test_processes import post
from tests.support.simulated_call import KEY

client = RoarkClient(KEY, base_url=sys.argv[1])
loop = asyncio.new_event_loop()
loop.run_until_complete(post(client, "RM_parent", "a"))
child = os.fork()
if child == 0:
    work = post(client, "RM_child", "child")
    asyncio.run(work) if sys.argv[2] == "new loop" else loop.run_until_complete(work)
    os._exit(0)
os.waitpid(child, 0)
loop.run_until_complete(post(client, "RM_parent", "b"))
loop.run_until_complete(client.aclose())
loop.close()
"""


async def post(client: RoarkClient, call_id: str, key: str) -> None:
    """The smallest call-started."""
    event = cast(dict[str, Any], call_started(facts_of(call_id), {}))
    await client.post_event(event, idempotency_key=key)


@pytest.mark.parametrize("where", ["new loop", "parent's loop"])
def test_a_forked_process_makes_connections_of_its_own(calls: Path, where: str) -> None:
    """Parent and child post with one client, over different sockets (fault 24)."""
    app = PortsOfKeys(create_app(calls))
    with serve_in_background(app) as service:
        ended = run("-c", FORKING, service, where)
    assert ended.returncode == 0, ended.stderr
    ports = {key: port for port, key in app.seen}
    assert set(ports) == {b"a", b"b", b"child"}, ended.stderr
    assert ports[b"child"] not in (ports[b"a"], ports[b"b"])


HOLDING = """
import os, sys, time
from pathlib import Path
from roark_analytics_python_livekit._delivery.spool import Spool

(call,) = Spool(Path(sys.argv[1])).abandoned()
if (child := os.fork()) == 0:
    os.close(1)
    os.close(2)
    time.sleep(300)
    os._exit(0)
print(child, flush=True)
os._exit(9)
"""


async def test_a_forked_child_does_not_hold_its_dead_parents_call(
    service: str, spool: Path
) -> None:
    """The child lives on, the call is recovered all the same (fault 24)."""
    dead_call(spool, service)
    ended = run("-c", HOLDING, spool)
    assert ended.returncode == 9, ended.stderr
    try:
        until(lambda: not Spool(spool).calls()[0].claimed)
        (recovered,) = await recover(service, spool)
        assert recovered.outcome is Outcome.OK
    finally:
        os.kill(int(ended.stdout), signal.SIGKILL)  # it lived until now


def test_one_client_serves_two_event_loops_in_two_threads(calls: Path) -> None:
    """Each has connections of its own, and every event arrives (fault 24)."""
    app = PortsOfKeys(create_app(calls))
    with serve_in_background(app) as service:
        client = RoarkClient(KEY, base_url=service)
        barrier = threading.Barrier(2)

        async def work(name: str) -> None:
            for number in range(10):
                barrier.wait()
                await post(client, f"RM_{name}", f"{name}{number}")
            await client.aclose()

        threads = [
            threading.Thread(target=lambda name=name: asyncio.run(work(name))) for name in "xy"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    ports = {name: {port for port, key in app.seen if key[:1] == name} for name in (b"x", b"y")}
    assert len({key for _, key in app.seen}) == 20
    assert not ports[b"x"] & ports[b"y"]


def test_two_calls_at_once_do_not_mix(service: str, calls: Path, spool: Path) -> None:
    """One shipping thread, one spool: each call has its own turns and its own sound (fault 24)."""
    both = [
        SimulatedCall(service, spool, name, clock=FastClock(10.0), budget=300.0)
        for name in ("RM_x", "RM_y")
    ]
    for number in range(80):
        both[0].talk(0.05)
        if number % 2:
            both[1].talk(0.05)
    for call in both:
        call.end()
    until(lambda: all(call.worker.done for call in both))
    assert len(call_file(calls, "RM_x")["ended"]["transcript"]) == 8
    assert len(call_file(calls, "RM_y")["ended"]["transcript"]) == 4
    for name in ("RM_x", "RM_y"):
        left = sound(calls, name)
        spoken = left[np.flatnonzero(left)[0] :]
        assert np.array_equal(spoken[:40_000], pcm(0, min(40_000, len(spoken))))
    assert list(spool.iterdir()) == []
