"""Calls between a caller and an agent that cost next to nothing themselves: for `cost_process.py`.

The sessions are livekit's own, on in-memory audio at real-time pace: 24 kHz in frames of 10 ms, the
agent speaks for 4 s of every 6 s. All frames are made once, and shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io

RATE, FRAME = 24_000, 0.01
SPEECH, PERIOD = 4.0, 6.0  # seconds
KILLED = 10.0  # seconds after which livekit kills a job that was asked to stop
QUEUE = 0.2  # seconds of speech that the sink takes ahead of its playing


def _frames() -> list[rtc.AudioFrame]:
    sound = np.random.default_rng(1).normal(0, 3000, round(PERIOD * RATE)).astype(np.int16)
    return [
        rtc.AudioFrame(part.tobytes(), RATE, 1, len(part))
        for part in np.split(sound, round(PERIOD / FRAME))
    ]


FRAMES = _frames()


def accepted(cls: type, **arguments: Any) -> dict[str, Any]:
    """Those of `arguments` that the constructor of `cls` takes in this version."""
    known = inspect.signature(cls).parameters
    return {name: value for name, value in arguments.items() if name in known}


class Mouth(io.AudioInput):
    """The caller, who never stops making noise."""

    def __init__(self) -> None:
        super().__init__(**accepted(io.AudioInput, label="mouth", source=None))
        self._next, self._opened = 0, 0.0

    async def __anext__(self) -> rtc.AudioFrame:
        self._opened = self._opened or time.monotonic()
        self._next += 1
        wait = self._opened + self._next * FRAME - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        return FRAMES[self._next % len(FRAMES)]


class Ear(io.AudioOutput):
    """A sink that plays in real time, as RoomIO's: it takes frames a little ahead."""

    def __init__(self) -> None:
        capabilities = getattr(io, "AudioOutputCapabilities", None)
        more = accepted(
            io.AudioOutput,
            label="ear",
            capabilities=capabilities and capabilities(pause=True),
            next_in_chain=None,
            sample_rate=RATE,
        )
        super().__init__(**more)
        self._began, self._pushed = 0.0, 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._pushed:
            self._began = time.monotonic()
            if hasattr(self, "on_playback_started"):
                self.on_playback_started(created_at=time.time())
        self._pushed += FRAME
        ahead = self._began + self._pushed - time.monotonic() - QUEUE
        if ahead > 0:
            await asyncio.sleep(ahead)

    def flush(self) -> None:
        super().flush()
        if self._pushed:
            left = self._began + self._pushed - time.monotonic()
            asyncio.get_running_loop().call_later(max(left, 0.0), self._finish, False)

    def clear_buffer(self) -> None:
        self._finish(True)

    def _finish(self, interrupted: bool) -> None:
        if self._pushed:
            played = min(time.monotonic() - self._began, self._pushed)
            self._pushed = 0.0
            self.on_playback_finished(playback_position=played, interrupted=interrupted)


class Room(rtc.EventEmitter[str]):
    """A connected room with nobody in it."""

    def __init__(self, name: str, sid: str) -> None:
        super().__init__()
        self.name, self._sid = name, sid
        self.remote_participants: dict[str, Any] = {}
        self.local_participant = SimpleNamespace(identity="agent", attributes={})

    @property
    async def sid(self) -> str:
        return self._sid

    def isconnected(self) -> bool:
        return True


class Job:
    """What observing needs of a job: names, and callbacks for its end."""

    def __init__(self, number: int) -> None:
        self.job = SimpleNamespace(
            id=f"AJ_{number}", room=SimpleNamespace(sid=f"RM_{number}", name=f"room-{number}")
        )
        self.room = Room(f"room-{number}", f"RM_{number}")
        self.callbacks: list[Callable[..., Awaitable[None]]] = []

    def add_shutdown_callback(self, callback: Callable[..., Awaitable[None]]) -> None:
        self.callbacks.append(callback)

    async def shut_down(self) -> None:
        for callback in self.callbacks:
            await callback(*[""] * len(inspect.signature(callback).parameters))


class Call:
    """One call: attached, started, talking, closed."""

    def __init__(self, number: int) -> None:
        self.call_id = f"call-{number}"
        self._job = Job(number)
        self._session: AgentSession[None] = AgentSession()
        self.attach = self.closed = self.over = 0.0

    async def begin(self, observe: Any) -> None:
        if observe is not None:
            began = time.perf_counter()
            await observe(
                self._job,
                self._session,
                api_key="rk_live_replace_me",
                agent_id="agent",
                livekit_call_id=self.call_id,
            )
            self.attach = time.perf_counter() - began
        self._session.input.audio, self._session.output.audio = Mouth(), Ear()
        await self._session.start(agent=Agent(instructions="Be brief."))

    async def talk(self, begun: asyncio.Future[None], until: float) -> None:
        """Speaks as often as there is time before `until`, in monotonic seconds."""
        await begun
        began = time.monotonic()
        while time.monotonic() + SPEECH < until:
            await self.say(SPEECH)
            began += PERIOD
            await asyncio.sleep(began - time.monotonic())

    async def say(self, seconds: float) -> None:
        """Says something, and waits until it was heard."""
        await self._session.say("words that take a while", audio=_speech(seconds))

    async def end(self) -> None:
        await self._session.aclose()
        self.closed = time.monotonic()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._job.shut_down(), KILLED)
        self.over = time.monotonic()


async def _speech(seconds: float) -> AsyncIterator[rtc.AudioFrame]:
    for frame in FRAMES[: round(seconds / FRAME)]:
        yield frame
