"""What a minute of a call takes, in counts that no machine changes, and beside a bare loop.

`tests/benchmarks/cost.py` measures it in seconds; this keeps it from growing unnoticed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._call.records import end_record
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS
from roark_analytics_python_livekit._delivery.worker import TICK
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._pipeline import CallPipeline, CallSetup
from roark_analytics_python_livekit._queue import EventQueue
from roark_analytics_python_livekit._recording.frames import (
    AgentFrame,
    Finished,
    Flushed,
    Opened,
    SinkTraits,
    Started,
    UserFrame,
)
from tests.support.simulated_call import facts_of

RATE = 24_000  # Hz
FRAME = 0.01  # seconds
FRAMES = round(TICK / FRAME)  # a tick's
PCM = bytes(range(1, 241)) * 2  # a frame's
SECONDS = 60
TICKS = round(SECONDS / TICK)
SPEECH, EVERY = 4, 6  # the agent speaks for four seconds of six
CHUNKS = -(-SECONDS * RATE * 4 // DEFAULT_LIMITS.chunk_bytes)


class Cost(NamedTuple):
    """What one minute took."""

    requests: int
    sent: int  # bytes
    writes: int
    seconds: float  # of CPU
    held: int  # bytes, at most


async def minute(spool: Path | None, monkeypatch: pytest.MonkeyPatch) -> Cost:
    """A call of a minute on this loop, tick by tick, as fast as it goes."""
    requests: list[int] = []
    writes = 0
    now = 0.0
    write = os.write

    def serve(request: httpx.Request) -> httpx.Response:
        requests.append(len(request.content))
        return httpx.Response(200, json={"uploadUrl": "https://storage.test/chunk"})

    def count_write(file: int, data: bytes) -> int:
        nonlocal writes
        writes += 1
        return write(file, data)

    queue, guard = EventQueue(), Guard()
    queue.bind()
    service = httpx.MockTransport(serve)
    client = RoarkClient("rk_live_replace_me", base_url="https://roark.test", transport=service)
    setup = CallSetup(facts_of(), {}, "chunks", spool, 30.0)
    never: Any = None  # all audio has the recording's rate
    pipeline = CallPipeline(setup, client, never, guard=guard, clock=lambda: now)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", count_write)
        began = time.thread_time()
        call = asyncio.ensure_future(pipeline.run(queue))
        queue.put_urgent(Opened(0.0, True, SinkTraits(reports_start=True), RATE))
        for tick in range(TICKS):
            talk(queue, tick)
            now = (tick + 1) * TICK
            queue.tick()
            for _ in range(60):  # a settle, and what it takes to send a chunk
                await asyncio.sleep(0)
        queue.put_urgent(end_record(now, "participant_disconnected"))
        await call
        took = time.thread_time() - began
    assert guard.count == 0
    held = tracemalloc.get_traced_memory()[1] if tracemalloc.is_tracing() else 0
    return Cost(len(requests), sum(requests), writes, took, held)


def talk(queue: EventQueue, tick: int) -> None:
    """A tick's frames of the caller, and of the agent while it speaks; a turn now and then."""
    begin, into = tick * TICK, tick * TICK % EVERY
    if into == 0:
        queue.put(Started(begin))
    for number in range(FRAMES):
        at = begin + number * FRAME
        queue.put(UserFrame(at + FRAME, PCM, RATE))
        if into < SPEECH:
            queue.put(AgentFrame(begin, PCM, RATE))
    if into == SPEECH:
        queue.put(Flushed(begin))
        queue.put(Finished(begin, SPEECH, interrupted=False))
        turn = {"type": "turn", "role": "assistant", "text": "hello", "at": begin, "id": str(tick)}
        queue.put_urgent(turn)


def bare(folder: Path) -> float:
    """CPU seconds of a loop that only copies, hashes and writes the same sound."""
    began = time.thread_time()
    digest = hashlib.sha256()
    with (folder / "bare").open("wb", buffering=0) as file:
        for _ in range(TICKS):
            left = b"".join([bytes(memoryview(PCM)) for _ in range(FRAMES)])
            right = b"".join([bytes(memoryview(PCM)) for _ in range(FRAMES)])
            digest.update(left + right)
            file.write(left + right)
    return time.thread_time() - began


async def test_a_minute_makes_no_more_requests_and_writes_than_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests a chunk and one an event; one write a tick, and a few for what happened."""
    cost = await minute(tmp_path / "spool", monkeypatch)
    assert cost.requests == 2 * CHUNKS + 2
    assert cost.sent < SECONDS * RATE * 4 + 16_384
    said = 2 * CHUNKS + 2 * SECONDS // EVERY + 16  # urls, what was sent, turns and reports
    assert cost.writes <= TICKS + CHUNKS + said


async def test_a_minute_takes_a_few_times_what_its_bytes_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The better of three, each beside a bare loop: a busy machine is slow at both."""
    if "coverage" in sys.modules and sys.modules["coverage"].Coverage.current() is not None:
        pytest.skip("coverage counts lines, of which a bare loop has few")
    ratios = []
    for number in range(3):
        cost = await minute(tmp_path / f"spool{number}", monkeypatch)
        ratios.append(cost.seconds / bare(tmp_path))
    print(f"times a bare loop: {[round(ratio, 1) for ratio in ratios]}")
    assert min(ratios) < 20  # 12 where it was written


async def test_a_minute_holds_no_more_than_the_chunks_on_their_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A healthy service: what is sent is let go of."""
    tracemalloc.start()
    try:
        cost = await minute(None, monkeypatch)
    finally:
        tracemalloc.stop()
    assert cost.held < 6 * DEFAULT_LIMITS.chunk_bytes
