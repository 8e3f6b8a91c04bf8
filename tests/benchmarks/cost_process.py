"""One process with some calls in it, observed or not, and what that took: for `cost.py`.

    python tests/benchmarks/cost_process.py '{"observed": true, "sessions": 8, "seconds": 30}'

In the last 4 s there is nothing but the caller's audio: that is when wake-ups are counted. The
environment says where the service is and where calls are spooled, as it does for users. Prints
JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import inspect
import json
import os
import resource
import statistics
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from cost_calls import RATE, Call

TAIL = 4.0  # seconds
APART = 0.02  # seconds between the beginnings of two calls
SLOW = 1.0  # seconds that the next call waits for one to begin
TICK, SLOT = 0.005, 0.1  # seconds between looks at the loop, and between counts of wake-ups
NEAR = 0.02  # seconds around a request in which it wakes threads
PRODUCTION = "https://api.roark.ai"
PATIENCE = 20.0  # seconds that call-ended may take after the job's end


class LoopWatch:
    """How late the loop is with something that is due 5 ms after the time before."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._late = array("d")
        self._marks: dict[str, int] = {}
        self._tick()

    def _tick(self) -> None:
        now = self._loop.time()
        self._late.append(now - self._due)
        self._due = now + TICK
        self._timer = self._loop.call_at(self._due, self._tick)

    def mark(self, phase: str) -> None:
        """Another phase begins."""
        self._marks[phase] = len(self._late)

    def stop(self) -> None:
        """Looks no more."""
        self._timer.cancel()

    def figures(self) -> dict[str, float]:
        """Milliseconds: the worst of all, the worst of each phase, and the 99.9th percentile."""
        ends = [*list(self._marks.values())[1:], len(self._late)]
        worst = {
            f"stall_{phase}": max(self._late[begin : end + 1], default=0.0) * 1e3
            for (phase, begin), end in zip(self._marks.items(), ends, strict=True)
        }
        in_order = sorted(self._late)
        p999 = in_order[round(0.999 * (len(in_order) - 1))]
        return {**worst, "stall": in_order[-1] * 1e3, "p999": p999 * 1e3}


def switches() -> dict[str, int]:
    """Voluntary context switches of every thread but the agent's: each ends with a wake-up."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        if task.name != str(os.getpid()):
            with contextlib.suppress(OSError):  # it ended meanwhile
                found[task.name] = _number(task / "status", "voluntary_ctxt_switches")
    return found


def _number(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.open() if line.startswith(name))


Slot = tuple[float, float, int]  # from and to in monotonic seconds, and the wake-ups between


async def count_wakeups(until: float) -> list[Slot]:
    slots, before, then = [], switches(), time.monotonic()
    while then < until:
        await asyncio.sleep(SLOT)
        after, now = switches(), time.monotonic()
        woken = sum(count - before.get(thread, 0) for thread, count in after.items())
        slots.append((then, now, woken))
        before, then = after, now
    return slots


def wakeups(slots: list[Slot], moments: list[float]) -> dict[str, float | None]:
    """Wake-ups a second in all slots, and in those without a request."""
    quiet = [
        slot
        for slot in slots
        if not any(slot[0] - NEAR < moment < slot[1] + NEAR for moment in moments)
    ]
    return {"wakeups_all": _rate(slots), "wakeups": _rate(quiet)}


def _rate(slots: list[Slot]) -> float | None:
    seconds = sum(end - begin for begin, end, _ in slots)
    return sum(woken for _, _, woken in slots) / seconds if seconds else None


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory(name: str) -> float:
    """MB that /proc knows as VmRSS (now) or VmHWM (the most so far)."""
    return _number(Path("/proc/self/status"), name) / 1024


def log(service: str) -> dict[str, Any]:
    """What the service got; nothing where nobody is there."""
    link = http.client.HTTPConnection(service.removeprefix("http://"), timeout=10)
    try:
        link.request("GET", "/log")
        found: dict[str, Any] = json.load(link.getresponse())
    except ConnectionRefusedError:
        return {"ended": {}, "moments": [], "count": {}, "recorded": 0}
    finally:
        link.close()
    return found


async def delivered(service: str, count: int) -> dict[str, Any]:
    """The service's log, when so many calls have ended there or that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while len((found := log(service))["ended"]) < count and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    return found


def observer(observed: bool, service: str) -> Any:
    """`observe_session`, if at all, that speaks to the service."""
    if not observed:
        return None
    from roark_analytics_python_livekit import client, observe_session

    if "base_url" not in inspect.signature(observe_session).parameters:
        # The published package takes no base URL: its client's addresses are public constants.
        for name, value in list(vars(client).items()):
            if isinstance(value, str) and value.startswith(PRODUCTION):
                setattr(client, name, value.replace(PRODUCTION, service, 1))
    return observe_session


async def warm_up() -> None:
    """A call that nobody observes, for what livekit does but once in a process."""
    call = Call(-1)
    await call.begin(None)
    await call.say(0.2)
    await call.end()
    # As livekit's own processes do once they have imported everything: a collection of all that
    # takes as long as the worst stall, and comes at any time.
    gc.collect()
    gc.freeze()


async def run(
    *, observed: bool, sessions: int, seconds: float, service: str, accepts: bool
) -> dict[str, Any]:
    """Makes the calls.

    Args:
        observed: Or the same calls without.
        sessions: How many calls at once.
        seconds: How long they take.
        service: Its base URL.
        accepts: Whether it takes what comes.
    """
    observe = observer(observed, service)
    await warm_up()
    calls = [Call(number) for number in range(sessions)]
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
    cpu_before, memory_before = cpu(), memory("VmRSS")
    watch = LoopWatch()
    slots = await live(calls, observe, seconds, watch)
    found = await delivered(service, sessions if observed and accepts else 0)
    used = cpu() - cpu_before
    return {
        "cpu": used / (sessions * seconds / 60),
        "memory": memory("VmHWM") - memory_before,
        **watch.figures(),
        **wakeups(slots, found["moments"]),
        **moments(calls, found["ended"]),
        "ended": len(found["ended"]),
        "recorded": found["recorded"] / (4 * RATE * seconds * sessions) * 100,
        "requests": sum(found["count"].values()),
    }


async def live(calls: list[Call], observe: Any, seconds: float, watch: LoopWatch) -> list[Slot]:
    """Has all calls attached, talking and closed; returns the wake-ups when nobody spoke."""
    began, talks = time.monotonic(), []
    watch.mark("attach")
    for call in calls:
        begun = asyncio.ensure_future(call.begin(observe))
        await asyncio.wait({begun}, timeout=SLOW)
        talks.append(asyncio.ensure_future(call.talk(begun, began + seconds - TAIL)))
        await asyncio.sleep(APART)
    watch.mark("during")
    await asyncio.sleep(began + seconds - TAIL - time.monotonic())
    slots = await count_wakeups(began + seconds)
    watch.mark("close")
    await asyncio.gather(*(call.end() for call in calls))
    watch.stop()
    for talk in talks:
        if talk.done():
            talk.result()  # raises what went wrong: a call without speech costs less
    return slots


def moments(calls: list[Call], ended: dict[str, float]) -> dict[str, float | None]:
    """What attaching (ms) and closing (s) took."""
    took = [ended[call.call_id] - call.closed for call in calls if call.call_id in ended]
    later = [call.attach * 1e3 for call in calls[1:]]
    return {
        "attach": calls[0].attach * 1e3,
        "attach_later": statistics.median(later) if later else None,
        "close": max(took, default=None),
        "close_median": statistics.median(took) if took else None,
        "over": max(call.over - call.closed for call in calls),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(**json.loads(sys.argv[1])))))
