"""A process that makes or recovers a call, and kills itself at a step that the test has chosen.

What is certain by then stands in a ledger beside it. The library knows nothing of steps.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.call_spool import CallSpool
from roark_analytics_python_livekit._delivery.limits import Limits
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._recovery import recover_all
from tests.support.simulated_call import KEY, FastClock, SimulatedCall

LIMITS = Limits(chunk_bytes=64 * 1024)  # small ones: more steps
SECONDS = 4.0  # of each call
SPEED = 10.0
TICK = 0.02  # seconds
SPOOL_FILES = tuple(f"_delivery/{name}.py" for name in ("spool", "call_spool", "record_file"))


class Job(NamedTuple):
    """What a process does, and where it dies."""

    service: str
    spool: Path
    ledger: Path
    call_id: str  # "" only recovers
    recording: str = "chunks"
    at: str = ""  # the n-th step on the "disk", the n-th "request", or after a "delay"
    step: int = 0  # n, or milliseconds of the delay; 0 lives
    how: str = ""  # "before" the step, with a "torn" write, or "after" it


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write_down(ledger: Path, path: Path, **what: object) -> None:
    """Adds a line about a call's directory, after the library's own call has returned."""
    line = json.dumps({"of": path.name.split(".")[0], **what})
    with (ledger / f"{os.getpid()}.jsonl").open("a") as file:
        file.write(line + "\n")


class Steps(Counter[str]):
    """Counts the steps of a process, and ends it at one of them."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def arrive(self, at: str) -> str:
        """The next step of this kind; how to die at it, or "" to live."""
        self[at] += 1
        return self.job.how if (at, self[at]) == (self.job.at, self.job.step) else ""


def watch_disk(steps: Steps) -> None:
    """Each call of the operating system that the spool makes is a step."""

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            how = _inside_the_spool() and steps.arrive("disk")
            if not how:
                return real(*args, **options)
            if how == "torn" and name == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            elif how != "before":
                real(*args, **options)
            die()

        return call

    for name in ("write", "open", "ftruncate", "unlink", "rmdir", "mkdir"):
        setattr(os, name, watched(name, getattr(os, name)))


def _inside_the_spool() -> bool:
    frame, depth = sys._getframe(1).f_back, 8
    while frame is not None and depth:
        if frame.f_code.co_filename.endswith(SPOOL_FILES):
            return True
        frame, depth = frame.f_back, depth - 1
    return False


def watch_requests(steps: Steps) -> None:
    """Each request is a step: killed before it, in it, or once it is answered."""

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        async def request(*args: Any, **options: Any) -> Any:
            how = steps.arrive("request")
            if how == "before":
                die()
            if how == "torn":
                asyncio.get_running_loop().call_later(0.003, die)
            result = await real(*args, **options)
            if how:
                die()
            return result

        return request

    for name in ("post_event", "create_upload", "upload"):
        setattr(RoarkClient, name, watched(getattr(RoarkClient, name)))


def watch_spool(ledger: Path) -> None:
    """Writes down what the spool has taken, and the sound before it is spooled."""
    append_pcm, append_record = CallSpool.append_pcm, CallSpool.append_record

    def append_and_say(self: CallSpool, index: int, pcm: bytes) -> None:
        with (ledger / f"{self.path.name.split('.')[0]}.pcm").open("ab") as file:
            file.write(pcm)
        append_pcm(self, index, pcm)
        write_down(ledger, self.path, appended=len(pcm))

    def record_and_say(self: CallSpool, record: Mapping[str, Any], *encoded: Any) -> None:
        append_record(self, record, *encoded)
        kind = record["type"]
        told = {"turn": "text", "chunk": "index", "sent": "event"}.get(kind, "type")
        write_down(ledger, self.path, at=time.time(), **{kind: record[told]})

    CallSpool.append_pcm = append_and_say  # type: ignore[method-assign]  # watched
    CallSpool.append_record = record_and_say  # type: ignore[method-assign]  # watched


def run(job: Job) -> None:
    steps = Steps(job)
    watch_spool(job.ledger)
    watch_disk(steps)
    watch_requests(steps)
    if job.at == "delay" and job.step:
        threading.Timer(job.step / 1000, die).start()
    if job.call_id:
        make_call(job)
    else:
        asyncio.run(recover(job))
    write_down(job.ledger, Path("steps"), **steps)


def make_call(job: Job) -> None:
    call = SimulatedCall(
        job.service,
        job.spool,
        job.call_id,
        recording=job.recording,
        clock=FastClock(SPEED),
        budget=20.0 * SPEED,
        limits=LIMITS,
        tick=TICK,
    )
    call.talk(SECONDS)
    call.end()
    call.join()


async def recover(job: Job) -> None:
    async with RoarkClient(KEY, base_url=job.service) as client:
        await recover_all(Spool(job.spool), client, Guard(), limits=LIMITS)
