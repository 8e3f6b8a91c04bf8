"""Recorded conversations: call-ended is the golden one, on every livekit-agents that tells it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("livekit.agents")

from livekit.agents import (
    AgentSession,
    APIConnectionError,
    APIConnectOptions,
    RunContext,
    function_tool,
    tts,
)

from tests.livekit.fake_realtime_model import ScriptedRealtime
from tests.livekit.golden_files import seen_and_golden
from tests.support import livekit_features as has
from tests.support.fake_agent import (
    ANSWER,
    ID,
    LONG,
    ON_ITS_WAY,
    ORDER,
    STOP,
    STOPPED,
    Desk,
    NoisyAgent,
    ScriptedSTT,
    spoken,
    until,
)
from tests.support.observed_calls import Call, a_call, close_for, create_session, failing
from tests.support.phone_lines import LineInput

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREETING = "welcome to the desk how can i help"

Story = Callable[[Path], Awaitable[Call]]
STORIES: dict[str, tuple[Story, bool]] = {}


def story(told: bool = True) -> Callable[[Story], Story]:
    """Keeps a story by its name, and whether this livekit-agents tells it."""

    def keep(tell: Story) -> Story:
        STORIES[tell.__name__] = (tell, told)
        return tell

    return keep


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


@story()
async def pipeline(folder: Path) -> Call:
    """A greeting, a question, a tool, an answer."""
    answers = {ORDER: [("lookup_order", ID)], ON_ITS_WAY: ANSWER}
    async with a_call(folder, Desk(GREETING), answers, agent_name="Desk", plan="gold") as call:
        await call.answered(1)
        await call.say(ORDER)
        await call.answered(2)
        call.handle.add_metadata(solved=True)
    return call


@story()
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


@story()
async def text_only(folder: Path) -> Call:
    """Nobody hears, nobody speaks."""
    async with a_call(folder, Desk(), {"hi": "hello there"}, with_audio=False) as call:
        await call.session.generate_reply(user_input="hi")
    return call


@story()
async def handoff(folder: Path) -> Call:
    """One session, two agents."""
    answers = {"a question of money": [("to_billing", {})], "billing takes over": "one moment"}
    async with a_call(folder, Triage(), answers) as call:
        await call.answered(1)
        await call.say("a question of money")
        await until(lambda: isinstance(call.session.current_agent, Billing))
        await until(lambda: "billing here" in str(call.session.history.items))
        await until(lambda: call.session.agent_state == "listening")
    return call


@story()
async def parallel_tools(folder: Path) -> Call:
    """Three at once: a text, an object, nothing."""
    calls = [("lookup_order", ID), ("weather", {"place": "Berlin"}), ("note_down", {})]
    results = (ON_ITS_WAY, "{'place': 'Berlin', 'degrees': 21.5}", "")
    answers: dict[str, Any] = {ORDER: calls, **dict.fromkeys(results, ANSWER)}
    async with a_call(folder, Desk(), answers) as call:
        await call.say(ORDER)
        await call.answered(1)
    return call


@story()
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


@story()
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


@story(has.USAGE)  # before 1.5 a speech may stay paused for ever
async def false_interruption(folder: Path) -> Call:
    """A cough; the agent stops and goes on."""
    options = {"resume_false_interruption": True, "false_interruption_timeout": 0.4}
    async with a_call(folder, Desk(LONG), interruption=options) as call:
        await call.speaking(1, 0.8)
        await call.mouth.spoken(call.mouth.say(spoken("a cough")))
        await call.answered(1)
    return call


@story()
async def llm_error(folder: Path) -> Call:
    """The model fails; the caller gets no answer."""
    async with a_call(folder, Desk(), {ORDER: RuntimeError("the mind is gone")}) as call:
        failed = failing(call)
        await call.say(ORDER)
        await failed.wait()
    return call


@story()
async def stt_error(folder: Path) -> Call:
    """Nothing is understood, and the session closes for that."""
    session = create_session({}, FailingSTT(), impatient=True)
    async with a_call(folder, Desk(), session=session) as call:
        over = asyncio.Event() if has.CLOSE_REASON else failing(call)
        call.session.on("close", lambda _: over.set())
        await call.say(ORDER)
        await over.wait()
    return call


@story(has.CLOSE_REASON)  # 1.0 takes for said what it could not say
async def tts_error(folder: Path) -> Call:
    """Nothing is spoken."""
    capabilities = tts.TTSCapabilities(streaming=False)
    voice = FailingTTS(capabilities=capabilities, sample_rate=24_000, num_channels=1)
    session = create_session({ORDER: ANSWER}, script := ScriptedSTT(), voice=voice)
    async with a_call(folder, SpeakingAgent(), session=session) as call:
        call.script = script
        failed = failing(call)
        await call.say(ORDER)
        await failed.wait()
    return call


@story(has.CLOSE_REASON)  # 1.0 goes on without the caller
async def participant_leaves(folder: Path) -> Call:
    """The caller hangs up while the agent speaks, as RoomIO says it to the session."""
    async with a_call(folder, Desk(LONG)) as call:
        await call.speaking(1, 1.5)
        await close_for(call, "PARTICIPANT_DISCONNECTED")
    return call


@story(has.CLOSE_REASON)  # and without the job
async def worker_shutdown(folder: Path) -> Call:
    """The job ends while the agent speaks: livekit closes the session in a callback of its own."""
    async with a_call(folder, Desk(LONG)) as call:
        await call.speaking(1, 1.5)
        await asyncio.gather(call.job.shut_down(), close_for(call, "JOB_SHUTDOWN"))
    return call


@story(has.TOOL_TIMES)
async def unfinished_tool(folder: Path) -> Call:
    """The call ends while a tool is running."""
    desk = Desk()
    async with a_call(folder, desk, {ORDER: [("search", {})]}) as call:
        await call.say(ORDER)
        await desk.waiting.wait()
        await call.handle.aflush(reason="enough")
        desk.never.set()
    return call


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    """All stories, at once."""
    folder = tmp_path_factory.mktemp("stories")
    telling = {name: tell(folder / name) for name, (tell, told) in STORIES.items() if told}
    logging.getLogger("livekit.agents").setLevel(logging.CRITICAL)  # their errors are the point
    return dict(zip(telling, await asyncio.gather(*telling.values()), strict=True))


@pytest.mark.parametrize("name", STORIES)
async def test_a_story_arrives_as_it_was(calls: dict[str, Call], name: str) -> None:
    """Compared with its golden file, without what differs from run to run."""
    if name not in calls:
        pytest.skip("this livekit-agents does not tell it")
    seen, golden = seen_and_golden(name, calls[name].ended)
    assert seen == golden
