"""A call in a process whose loops, made by its policy, do not wait for time; prints what they did.

Not a test module: the policy is the whole process's.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from pathlib import Path
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Goes on to the next timer as soon as there is nothing else to do."""

    def __init__(self) -> None:
        self.turns = 0
        self._now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Seconds that its timers were to take."""
        return self._now


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        self._loop.turns += 1
        if timeout is None:
            return super().select(None)
        events = super().select(0)
        if not events:
            self._loop._now += max(timeout, 0.0)
        return events


class Policy(asyncio.DefaultEventLoopPolicy):
    """As that of livekit's own tests."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """A loop that does not wait."""
        return VirtualTimeLoop()


async def converse(folder: Path, how: str) -> None:
    """A session that is observed and looked at, and then a second in which nothing happens."""
    import httpx

    from local_roark import create_app
    from roark_analytics_python_livekit import RoarkClient, observe_session
    from roark_analytics_python_livekit._process import shared
    from tests.support.observed_calls import FakeJob, create_session

    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    transport = httpx.ASGITransport(create_app(folder))
    client = RoarkClient("rk_live_replace_me", base_url="https://roark.test", transport=transport)
    session, job = create_session({}), FakeJob()
    handle = await observe_session(
        job,  # type: ignore[arg-type]  # a stand-in
        session,
        agent_id="agent",
        livekit_call_id="RM_1",
        client=client,
        spool_dir=None,
    )
    assert handle._parts is not None
    observer = handle._parts.observation._observer()
    assert observer is not None
    observer._lookout.wake()
    turns = loop.turns
    await loop.run_in_executor(None, time.sleep, 1.0)
    spent, engine = loop.turns - turns, shared._kept["engine"].thread._loop
    if how == "flushed":
        await handle.aflush()
    print(spent, type(engine).__name__, handle.stats.done)


if __name__ == "__main__":
    asyncio.set_event_loop_policy(Policy())
    asyncio.run(converse(Path(sys.argv[1]), sys.argv[2]))
