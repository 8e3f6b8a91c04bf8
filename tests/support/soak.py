"""A long call in a process of its own, as fast as it goes: `python soak.py BASE_URL SPOOL HOURS`.

The call's clock is the sound itself: it moves with each frame that is handed over, so that no load
of the machine can make a frame come late. Prints one JSON object with what it measured.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.support import simulated_call as child
from tests.support.simulated_call import FRAME, SimulatedCall

RATE = 8000  # Hz: two hours are 230 MB
TURN_EVERY = 100  # frames
AHEAD = 200  # frames that may wait for the shipping thread
BACKLOG = 64  # chunks that may wait for the service
AFTERWARDS = 20.0  # times real time, once the call is over
SAMPLES = 8  # looks at the memory


class SoundClock:
    """A monotonic clock that is where the sound is, and runs on by itself when that is over."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self._over: float | None = None

    def __call__(self) -> float:
        if self._over is None:
            return self.now
        return self.now + (time.monotonic() - self._over) * AFTERWARDS

    def run_on(self) -> None:
        """No more sound moves it."""
        self._over = time.monotonic()


def resident() -> float:
    """Megabytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def descriptors() -> int:
    """How many files and sockets are open."""
    return len(os.listdir("/proc/self/fd"))


def hand_over(call: SimulatedCall, clock: SoundClock) -> None:
    """The next frame, once the thread and the service have taken most of those before it."""
    while len(call.queue._items) > AHEAD or call.pipeline.call.outbox.waiting > BACKLOG:
        time.sleep(0.001)
    clock.now = call.start + (call.frames + 1) * FRAME
    call.frame()


def soak(base_url: str, spool: Path, hours: float) -> dict[str, Any]:
    """Makes the call, and measures."""
    clock = SoundClock()
    before = descriptors(), threading.active_count()
    child.RATE, child.TURN_EVERY = RATE, TURN_EVERY
    call = SimulatedCall(base_url, spool, "RM_soak", clock=clock, budget=150 * AFTERWARDS, tick=0.1)
    memory, spooled = [], 0
    frames = round(hours * 3600 / FRAME)
    began = time.monotonic()
    for number in range(frames):
        hand_over(call, clock)
        if (number + 1) % (frames // SAMPLES) == 0:
            memory.append(round(resident(), 1))
            waiting = sum(path.stat().st_size for path in spool.glob("*/*.pcm"))
            spooled = max(spooled, waiting)
    call.end()
    clock.run_on()
    while not call.worker.done:
        time.sleep(0.01)
    took = time.monotonic() - began
    gc.collect()
    stats = call.pipeline.call.uploader.stats if call.pipeline.call else None
    assert stats is not None
    return {
        "seconds": round(took, 1),
        "speed": round(frames * FRAME / took),
        "memory": memory,
        "spooled": spooled,
        "descriptors": [before[0], descriptors()],
        "threads": [before[1], threading.active_count()],
        "errors": call.guard.count,
        "attempts": stats.attempts,
        "retries": stats.retries,
        "chunks": stats.chunks_sent,
        "dropped": dict(stats.dropped),
    }


if __name__ == "__main__":
    print(json.dumps(soak(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))))
