"""A call in a process of its own, to be killed: `python child.py BASE_URL SPOOL [options]`.

The call's sound is known to the sample: `pcm(start, count)` on the left, silence on the right. It
goes through the same parts that `observe_session` puts together, without livekit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._call.facts import CallFacts
from roark_analytics_python_livekit._call.privacy import Redact
from roark_analytics_python_livekit._call.records import end_record
from roark_analytics_python_livekit._config import RecordingMode
from roark_analytics_python_livekit._delivery.engine import TICK, Engine
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.worker import Worker
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._http import Timeouts
from roark_analytics_python_livekit._pipeline import CallPipeline, CallSetup
from roark_analytics_python_livekit._recording.frames import Opened, SinkTraits, UserFrame
from roark_analytics_python_livekit._recording.mixer import Resampler
from tests.support.processes import environment

KEY = "rk_live_canary0replace0me"
RATE = 24_000
FRAME = 0.05  # seconds
TURN_EVERY = 10  # frames

Samples = npt.NDArray[np.int16]


def pcm(start: int, count: int) -> Samples:
    """The caller's sound: never silent, and different at every position."""
    position = np.arange(start, start + count, dtype=np.int64)
    return ((position * 7919 + (position >> 8) * 104729) % 20011 + 1).astype(np.int16)


class FastClock:
    """A monotonic clock that runs `speed` times as fast as the real one.

    Args:
        speed: 1.0 is real time.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._start = time.monotonic()

    def __call__(self) -> float:
        return self._start + (time.monotonic() - self._start) * self._speed


def no_resampler(rate: int, wanted: int) -> Resampler:
    """All audio in here has the recording's rate."""
    raise AssertionError


def facts_of(call_id: str, started: float) -> CallFacts:
    """What is known of such a call from its beginning, in monotonic seconds."""
    return CallFacts(
        call_id=call_id,
        agent_id="agent",
        agent_name=None,
        agent_prompt=None,
        is_test=True,
        job={},
        versions={"sdk": "0"},
        started_at=datetime.now(timezone.utc),
        started=started,
    )


class SimulatedCall:
    """One call with its shipping thread, driven frame by frame.

    Args:
        base_url: Where it goes.
        spool: Where it is kept; None is in memory.
        call_id: Its id.
        recording: And what follows: as for `CallPipeline`.
    """

    def __init__(
        self,
        base_url: str,
        spool: Path | None,
        call_id: str = "RM_1",
        *,
        recording: RecordingMode = "chunks",
        budget: float = 6.0,
        redact: Redact | None = None,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits = DEFAULT_LIMITS,
        tick: float = TICK,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.clock = clock
        self.start = self.clock()
        self.frames = 0
        facts = facts_of(call_id, self.start)
        self.guard = Guard()
        client = RoarkClient(KEY, base_url=base_url)
        client._timeouts = timeouts or client._timeouts
        self.pipeline = CallPipeline(
            CallSetup(facts, {"kind": "simulated"}, recording, spool, budget, redact),
            client,
            no_resampler,
            guard=self.guard,
            limits=limits,
            clock=self.clock,
        )
        engine = None if tick == TICK else Engine(tick=tick)
        self.worker = Worker(self.pipeline.run, name=f"roark-{call_id}", engine=engine)
        self.queue = self.worker.queue
        self.worker.start()
        self.queue.put_urgent(Opened(self.start, True, SinkTraits(), RATE))

    def frame(self) -> None:
        """Hands over the next frame, and now and then a turn, as if they came in time."""
        size = round(FRAME * RATE)
        sound = pcm(self.frames * size, size)
        self.frames += 1
        at = self.start + self.frames * FRAME
        self.queue.put(UserFrame(at, sound.tobytes(), RATE))
        if self.frames % TURN_EVERY == 0:
            number = self.frames // TURN_EVERY
            self.queue.put_urgent(
                {
                    "type": "turn",
                    "role": "user",
                    "text": f"turn {number}",
                    "at": at,
                    "id": str(number),
                }
            )

    def talk(self, seconds: float) -> None:
        """Goes on in the clock's time for so many seconds of the call."""
        for _ in range(round(seconds / FRAME)):
            while self.clock() < self.start + (self.frames + 1) * FRAME:
                time.sleep(0.001)
            self.frame()

    def end(self, reason: str = "participant_disconnected") -> None:
        """The call is over; the delivery goes on."""
        self.queue.put_urgent(end_record(self.start + self.frames * FRAME, reason))


def spawn(base_url: str, spool: Path, *options: str) -> subprocess.Popen[str]:
    """Starts this file as a process of its own; it prints each turn's number."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.simulated_call", base_url, str(spool), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base_url")
    parser.add_argument("spool", type=Path)
    parser.add_argument("--call-id", default="RM_1")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--recording", default="chunks")
    parser.add_argument("--budget", type=float, default=6.0)
    options = parser.parse_args()
    call = SimulatedCall(
        options.base_url,
        options.spool,
        options.call_id,
        recording=options.recording,
        budget=options.budget,
        clock=FastClock(options.speed),
    )
    for turn in range(round(options.seconds / FRAME / TURN_EVERY)):
        call.talk(TURN_EVERY * FRAME)
        print(turn + 1, flush=True)
    call.end()


if __name__ == "__main__":
    main()
