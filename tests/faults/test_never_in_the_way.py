"""Whatever goes wrong in here, the agent's side neither waits nor raises."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from roark_analytics_python_livekit import RoarkClient, _pipeline
from roark_analytics_python_livekit._delivery.limits import Limits
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._delivery.worker import Worker
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._pipeline import Call
from roark_analytics_python_livekit._queue import MAX_WAITING, RESERVE, EventQueue
from roark_analytics_python_livekit._recovery import recover_all
from tests.faults.test_disk import complaints, dead_call, sound, until
from tests.support.fake_roark import call_file
from tests.support.processes import run
from tests.support.simulated_call import KEY, SimulatedCall

pytestmark = pytest.mark.faults


class Stuck:
    """An item in whose handling the shipping thread hangs until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch, blockbuster: BlockBuster) -> Stuck:
    """Makes the shipping thread hang where it meets this, which the detector would find."""
    blockbuster.deactivate()
    stuck, route = Stuck(), Call._route

    def hang_or_go_on(self: Call, item: object) -> None:
        if isinstance(item, Stuck):
            item.reached.set()
            item.go_on.wait(40)
        else:
            route(self, item)

    monkeypatch.setattr(Call, "_route", hang_or_go_on)
    return stuck


def test_a_blocked_shipping_thread_costs_the_agent_nothing_but_what_has_no_room(
    service: str, calls: Path, spool: Path, stuck: Stuck
) -> None:
    """Putting never waits, the queue is bounded, what it dropped is counted and told (fault 26)."""
    call = SimulatedCall(service, spool, budget=45.0)
    call.queue._limit = 400  # frames: twenty seconds of a call
    call.queue.put_urgent(stuck)
    assert stuck.reached.wait(20)
    for _ in range(600):
        call.frame()
    assert len(call.queue._items) <= 400 * RESERVE
    assert call.queue.dropped >= 200
    call.end()
    stuck.go_on.set()
    until(lambda: call.worker.done, 50.0)
    ended = call_file(calls)["ended"]
    assert ended["delivery"]["dropped"]["queue_full"] == call.queue.dropped
    assert len(sound(calls)) > 0


def test_a_dead_shipping_thread_costs_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Events and sound go nowhere, and do not pile up (fault 26)."""

    async def broken(queue: EventQueue) -> None:
        raise RuntimeError

    worker = Worker(broken, name="roark-dead")
    worker.start()
    until(lambda: worker.done)
    for number in range(3 * MAX_WAITING):
        worker.queue.put_urgent({"type": "turn", "text": str(number)})
        worker.queue.put(number)
    assert not worker.queue._items


class Hostile:
    """Raises wherever it is looked at."""

    def __repr__(self) -> str:
        raise RuntimeError("a secret of the caller")

    __str__ = __bool__ = __len__ = __iter__ = __hash__ = __repr__  # type: ignore[assignment]  # all


def test_hostile_values_do_not_cost_the_call(
    service: str, calls: Path, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """NaN, half surrogates, cycles, bytes, huge texts, and what raises at a look (fault 11)."""
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    call = SimulatedCall(service, spool)
    call.talk(1.0)
    odd = {"object": Hostile(), "nan": float("nan"), "half": "\ud800", "bytes": b"x", "me": cyclic}
    call.queue.put_urgent({"type": "metadata", "values": {**odd, "huge": "x" * 5_000_000}})
    call.end()
    until(lambda: call.worker.done)
    metadata = call_file(calls)["ended"]["metadata"]
    assert set(metadata) == {"kind", *odd, "huge"}
    assert metadata["object"] == "<Hostile>" and metadata["nan"] == "nan"
    assert len(json.dumps(metadata)) < 100_000
    assert call_file(calls)["ended"]["recording"]["status"] == "complete"
    assert complaints(caplog, "a secret of the caller") == 0


@pytest.fixture
def expects_errors(internal_errors: list[Exception]) -> Any:
    """Internal errors are what these tests are about."""
    yield
    internal_errors.clear()


@pytest.mark.usefixtures("expects_errors")
def test_an_item_that_cannot_be_taken_is_counted_in_call_ended(
    service: str, calls: Path, spool: Path
) -> None:
    """The others are taken (fault 11)."""
    call = SimulatedCall(service, spool)
    call.queue.put_urgent({"no": "record"})
    call.talk(0.6)
    call.end()
    until(lambda: call.worker.done)
    ended = call_file(calls)["ended"]
    assert ended["delivery"]["dropped"]["internal_error"] == 1
    assert [row["content"] for row in ended["transcript"]] == ["turn 1"]


def test_a_call_that_tells_without_end_is_cut(service: str, calls: Path, spool: Path) -> None:
    """Records have bounded room too; those on top are counted and told (fault 11)."""
    call = SimulatedCall(service, spool, limits=Limits(max_journal=10_000))
    for number in range(200):
        text = f"turn {number} " + "x" * 100
        call.queue.put_urgent({"type": "turn", "role": "user", "text": text, "at": call.start})
    call.end()
    until(lambda: call.worker.done)
    ended = call_file(calls)["ended"]
    dropped = ended["delivery"]["dropped"]["story_full"]
    assert 100 < dropped < 200
    assert len(ended["transcript"]) == 200 - dropped


OTHERS_RAISE = """
import asyncio, sys
from pathlib import Path
from tests.support.simulated_call import SimulatedCall

call = SimulatedCall(sys.argv[1], Path(sys.argv[2]))
call.talk(1.0)

async def ours():
    call.end()
    await call.worker.wait(6.5)

async def another():
    raise RuntimeError("another callback")

async def shut_down():
    # as livekit's job process does
    tasks = [asyncio.create_task(another()), asyncio.create_task(ours())]
    try:
        await asyncio.gather(*tasks)
    except Exception:
        pass

asyncio.run(shut_down())
"""


def test_another_shutdown_callback_that_raises_loses_nothing(
    service: str, calls: Path, spool: Path
) -> None:
    """The job stops waiting and closes its loop; the delivery goes on to its end (fault 19)."""
    ended = run("-c", OTHERS_RAISE, service, spool)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert call_file(calls)["ended"]["recording"]["status"] == "complete"
    assert list(spool.iterdir()) == []


async def test_a_blocking_call_in_this_package_is_found() -> None:
    """The detector that stands behind every test does detect (fault 26)."""

    module = compile("def hold(wait):\n    wait(0.001)\n", _pipeline.__file__, "exec")
    names: dict[str, Any] = {"__name__": "roark_analytics_python_livekit._pipeline"}
    exec(module, names)
    with pytest.raises(Exception, match="Blocking call"):
        names["hold"](time.sleep)


async def test_recovery_holds_no_loop_with_anything_but_the_spool(
    service: str, spool: Path
) -> None:
    """It runs on the shipping thread, and would do no harm elsewhere (fault 26)."""
    dead_call(spool, service)
    results = Counter[str]()
    async with RoarkClient(KEY, base_url=service) as client:
        await recover_all(
            Spool(spool), client, Guard(), on_call=lambda one: results.update([one.outcome])
        )
    assert results == {Outcome.OK: 1}


WHOLE_CALL = """
import sys, time
from pathlib import Path
from tests.support.simulated_call import SimulatedCall

before = set(sys.modules)
call = SimulatedCall(sys.argv[1], Path(sys.argv[2]))
call.talk(0.5)
call.end()
while not call.worker.done:
    time.sleep(0.01)
print(*sorted(set(sys.modules) - before))
"""


def test_a_call_imports_nothing(service: str, calls: Path, spool: Path) -> None:
    """An import holds the interpreter: it comes with the library, before the first call."""
    ended = run("-c", WHOLE_CALL, service, spool)
    assert ended.returncode == 0, ended.stderr
    assert len(list(calls.iterdir())) == 1
    assert ended.stdout.split() == []


def test_a_heavy_redact_in_another_process_leaves_the_interpreter_alone() -> None:
    """The example of the docs: what it computes there is nobody's delay here."""
    ended = run("-m", "tests.faults.heavy_redact")
    assert ended.returncode == 0, ended.stderr
    word, computed, late = ended.stdout.split()
    assert word == "hello" and float(computed) > 0.5
    assert float(late) < float(computed) / 2
