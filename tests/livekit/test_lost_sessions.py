"""Sessions that nobody closes: the call of one that is garbage is over, and nothing spins."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("livekit.agents")

from local_roark import create_app
from roark_analytics_python_livekit import RoarkClient, observe_session
from roark_analytics_python_livekit._livekit.observer import LOOK_EVERY, Observation
from roark_analytics_python_livekit.session import CallHandle
from tests.support.fake_roark import KEY, call_file
from tests.support.observed_calls import FakeJob, create_session, spool_of
from tests.support.processes import run


async def observe(session: Any, folder: Path, call_id: str, job: FakeJob) -> CallHandle:
    """Observes a session, which is in its own metadata too, and calls a service in memory."""
    transport = httpx.ASGITransport(create_app(folder))
    client = RoarkClient(KEY, base_url="https://roark.test", transport=transport)
    return await observe_session(
        job,  # type: ignore[arg-type]  # a stand-in
        session,
        agent_id="agent",
        livekit_call_id=call_id,
        client=client,
        spool_dir=spool_of(folder),
        owner=session,
    )


def look(observation: Observation) -> None:
    """The first look, which subscribes to the models."""
    observer = observation._observer()
    assert observer is not None
    observer._lookout.wake()


async def test_a_session_that_is_garbage_ends_its_call(tmp_path: Path) -> None:
    """Neither handle, nor job, nor a model that others use keeps it: twenty of them (fault 37)."""
    jobs = [FakeJob(f"RM_{number}") for number in range(20)]
    model = create_session({}).llm
    handles: list[CallHandle] = []
    known: list[weakref.ref[Any]] = []
    for number, job in enumerate(jobs):
        session: Any = create_session({})
        session._llm = model
        handle = await observe(session, tmp_path / "calls", f"RM_{number}", job)
        handles.append(handle)
        assert handle._parts is not None
        look(handle._parts.observation)
        known.append(weakref.ref(session))
    del session
    for _ in range(20):  # one that begins while another thread collects does nothing
        await asyncio.sleep(LOOK_EVERY / 10)
        gc.collect()
    assert [ref() for ref in known] == [None] * 20
    for handle in handles:
        assert handle._parts is not None
        assert await handle._parts.worker.wait(30.0)
    ended = call_file(tmp_path / "calls", "RM_7")["ended"]
    assert (ended["callEndedReason"], ended["endedBy"]) == ("session_lost", "worker")


@pytest.mark.parametrize("how", ["flushed", "never closed"])
async def test_under_a_policy_with_a_clock_of_its_own_nothing_spins(
    tmp_path: Path, how: str
) -> None:
    """Neither the agent's loop nor the library's, and the process ends (fault 37)."""
    ended = await asyncio.to_thread(run, "-m", "tests.livekit.virtual_time", tmp_path, how)
    assert ended.returncode == 0, ended.stderr[-2000:]
    turns, engine, delivered = ended.stdout.split()
    assert engine == "_UnixSelectorEventLoop"
    assert int(turns) < 100  # of the loop, in a second in which nothing happens
    assert delivered == ("True" if how == "flushed" else "False")
    assert call_file(tmp_path)["ended"] is not None
