"""What observing costs the agent's event loop: attaching, and each frame through a tap.

    uv run python tests/benchmarks/attach.py

Prints medians, and as a yardstick from the same run what livekit itself takes to make a session and
to make a frame. The service never answers: attaching waits for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import tempfile
import time
from types import SimpleNamespace
from typing import Any

import httpx
from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import io

from roark_analytics_python_livekit import RoarkClient, observe_session
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._livekit.compat import probe
from roark_analytics_python_livekit._livekit.taps import InputTap

CALLS, FRAMES = 30, 20_000


class NeverAnswers(httpx.AsyncBaseTransport):
    """A service that takes requests and says nothing."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError


class Frames(io.AudioInput):
    """Gives the same 50 ms frame as often as it is asked."""

    def __init__(self) -> None:
        super().__init__(label="frames")
        self.frame = make_frame()

    async def __anext__(self) -> rtc.AudioFrame:
        return self.frame


class Nowhere:
    """Takes what a tap sees, as the queue does, and keeps nothing."""

    def put(self, item: object) -> None: ...

    def put_urgent(self, item: object) -> None: ...

    def put_last(self, item: object) -> None: ...


def make_frame() -> rtc.AudioFrame:
    return rtc.AudioFrame(bytes(2400), 24_000, 1, 1200)


def a_job() -> Any:
    return SimpleNamespace(
        job=SimpleNamespace(id="AJ_1", room=SimpleNamespace(sid="RM_1", name="room")),
        room=SimpleNamespace(name="room", remote_participants={}),
        add_shutdown_callback=lambda callback: None,
    )


async def attach() -> tuple[float, float]:
    """Median milliseconds of (making a session, observing it)."""
    client = RoarkClient(
        "rk_live_replace_me", base_url="https://roark.test", transport=NeverAnswers()
    )
    making, observing = [], []
    for _ in range(CALLS):
        began = time.perf_counter()
        session: AgentSession[None] = AgentSession()
        made = time.perf_counter()
        handle = await observe_session(
            a_job(), session, agent_id="agent", client=client, shutdown_timeout=0.05
        )
        observed = time.perf_counter()
        making.append(made - began)
        observing.append(observed - made)
        await handle.aflush()
    return statistics.median(making) * 1e3, statistics.median(observing) * 1e3


async def tap() -> tuple[float, float]:
    """Microseconds of (making a frame, one frame more through the tap)."""
    began = time.perf_counter()
    for _ in range(FRAMES):
        make_frame()
    making = time.perf_counter() - began
    plain = await seconds_for(Frames())
    tapped = await seconds_for(InputTap(Frames(), Nowhere(), Guard(), probe()))
    return making / FRAMES * 1e6, (tapped - plain) / FRAMES * 1e6


async def seconds_for(frames: io.AudioInput) -> float:
    began = time.perf_counter()
    for _ in range(FRAMES):
        await frames.__anext__()
    return time.perf_counter() - began


async def main() -> None:
    logging.disable(logging.WARNING)  # it would say of each call that nothing was delivered
    with tempfile.TemporaryDirectory() as spool:
        os.environ["ROARK_SPOOL_DIR"] = spool
        making, observing = await attach()
    print(f"observe_session   {observing:6.2f} ms   making an AgentSession {making:6.2f} ms")
    frame, tapped = await tap()
    print(f"a frame's tap     {tapped:6.2f} us   making the frame       {frame:6.2f} us")


if __name__ == "__main__":
    asyncio.run(main())
