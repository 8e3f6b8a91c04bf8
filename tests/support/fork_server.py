"""A process that forks calls and recoveries, each of which kills itself at a step of its own.

It reads lists of jobs from stdin, one JSON list a line, runs each list's jobs side by side, and
answers with their exit statuses. What a job has certainly spooled it writes down beside it: see
`Ledger`. All of it is in the test's child: the library knows nothing of steps.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

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

_write = os.write


class Job(TypedDict):
    """One process to fork.

    Attributes:
        call_id: Of the call to make; "" only recovers.
        recording: How it uploads its sound.
        at: Where it dies: at the n-th step on the "disk", the n-th "request", or after a "delay".
        step: n, or milliseconds of the delay; 0 lives.
        how: "before" the step, with a "torn" write, or "after" it.
    """

    service: str
    spool: str
    ledger: str
    call_id: str
    recording: str
    at: str
    step: int
    how: str


class Ledger:
    """What is certain: written down after the library's own call has returned."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._file = os.open(folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(self, path: Path, **what: object) -> None:
        """Adds a line about a call's directory."""
        line = json.dumps({"of": path.name.split(".")[0], **what})
        _write(self._file, line.encode() + b"\n")

    def keep(self, path: Path, pcm: bytes) -> None:
        """Keeps the sound that is about to be spooled."""
        file = os.open(
            self._folder / f"{path.name.split('.')[0]}.pcm",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND,
        )
        _write(file, pcm)
        os.close(file)


def die() -> None:
    """SIGKILL, really."""
    os.kill(os.getpid(), signal.SIGKILL)


class Steps:
    """Counts the steps of a process, and ends it at one of them."""

    def __init__(self, job: Job) -> None:
        self.counts = {"disk": 0, "request": 0}
        self._job = job

    def arrive(self, at: str) -> bool:
        """The next step of this kind; whether it is the last one."""
        self.counts[at] += 1
        return self._job["at"] == at and self.counts[at] == self._job["step"]

    @property
    def how(self) -> str:
        """When to die."""
        return self._job["how"]


def watch_disk(steps: Steps) -> None:
    """Each call of the operating system that the spool makes is a step."""

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not _inside_the_spool() or not steps.arrive("disk"):
                return real(*args, **options)
            if steps.how == "torn" and name == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            elif steps.how != "before":
                real(*args, **options)
            die()

        return call

    for name in ("write", "open", "ftruncate", "unlink", "rmdir", "mkdir"):
        setattr(os, name, watched(name, getattr(os, name)))


def _inside_the_spool() -> bool:
    frame = sys._getframe(1)
    for _ in range(8):
        if frame is None:
            return False
        if frame.f_code.co_filename.endswith(SPOOL_FILES):
            return True
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return False


def watch_requests(steps: Steps) -> None:
    """Each request is a step: killed before it, in it, or once it is answered."""

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        async def request(*args: Any, **options: Any) -> Any:
            last = steps.arrive("request")
            if last and steps.how == "before":
                die()
            if last and steps.how == "torn":
                asyncio.get_running_loop().call_later(0.003, die)
            result = await real(*args, **options)
            if last:
                die()
            return result

        return request

    for name in ("post_event", "create_upload", "upload"):
        setattr(RoarkClient, name, watched(getattr(RoarkClient, name)))


def watch_spool(ledger: Ledger) -> None:
    """Writes down what the spool has taken."""
    append_pcm, append_record = CallSpool.append_pcm, CallSpool.append_record

    def append_and_say(self: CallSpool, index: int, pcm: bytes) -> None:
        ledger.keep(self.path, pcm)
        append_pcm(self, index, pcm)
        ledger.say(self.path, appended=len(pcm))

    def record_and_say(self: CallSpool, record: Mapping[str, Any]) -> None:
        append_record(self, record)
        kind = record["type"]
        told = {"turn": "text", "chunk": "index", "sent": "event"}.get(kind, "type")
        ledger.say(self.path, at=time.time(), **{kind: record[told]})

    CallSpool.append_pcm = append_and_say  # type: ignore[method-assign]  # watched
    CallSpool.append_record = record_and_say  # type: ignore[method-assign]  # watched


def run(job: Job) -> None:
    """A job's process."""
    ledger = Ledger(Path(job["ledger"]), f"{job['call_id'] or 'recovery'}-{os.getpid()}")
    steps = Steps(job)
    watch_spool(ledger)
    watch_disk(steps)
    watch_requests(steps)
    if job["at"] == "delay" and job["step"]:
        threading.Timer(job["step"] / 1000, die).start()
    if job["call_id"]:
        make_call(job)
    else:
        asyncio.run(recover(job))
    ledger.say(Path("steps"), **steps.counts)


def make_call(job: Job) -> None:
    """A call from its beginning to its end."""
    clock = FastClock(SPEED)
    call = SimulatedCall(
        job["service"],
        Path(job["spool"]),
        job["call_id"],
        recording=job["recording"],
        clock=clock,
        budget=20.0 * SPEED,
        limits=LIMITS,
        tick=TICK,
    )
    call.talk(SECONDS)
    call.end()
    while not call.worker.done:
        time.sleep(0.005)


async def recover(job: Job) -> None:
    """What the next process does."""
    async with RoarkClient(KEY, base_url=job["service"]) as client:
        await recover_all(Spool(Path(job["spool"])), client, Guard(), limits=LIMITS)


def fork(job: Job) -> int:
    """Starts a job; returns its process."""
    child = os.fork()
    if child:
        return child
    try:
        run(job)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def main() -> None:
    for line in sys.stdin:
        children = [fork(job) for job in json.loads(line)]
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    main()
