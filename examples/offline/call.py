"""A whole call, in real time and in one process, and the truth about it.

A caller asks the support desk for an order (a tool answers) and for a refund (a tool fails), cuts
the explanation short, is handed over to billing, and says goodbye. Everything is LiveKit's own:
session, voice activity detection, interruption, tools, hand-over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    ConversationItemAddedEvent,
    FunctionToolsExecutedEvent,
    JobContext,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
    llm,
)
from livekit.agents.testing import fake_job_context

from offline.agents import SupportAgent
from offline.audio_io import MemoryAudioInput, MemoryAudioOutput, Segment
from offline.caller import Caller, Said
from offline.captions import Captions
from offline.job import end_job
from offline.recognition import Recognizer
from offline.session import create_session
from offline.sound import Samples

PATIENCE_SECONDS = 90.0
"""How long a call may take; it takes about 40 s."""

Speaker = Literal["caller", "agent"]
Observe = Callable[[JobContext, AgentSession[None]], Awaitable[Any]]


class CallError(Exception):
    """The conversation did not go as it should have."""


@dataclass(frozen=True)
class Utterance:
    """What one side said without being answered, as it really sounded.

    Attributes:
        speaker: Who spoke.
        name: The agent's name, or "caller".
        text: What was to be said; of an interrupted utterance not everything was heard.
        rate: Samples a second.
        samples: What sounded, from `start` to `end`; silence where the audio came late.
        intended: All that was to sound; longer than `samples` if the utterance was interrupted.
        start: When the first sample sounded, on the monotonic clock.
        interrupted: Whether the utterance was cut off.
    """

    speaker: Speaker
    name: str
    text: str
    rate: int
    samples: Samples
    intended: Samples
    start: float
    interrupted: bool = False

    @property
    def end(self) -> float:
        """When the last sample had sounded, on the monotonic clock."""
        return self.start + len(self.samples) / self.rate


@dataclass(frozen=True)
class ToolCall:
    """A tool that was called: with what, and what came of it."""

    name: str
    arguments: str
    output: str
    is_error: bool
    at: float


@dataclass(frozen=True)
class Progress:
    """Something that happened just now.

    Attributes:
        kind: "state" (of an agent or the caller), "said" (a line of the caller's begins, or a
            speech of an agent's is over), "heard" (the caller was understood), "tool", "handoff"
            or "closed".
        who: An agent's name, "caller", or a tool's name.
        text: The state, the words, the tool's result, or the reason.
        at: When, on the monotonic clock.
        interrupted: Of what was said: whether it was cut off.
    """

    kind: Literal["state", "said", "heard", "tool", "handoff", "closed"]
    who: str
    text: str
    at: float
    interrupted: bool = False


OnProgress = Callable[[Progress], None]


@dataclass
class CallTruth:
    """What really happened in a call. Times are seconds on the monotonic clock.

    Attributes:
        utterances: Of both sides, in the order of their starts.
        heard: What the recognizer made of the caller, in order.
        tools: The tools that were called, in order.
        agents: The names of the agents that took the call, in order.
        items: The conversation as LiveKit has it.
        close_reason: Why the session closed.
        started: When the session was started.
        closed: When it had closed.
        ended: When the job's shutdown callbacks had run.
        observed: What `observe` returned.
    """

    utterances: list[Utterance] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    tools: list[ToolCall] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    items: list[llm.ChatItem] = field(default_factory=list)
    close_reason: str = ""
    started: float = 0.0
    closed: float = 0.0
    ended: float = 0.0
    observed: Any = None


async def run_call(
    observe: Observe,
    *,
    on_progress: OnProgress = lambda _: None,
    patience: float = PATIENCE_SECONDS,
) -> CallTruth:
    """Make the call, with real audio in real time; it takes about 40 s.

    Args:
        observe: Called with the job and the session before the session starts, as an entrypoint
            would call `observe_session`.
        on_progress: Told what happens, as it happens, on the event loop.
        patience: Seconds after which the call has failed.

    Returns:
        What really happened.

    Raises:
        CallError: The conversation did not come to its end.
    """
    with fake_job_context(agent_identity="support-desk") as ctx:
        try:
            truth = await asyncio.wait_for(_converse(ctx, observe, on_progress), patience)
        except asyncio.TimeoutError:
            raise CallError(f"the call did not end within {patience:.0f} s") from None
        finally:
            await end_job(ctx, "call ended")
        truth.ended = time.monotonic()
        return truth


async def _converse(ctx: JobContext, observe: Observe, on_progress: OnProgress) -> CallTruth:
    recognizer = Recognizer()
    await asyncio.to_thread(recognizer.load)
    session = create_session(recognizer)
    captions = Captions()
    mouth, ear = MemoryAudioInput(), MemoryAudioOutput(captions=captions)
    session.input.audio, session.output.audio = mouth, ear
    session.output.transcription = captions
    witness = _Witness(session, ear, on_progress)
    caller = Caller(session, ear, mouth, on_line=witness.on_line)
    await caller.prepare()

    truth = witness.truth
    truth.observed = await observe(ctx, session)
    truth.started = time.monotonic()
    try:
        await session.start(agent=SupportAgent())
        await _first_done(caller.talk(), witness.closed.wait())
    finally:
        await session.aclose()
    truth.utterances = sorted(witness.utterances(caller.said), key=lambda one: one.start)
    return truth


async def _first_done(talk: Any, closed: Any) -> None:
    """Wait for the session to close; a caller with nothing more to say waits, too."""
    talking, closing = asyncio.ensure_future(talk), asyncio.ensure_future(closed)
    try:
        await asyncio.wait({talking, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not talking.done():
            raise CallError("the agent closed the session in the middle of the script")
        await talking
        await closing
    finally:
        talking.cancel()
        closing.cancel()


class _Witness:
    """Listens to a session's events, and writes down what happened."""

    def __init__(
        self, session: AgentSession[None], ear: MemoryAudioOutput, on_progress: OnProgress
    ) -> None:
        self.truth = CallTruth()
        self.closed = asyncio.Event()
        self._session = session
        self._ear = ear
        self._on_progress = on_progress
        self._speeches: dict[Segment, tuple[str, str]] = {}  # agent's name and words
        session.on("agent_state_changed", self._on_agent_state)
        session.on("user_state_changed", self._on_caller_state)
        session.on("conversation_item_added", self._on_item)
        session.on("user_input_transcribed", self._on_transcript)
        session.on("function_tools_executed", self._on_tools)
        session.on("close", self._on_close)

    def on_line(self, said: Said) -> None:
        """Note a line of the caller's."""
        self._tell("said", "caller", said.text)

    def utterances(self, lines: list[Said]) -> list[Utterance]:
        """Return what both sides said."""
        return [*map(_of_caller, lines), *map(self._of_agent, self._ear.segments)]

    def _of_agent(self, segment: Segment) -> Utterance:
        name, text = self._speeches.get(segment, ("", ""))
        head = segment.head
        assert head.start is not None
        return Utterance(
            "agent", name, text, head.rate, head.sound(), head.pushed, head.start,
            segment.interrupted,
        )  # fmt: skip

    def _on_agent_state(self, event: AgentStateChangedEvent) -> None:
        self._tell("state", self._session.current_agent.id, event.new_state)

    def _on_caller_state(self, event: UserStateChangedEvent) -> None:
        self._tell("state", "caller", event.new_state)

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if item.type == "agent_handoff":
            self.truth.agents.append(item.new_agent_id)
            self._tell("handoff", item.new_agent_id, item.old_agent_id or "")
        elif item.type == "message":
            self.truth.items.append(item)
            if item.role == "assistant":
                self._on_speech(item.text_content or "", item.interrupted)

    def _on_speech(self, text: str, interrupted: bool) -> None:
        """Note the words of the speech that has just been played: its message follows it."""
        name = self._session.current_agent.id
        segment = [segment for segment in self._ear.segments if segment.finished][-1]
        self._speeches[segment] = (name, text)
        self._tell("said", name, text, interrupted)

    def _on_transcript(self, event: UserInputTranscribedEvent) -> None:
        if event.is_final:
            self.truth.heard.append(event.transcript)
            self._tell("heard", "caller", event.transcript)

    def _on_tools(self, event: FunctionToolsExecutedEvent) -> None:
        for call, output in event.zipped():
            result, is_error = (output.output, output.is_error) if output else ("", False)
            self.truth.tools.append(
                ToolCall(call.name, call.arguments, result, is_error, time.monotonic())
            )
            self._tell("tool", call.name, result)

    def _on_close(self, event: CloseEvent) -> None:
        self.truth.close_reason = event.reason.value
        self.truth.closed = time.monotonic()
        self.closed.set()
        self._tell("closed", "", event.reason.value)

    def _tell(self, kind: Any, who: str, text: str, interrupted: bool = False) -> None:
        self._on_progress(Progress(kind, who, text, time.monotonic(), interrupted))


def _of_caller(said: Said) -> Utterance:
    words = said.words
    return Utterance(
        "caller", "caller", said.text, words.rate, words.samples, words.samples, words.start
    )
