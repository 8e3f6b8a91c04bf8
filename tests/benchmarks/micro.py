"""What the library's parts take, one by one, in microseconds.

    uv run python tests/benchmarks/micro.py
    uv run python tests/benchmarks/micro.py tap settle       # only these

Each is done many times; the best of several repeats counts, which a busy machine changes least.
Of a request it is the CPU of this process, with a service that does nothing in the process itself
(httpx's MockTransport) or on loopback in another (`cost_service.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from services import service

REPEATS = 5
RATE, FRAME = 24_000, 0.01
PCM = bytes(round(RATE * FRAME) * 2)  # one frame, mono
CALLS, TURNS = 8, 500
KEY = "rk_live_replace_me"

Row = tuple[str, float]  # a name, and microseconds


class Nowhere:
    """Takes what a tap sees, as the queue does, and keeps nothing."""

    def put(self, item: object) -> None: ...

    def put_urgent(self, item: object) -> None: ...


def best(work: Callable[[], object], count: int = 300) -> float:
    """Microseconds for doing `work` once."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(count):
            work()
        times.append(time.perf_counter() - began)
    return min(times) / count * 1e6


async def best_cpu(work: Callable[[], Awaitable[object]], count: int = 200) -> float:
    """Microseconds of this thread's CPU for doing `work` once."""
    times = []
    for _ in range(REPEATS):
        began = time.thread_time()
        for _ in range(count):
            await work()
        times.append(time.thread_time() - began)
    return min(times) / count * 1e6


async def tap() -> list[Row]:
    """A frame through either tap, beyond what it takes without."""
    from livekit import rtc
    from livekit.agents.voice import io

    from roark_analytics_python_livekit._diagnostics import Guard
    from roark_analytics_python_livekit._livekit.clock import WallClock
    from roark_analytics_python_livekit._livekit.compat import probe
    from roark_analytics_python_livekit._livekit.taps import InputTap, OutputTap

    frame = rtc.AudioFrame(PCM, RATE, 1, len(PCM) // 2)

    class Source(io.AudioInput):
        async def __anext__(self) -> rtc.AudioFrame:
            return frame

    class Sink(io.AudioOutput):
        async def capture_frame(self, frame: rtc.AudioFrame) -> None:
            await super().capture_frame(frame)

        def flush(self) -> None: ...

        def clear_buffer(self) -> None: ...

    def sink() -> Sink:
        can_pause = io.AudioOutputCapabilities(pause=True)
        return Sink(label="sink", capabilities=can_pause, sample_rate=RATE)

    async def reading(source: io.AudioInput) -> float:
        return await best_cpu(source.__anext__, 10_000)

    async def playing(output: io.AudioOutput) -> float:
        return await best_cpu(lambda: output.capture_frame(frame), 10_000)

    queue, guard, can = Nowhere(), Guard(), probe()
    heard = InputTap(Source(label="source"), queue, guard, can)
    played = OutputTap(sink(), queue, guard, can, WallClock())
    return [
        ("input tap, a frame", await reading(heard) - await reading(Source(label="source"))),
        ("output tap, a frame", await playing(played) - await playing(sink())),
    ]


async def settle() -> list[Row]:
    """Frames of 8 calls into their recordings, and what is certain out of them."""
    return [row for interval in (0.1, 0.4) for row in _settling(interval)]


def _settling(interval: float) -> Iterator[Row]:
    from roark_analytics_python_livekit._livekit.taps import RtcResampler
    from roark_analytics_python_livekit._recording.frames import AgentFrame, Opened, UserFrame
    from roark_analytics_python_livekit.audio import AudioCapture

    opened = Opened(at=0.0, hears_user=True, sink=None, rate=RATE, new_input=True)
    calls = [AudioCapture(opened, RtcResampler) for _ in range(CALLS)]
    pushing, settling, pcm, steps = 0.0, 0.0, 0, round(20 / interval)
    for step in range(steps):
        began = time.thread_time()
        for call in calls:
            for number in range(round(interval / FRAME)):
                at = step * interval + (number + 1) * FRAME
                call.heard(UserFrame(at, PCM, RATE))
                call.captured(AgentFrame(at, PCM, RATE))
        pushed = time.thread_time()
        pcm += sum(len(call.settle((step + 1) * interval)) for call in calls)
        pushing += pushed - began
        settling += time.thread_time() - pushed
    if pcm < CALLS * 15 * RATE * 4:
        sys.exit(f"settle: {pcm} bytes are too few, this measures nothing")
    frames = 2 * CALLS * steps * round(interval / FRAME)
    yield f"a frame taken, every {interval} s", pushing / frames * 1e6
    yield f"a settle of {CALLS} calls, every {interval} s", settling / steps * 1e6


async def spool() -> list[Row]:
    """A settle's PCM, and a record, to disk."""
    from roark_analytics_python_livekit._delivery.outbox import Outbox
    from roark_analytics_python_livekit._delivery.spool import Spool

    record = {"type": "metadata", "values": {"plan": "gold"}}
    pcm = bytes(round(RATE * 0.1) * 4)
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Spool(Path(folder)).begin("call"))
        pcms = best(lambda: outbox.append_pcm(pcm))
        records = best(lambda: outbox.append_record(record))
        outbox.close(finished=True)
    return [("0.1 s of PCM spooled", pcms), ("a record spooled", records)]


async def request() -> list[Row]:
    """One request's CPU, and a chunk's upload."""
    import httpx

    from roark_analytics_python_livekit.client import RoarkClient

    event = {"event": "call-started", "livekitCallId": "call", "agentId": "agent"}
    nobody = httpx.MockTransport(lambda request: httpx.Response(200, json={}))
    chunk = bytes(256 * 1024)
    async with RoarkClient(KEY, base_url="https://roark.test", transport=nobody) as client:
        mocked = await best_cpu(lambda: client.post_event(event, idempotency_key="key"))
    with service("healthy") as url:
        async with RoarkClient(KEY, base_url=url) as client:
            posted = await best_cpu(lambda: client.post_event(event, idempotency_key="key"))
            place = await client.create_upload("call", 0, "audio/pcm")
            upload = await best_cpu(lambda: client.upload(place, chunk, size=len(chunk)), 50)
        async with httpx.AsyncClient(trust_env=False) as bare:
            plain = await best_cpu(lambda: bare.post(url, json=event))
    return [
        ("a request, mocked", mocked),
        ("a request, loopback", posted),
        ("the same by httpx alone", plain),
        ("a chunk's upload, loopback", upload),
    ]


async def payload() -> list[Row]:
    """A turn: event → record → payload."""
    from livekit.agents import ConversationItemAddedEvent
    from livekit.agents.llm import ChatMessage

    from roark_analytics_python_livekit._call.facts import CallFacts, call_record
    from roark_analytics_python_livekit._call.state import CallState
    from roark_analytics_python_livekit._delivery.stats import CallStats
    from roark_analytics_python_livekit._livekit import events

    versions, now = {"sdk": "0", "livekit-agents": "0"}, datetime.now(timezone.utc)
    facts = CallFacts("call", "agent", None, None, False, {}, versions, now, time.monotonic())
    state = CallState()
    state.apply(call_record(facts, {}, base_url="https://roark.test", api_key=KEY, recording="off"))
    items = [ChatMessage(role="user", content=[f"order {number}?"]) for number in range(TURNS)]
    happened = [ConversationItemAddedEvent(item=item) for item in items]

    def record() -> list[Any]:
        return [events.conversation_item(one, lambda at: facts.started, "a") for one in happened]

    def keep() -> None:
        state.happened.clear()
        for records in record():
            for one in records:
                state.apply(one)

    def ended() -> bytes:
        return json.dumps(state.ended_event(CallStats().counts(), [], None)).encode()

    made, kept, sent = (best(work, 1) / TURNS for work in (record, keep, ended))
    if len(json.loads(ended())["transcript"]) != TURNS:
        sys.exit("payload: turns are missing, this measures nothing")
    return [
        ("an event → its record", made),
        ("an event → the call's state", kept),
        ("a turn of call-ended, encoded", sent),
    ]


BENCHMARKS = {work.__name__: work for work in (tap, settle, spool, request, payload)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("only", nargs="*", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="a file for all figures")
    options = parser.parse_args()
    found: dict[str, float] = {}
    for name in options.only or BENCHMARKS:
        for row, microseconds in asyncio.run(BENCHMARKS[name]()):
            found[row] = microseconds
            print(f"{row:36}{microseconds:10.1f} us", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
