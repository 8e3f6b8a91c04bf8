"""A call without livekit, through the same parts that `observe_session` puts together.

Its sound is known to the sample: `pcm(start, count)` on the left, silence on the right.
"""

from __future__ import annotations

import itertools
import math
import signal
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._call.facts import CallFacts
from roark_analytics_python_livekit._call.privacy import Redact
from roark_analytics_python_livekit._call.records import end_record
from roark_analytics_python_livekit._config import RecordingMode
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.worker import TICK, Engine, Worker
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._http import Timeouts
from roark_analytics_python_livekit._pipeline import CallPipeline, CallSetup
from roark_analytics_python_livekit._recording.frames import Opened, SinkTraits, UserFrame
from tests.support.processes import start

KEY = "rk_live_canary0replace0me"
RATE = 24_000
FRAME = 0.05  # seconds
TURN_EVERY = 10  # frames

Samples = npt.NDArray[np.int16]


def facts_of(call_id: str = "RM_1", **known: Any) -> CallFacts:
    """A call of an agent without a name or a prompt, begun now and at 0.0 monotonic seconds."""
    facts: dict[str, Any] = {
        "agent_id": "agent",
        "agent_name": None,
        "agent_prompt": None,
        "is_test": True,
        "job": {},
        "versions": {"sdk": "0"},
        "started_at": datetime.now(timezone.utc),
        "started": 0.0,
    }
    return CallFacts(call_id=call_id, **facts | known)


def pcm(start: int, count: int) -> Samples:
    """The caller's sound: never silent, and different at every position."""
    position = np.arange(start, start + count, dtype=np.int64)
    return ((position * 7919 + (position >> 8) * 104729) % 20011 + 1).astype(np.int16)


class FastClock:
    """A monotonic clock that runs `speed` times as fast as the real one; at 0 it stands."""

    def __init__(self, speed: float = 1.0) -> None:
        self._shown = self._real = time.monotonic()
        self._speed = speed

    def __call__(self) -> float:
        return self._shown + (time.monotonic() - self._real) * self._speed

    def go(self, speed: float, at: float | None = None) -> None:
        """Runs so fast from now on, and shows `at` now if that is given."""
        self._shown = self() if at is None else at
        self._real, self._speed = time.monotonic(), speed


class SimulatedCall:
    """One call with its worker, driven frame by frame; a `spool` of None is in memory.

    `turn_every` is in frames; the other options are those of `CallPipeline`.
    """

    def __init__(
        self,
        base_url: str,
        spool: Path | None,
        call_id: str = "RM_1",
        *,
        rate: int = RATE,
        turn_every: int = TURN_EVERY,
        recording: RecordingMode = "chunks",
        budget: float = 6.0,
        clock: FastClock | None = None,
        redact: Redact | None = None,
        limits: Limits = DEFAULT_LIMITS,
        tick: float = TICK,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.clock = clock or FastClock()
        self.start = self.clock()
        self.frames = 0
        self.guard = Guard()
        self._rate, self._turn_every = rate, turn_every
        client = RoarkClient(KEY, base_url=base_url)
        client._timeouts = timeouts or client._timeouts
        facts = facts_of(call_id, started=self.start)
        self.pipeline = CallPipeline(
            CallSetup(facts, {"kind": "simulated"}, recording, spool, budget, redact),
            client,
            None,  # type: ignore[arg-type]  # all audio in here has the recording's rate
            guard=self.guard,
            limits=limits,
            clock=self.clock,
        )
        engine = None if tick == TICK else Engine(tick=tick)
        self.worker = Worker(
            self.pipeline.run, name=f"roark-{call_id}", engine=engine, budget=budget
        )
        self.queue = self.worker.queue
        self.worker.start()
        self.queue.put_urgent(Opened(self.start, True, SinkTraits(), rate))

    def frame(self) -> None:
        """Hands over the next frame, and now and then a turn, as if they came in time."""
        size = round(FRAME * self._rate)
        sound = pcm(self.frames * size, size)
        self.frames += 1
        at = self.start + self.frames * FRAME
        self.queue.put(UserFrame(at, sound.tobytes(), self._rate))
        number, rest = divmod(self.frames, self._turn_every)
        if not rest:
            turn = {"type": "turn", "role": "user", "text": f"turn {number}", "at": at}
            self.queue.put_urgent({**turn, "id": str(number)})

    def talk(self, seconds: float) -> None:
        """Goes on in the clock's time for so many seconds of the call."""
        for _ in range(round(seconds / FRAME)):
            while self.clock() < self.start + (self.frames + 1) * FRAME:
                time.sleep(0.001)
            self.frame()

    def rush(self, seconds: float, backlog: float = math.inf) -> None:
        """Goes on as fast as the worker takes it: the sound moves the clock.

        Also waits while more than `backlog` chunks wait for the service.
        """
        for _ in range(round(seconds / FRAME)):
            while len(self.queue._items) > 200 or self._waiting() > backlog:
                time.sleep(0.001)
            self.clock.go(0.0, at=self.start + (self.frames + 1) * FRAME)
            self.frame()

    def _waiting(self) -> int:
        return self.pipeline.call.outbox.waiting if self.pipeline.call else 0

    def end(self, reason: str = "participant_disconnected") -> None:
        """The call is over; the delivery goes on."""
        self.queue.put_urgent(end_record(self.start + self.frames * FRAME, reason))

    def join(self) -> None:
        """Waits until the delivery is over, too."""
        while not self.worker.done:
            time.sleep(0.005)


def kill(
    base_url: str,
    spool: Path,
    *,
    turn: int,
    speed: float = 1.0,
    by: signal.Signals = signal.SIGKILL,
) -> int:
    """Makes a call in a process of its own and ends that after a turn; its exit status."""
    with start("-m", "tests.support.simulated_call", base_url, spool, speed) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == f"{turn}\n":
                break
        process.send_signal(by)
    return process.returncode


if __name__ == "__main__":
    call = SimulatedCall(sys.argv[1], Path(sys.argv[2]), clock=FastClock(float(sys.argv[3])))
    for number in itertools.count(1):
        call.talk(TURN_EVERY * FRAME)
        print(number, flush=True)
