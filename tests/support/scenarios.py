"""Whole conversations with a real AgentSession, each about one thing that can happen in a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from livekit.agents import (
    AgentSession,
    APIConnectionError,
    APIConnectOptions,
    RunContext,
    ToolError,
    function_tool,
    tts,
)
from livekit.agents.voice import events

from tests.support import livekit_features as has
from tests.support.fake_agent import NoisyAgent, ScriptedSTT, spoken, until
from tests.support.fake_realtime_model import ScriptedRealtime
from tests.support.observed_calls import Call, a_call, create_session
from tests.support.phone_lines import LineInput

GREETING = "welcome to the desk how can i help"
ORDER, ANSWER = "where is my order please", "it is on its way"
LONG = "once upon a time " + "very " * 24 + "long ago"
STOP, STOPPED = "stop that right now", "of course"
PROMPT = "Answer briefly."


class Desk(NoisyAgent):
    """Tools that answer, and tools that do not."""

    def __init__(self, greeting: str | None = None) -> None:
        super().__init__(greeting, instructions=PROMPT)
        self.waiting = asyncio.Event()
        self.never = asyncio.Event()

    @function_tool
    async def lookup_order(self, order_id: str) -> str:
        """Looks an order up."""
        return f"order {order_id} is on its way"

    @function_tool
    async def weather(self, place: str) -> dict[str, Any]:
        """Gives an object."""
        return {"place": place, "degrees": 21.5}

    @function_tool
    async def note_down(self) -> None:
        """Gives nothing."""

    @function_tool
    async def issue_refund(self) -> str:
        """Refuses."""
        raise ToolError("refunds are closed")

    @function_tool
    async def break_down(self) -> str:
        """Fails by an error of its own."""
        raise ValueError("no connection to the ledger")

    @function_tool
    async def search(self) -> str:
        """Takes longer than the call."""
        self.waiting.set()
        await self.never.wait()
        return "found"


class Billing(NoisyAgent):
    """Who takes over."""

    def __init__(self) -> None:
        super().__init__("billing here", instructions="You do billing.")


class Triage(NoisyAgent):
    """Who hands over."""

    def __init__(self) -> None:
        super().__init__("hello this is triage", instructions="You hand over.")

    @function_tool
    async def to_billing(self, context: RunContext[Any]) -> Any:
        """Hands over to billing."""
        return Billing(), "billing takes over"


class FailingTTS(tts.TTS):
    """Says nothing, ever."""

    def __init__(self) -> None:
        capabilities = tts.TTSCapabilities(streaming=False)
        super().__init__(capabilities=capabilities, sample_rate=24_000, num_channels=1)

    def synthesize(self, text: str, *, conn_options: Any = None, **_: Any) -> Any:
        return _NoVoice(tts=self, input_text=text, conn_options=APIConnectOptions(max_retry=0))


class _NoVoice(tts.ChunkedStream):
    async def _run(self, *_: Any) -> None:
        raise APIConnectionError("the voice is gone")


class FailingSTT(ScriptedSTT):
    """Understands nothing, ever."""

    async def _recognize_impl(self, buffer: Any, **_: Any) -> Any:
        raise RuntimeError("the ear is gone")


class SpeakingAgent(Desk):
    """Speaks through the session's TTS."""

    def tts_node(self, text: Any, model_settings: Any) -> Any:
        return Desk.default.tts_node(self, text, model_settings)


# The stories


async def pipeline(folder: Path) -> Call:
    """A greeting, a question, a tool, an answer."""
    answers = {
        ORDER: [("lookup_order", {"order_id": "427"})],
        "order 427 is on its way": ANSWER,
    }
    async with a_call(folder, Desk(GREETING), answers, agent_name="Desk", plan="gold") as call:
        await call.answered(1)
        await call.say(ORDER)
        await call.answered(2)
        call.handle.add_metadata(solved=True)
    return call


async def realtime(folder: Path) -> Call:
    """A speech-to-speech model, with a tool."""
    script: list[Any] = [("hello you there", "yes what can i do"), (ORDER, ("lookup_order", ID))]
    model = ScriptedRealtime(script, after_tools=ANSWER)
    session = AgentSession(llm=model)
    async with a_call(folder, Desk(), session=session, mouth=LineInput()) as call:
        await call.mouth.spoken(call.mouth.say(spoken("hello you there"), after=0.3))
        await call.listening(1)
        await call.mouth.spoken(call.mouth.say(spoken(ORDER)))
        await call.listening(2)
    return call


ID = {"order_id": "427"}


async def text_only(folder: Path) -> Call:
    """Nobody hears, nobody speaks."""
    async with a_call(folder, Desk(), {"hi": "hello there"}, with_audio=False) as call:
        await call.session.generate_reply(user_input="hi")
    return call


async def handoff(folder: Path) -> Call:
    """One session, two agents."""
    answers = {"a question of money": [("to_billing", {})], "billing takes over": "one moment"}
    async with a_call(folder, Triage(), answers) as call:
        await call.answered(1)
        await call.say("a question of money")
        await until(lambda: isinstance(call.session.current_agent, Billing))
        await until(lambda: "billing here" in said(call))
        await until(lambda: call.session.agent_state == "listening")
    return call


def said(call: Call) -> list[str]:
    """What is in the session's history."""
    items = call.session.history.items
    return [item.text_content or "" for item in items if item.type == "message"]


async def parallel_tools(folder: Path) -> Call:
    """Three at once: a text, an object, nothing."""
    answers = {
        ORDER: [("lookup_order", ID), ("weather", {"place": "Berlin"}), ("note_down", {})],
    }
    async with a_call(folder, Desk(), {**answers, **dict.fromkeys(RESULTS, ANSWER)}) as call:
        await call.say(ORDER)
        await call.answered(1)
    return call


RESULTS = ("order 427 is on its way", "{'place': 'Berlin', 'degrees': 21.5}", "")


async def tool_error(folder: Path) -> Call:
    """One that refuses, one that breaks."""
    answers = {
        ORDER: [("issue_refund", {}), ("break_down", {})],
        "refunds are closed": "it failed",
        "An internal error occurred": "it failed",
    }
    async with a_call(folder, Desk(), answers) as call:
        await call.say(ORDER)
        await call.answered(1)
    return call


async def interruption(folder: Path) -> Call:
    """The caller has heard enough."""
    options = {"resume_false_interruption": False} if has.FALSE_INTERRUPTION else {}
    answers = {ORDER: LONG, STOP: STOPPED}
    async with a_call(folder, Desk(), answers, interruption=options) as call:
        await call.say(ORDER)
        await call.speaking(1, 1.5)
        await call.say(STOP)
        await call.answered(2)
    return call


async def false_interruption(folder: Path) -> Call:
    """A cough; the agent stops and goes on."""
    options = {"resume_false_interruption": True, "false_interruption_timeout": 0.4}
    async with a_call(folder, Desk(LONG), interruption=options) as call:
        await call.speaking(1, 0.8)
        await call.mouth.spoken(call.mouth.say(spoken("a cough")))
        await call.answered(1)
    return call


async def llm_error(folder: Path) -> Call:
    """The model fails; the caller gets no answer."""
    async with a_call(folder, Desk(), {ORDER: RuntimeError("the mind is gone")}) as call:
        failed = failing(call)
        await call.say(ORDER)
        await failed.wait()
    return call


async def stt_error(folder: Path) -> Call:
    """Nothing is understood, and the session closes for that."""
    session = create_session({}, FailingSTT(), impatient=True)
    async with a_call(folder, Desk(), session=session) as call:
        over = closing(call) if has.CLOSE_REASON else failing(call)
        await call.say(ORDER)
        await over.wait()
    return call


async def tts_error(folder: Path) -> Call:
    """Nothing is spoken."""
    session = create_session({ORDER: ANSWER}, script := ScriptedSTT(), voice=FailingTTS())
    async with a_call(folder, SpeakingAgent(), session=session) as call:
        call.script = script
        failed = failing(call)
        await call.say(ORDER)
        await failed.wait()
    return call


def closing(call: Call) -> asyncio.Event:
    """Is set when the session is closed."""
    closed = asyncio.Event()
    call.session.on("close", lambda _: closed.set())
    return closed


def failing(call: Call) -> asyncio.Event:
    """Is set when the session tells of an error that it does not get over."""
    failed = asyncio.Event()

    def on_error(event: Any) -> None:
        if not getattr(event.error, "recoverable", False):
            failed.set()

    call.session.on("error", on_error)
    return failed


async def participant_leaves(folder: Path) -> Call:
    """The caller hangs up while the agent speaks, as RoomIO says it to the session."""
    async with a_call(folder, Desk(LONG)) as call:
        await call.speaking(1, 1.5)
        await close(call, "PARTICIPANT_DISCONNECTED")
    return call


async def worker_shutdown(folder: Path) -> Call:
    """The job ends while the agent speaks: livekit closes the session in a callback of its own."""
    async with a_call(folder, Desk(LONG)) as call:
        await call.speaking(1, 1.5)
        await asyncio.gather(call.job.shut_down(), close(call, "JOB_SHUTDOWN"))
    return call


async def close(call: Call, reason: str) -> None:
    """Closes the session for a reason, where there are any."""
    if has.CLOSE_REASON:
        await call.session._aclose_impl(reason=events.CloseReason[reason])
    else:
        await call.session.aclose()


async def unfinished_tool(folder: Path) -> Call:
    """The call ends while a tool is running."""
    desk = Desk()
    async with a_call(folder, desk, {ORDER: [("search", {})]}) as call:
        await call.say(ORDER)
        await desk.waiting.wait()
        await call.handle.aflush(reason="enough")
        desk.never.set()
    return call


STORIES: dict[str, Callable[[Path], Awaitable[Call]]] = {
    story.__name__: story
    for story in (
        pipeline,
        realtime,
        text_only,
        handoff,
        parallel_tools,
        tool_error,
        interruption,
        false_interruption,
        llm_error,
        stt_error,
        tts_error,
        participant_leaves,
        worker_shutdown,
        unfinished_tool,
    )
}
