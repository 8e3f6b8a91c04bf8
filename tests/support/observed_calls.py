"""One call in memory, observed, with local Roark at the other end."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from livekit.agents import AgentSession
from livekit.agents.voice import agent_session, events

from local_roark import Faults, create_app
from offline.audio_io import MemoryAudioInput, MemoryAudioOutput, Words
from roark_analytics_python_livekit import RoarkClient, observe_session
from roark_analytics_python_livekit.session import CallHandle
from tests.support import livekit_features as has
from tests.support.fake_agent import (
    EnergyVAD,
    NoisyAgent,
    Samples,
    ScriptedLLM,
    ScriptedSTT,
    spoken,
    until,
)
from tests.support.fake_roark import KEY as KEY
from tests.support.fake_roark import call_file, recording


class FakeJob:
    """What `observe_session` needs of a job: names, and callbacks for its end."""

    def __init__(self, sid: str = "RM_test") -> None:
        self.job = SimpleNamespace(id="AJ_test", room=SimpleNamespace(sid=sid, name="a-room"))
        self.room = SimpleNamespace(name="a-room", remote_participants={})
        self.callbacks: list[Callable[[str], Awaitable[None]]] = []

    def add_shutdown_callback(self, callback: Callable[[str], Awaitable[None]]) -> None:
        assert callback.__code__.co_argcount == 1  # as livekit looks at it
        self.callbacks.append(callback)

    async def shut_down(self, reason: str = "") -> None:
        """What livekit does when the job ends."""
        for callback in self.callbacks:
            await callback(reason)


def create_session(
    answers: dict[str, Any],
    script: ScriptedSTT | None = None,
    voice: Any = None,
    *,
    impatient: bool = False,
    **more: Any,
) -> AgentSession[Any]:
    """A session in which nothing reaches for the network, on every version.

    `impatient` closes at the first error that it cannot get over, where it counts them (1.1);
    `more` is about interruptions, as `AgentSession` before 1.5 names it.
    """
    options: dict[str, Any] = {"stt": script or ScriptedSTT(), "vad": EnergyVAD()}
    options |= {"llm": ScriptedLLM(answers), **({"tts": voice} if voice else {})}
    if impatient and hasattr(agent_session, "SessionConnectOptions"):
        options["conn_options"] = agent_session.SessionConnectOptions(max_unrecoverable_errors=0)
    if "aec_warmup_duration" in inspect.signature(AgentSession.__init__).parameters:
        options["aec_warmup_duration"] = None  # from 1.4 on: no interruptions in the first 3 s
    try:
        return AgentSession(
            **options,
            turn_handling={
                "turn_detection": "vad",
                "endpointing": {"mode": "fixed", "min_delay": 0.1, "max_delay": 0.3},
                "interruption": {"mode": "vad", "min_duration": 0.2, **more},
            },
        )
    except TypeError:  # before turn_handling there was an argument for each
        return AgentSession(
            **options,
            turn_detection="vad",
            min_endpointing_delay=0.1,
            max_endpointing_delay=0.3,
            min_interruption_duration=0.2,
            **more,
        )


@dataclass
class Call:
    """A running call, and afterwards what local Roark got of it."""

    session: AgentSession[Any]
    mouth: Any
    ear: Any
    job: FakeJob
    folder: Path
    script: ScriptedSTT
    handle: CallHandle
    said: dict[str, Words] = field(default_factory=dict)
    answers: int = 0

    async def say(self, text: str) -> None:
        """The caller says something, and the recognizer will understand it."""
        self.script.script.append(text)
        self.said[text] = self.mouth.say(spoken(text))
        await self.mouth.spoken(self.said[text])

    async def answered(self, speeches: int) -> None:
        """Waits until the agent has finished its n-th speech, and listens again."""
        await until(lambda: len([s for s in self.ear.segments if s.finished]) >= speeches)
        await until(lambda: self.session.agent_state == "listening")

    async def listening(self, answers: int) -> None:
        """Waits until the agent has given its n-th answer, cut or not, and listens again."""
        await until(lambda: self.answers >= answers and self.session.agent_state == "listening")

    async def speaking(self, speech: int, seconds: float = 0.3) -> None:
        """Waits until the agent's n-th speech has sounded for a while."""
        await self.ear.until(lambda: len(self.ear.segments) >= speech)
        await self.ear.reaches(self.ear.segments[speech - 1], seconds)

    @property
    def json(self) -> dict[str, Any]:
        """The call as local Roark keeps it."""
        return call_file(self.folder, self.handle.livekit_call_id)

    @property
    def ended(self) -> dict[str, Any]:
        return dict(self.json["ended"])

    def turn(self, text: str) -> dict[str, Any]:
        """The transcript row with this text."""
        return next(row for row in self.ended["transcript"] if row["content"] == text)

    def recording(self) -> tuple[int, Samples]:
        """(rate, samples × 2) of the recording."""
        return recording(self.folder, self.handle.livekit_call_id)


@asynccontextmanager
async def a_call(
    folder: Path,
    agent: NoisyAgent,
    answers: dict[str, Any] | None = None,
    *,
    faults: Faults | None = None,
    observe_after_start: bool = False,
    with_audio: bool = True,
    mouth: Any = None,
    ear: Any = None,
    session: AgentSession[Any] | None = None,
    interruption: dict[str, Any] | None = None,
    job: FakeJob | None = None,
    **options: Any,
) -> AsyncIterator[Call]:
    """Starts a call, and at the end closes it and waits for its delivery.

    `with_audio`: the session has an input and an output from its start. `interruption` goes to
    `create_session`, the other options to `observe_session`.
    """
    transport = httpx.ASGITransport(create_app(folder, faults=faults))
    client = RoarkClient(KEY, base_url="https://roark.test", transport=transport)
    script, job = ScriptedSTT(), job or FakeJob()
    session = session or create_session(answers or {}, script, **(interruption or {}))
    mouth, ear = mouth or MemoryAudioInput(), ear or MemoryAudioOutput()
    if with_audio:
        session.input.audio, session.output.audio = mouth, getattr(ear, "sink", ear)

    async def observe() -> CallHandle:
        return await observe_session(
            job,  # type: ignore[arg-type]  # a stand-in
            session,
            **{"agent_id": "agent", "client": client, "spool_dir": spool_of(folder), **options},
        )

    call = Call(session, mouth, ear, job, folder, script, CallHandle())

    def count(event: Any) -> None:
        call.answers += getattr(event.item, "role", None) == "assistant"

    session.on("conversation_item_added", count)
    if hasattr(ear, "start"):
        await ear.start()
    if not observe_after_start:
        call.handle = await observe()
    await session.start(agent=agent)
    if observe_after_start:
        call.handle = await observe()
    try:
        yield call
    finally:
        await close(session)
        await job.shut_down()


def spool_of(folder: Path) -> Path:
    """A spool for this call alone: nobody else's leavings are recovered in it."""
    return folder.with_name(f"{folder.name}-spool")


async def close(session: AgentSession[Any]) -> None:
    """Closes a session; 1.2 and 1.3 may miss that they are to stop, and are told again."""
    closing = asyncio.ensure_future(session.aclose())
    while not (await asyncio.wait({closing}, timeout=1.0))[0]:
        activity = getattr(session, "_activity", None)
        if (wake := getattr(activity, "_wake_up_scheduling_task", None)) is not None:
            wake()
    await closing


async def close_for(call: Call, reason: str) -> None:
    """Closes a call's session for a reason, where livekit-agents knows any."""
    if has.CLOSE_REASON:
        await call.session._aclose_impl(reason=events.CloseReason[reason])
    else:
        await call.session.aclose()


def failing(call: Call) -> asyncio.Event:
    """Is set when the session tells of an error that it does not get over."""
    failed = asyncio.Event()

    def on_error(event: Any) -> None:
        if not getattr(event.error, "recoverable", False):
            failed.set()

    call.session.on("error", on_error)
    return failed
