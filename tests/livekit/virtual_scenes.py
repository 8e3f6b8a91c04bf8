"""What happens in the sessions of `virtual_sessions`: agents, what the model answers, and acts."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from livekit import agents
from livekit.agents import RunContext, StopResponse, function_tool
from livekit.agents.voice import events

from tests.support import livekit_features as has
from tests.support.fake_agent import LONG, Desk, NoisyAgent, spoken, stream

QUIET = 1.0  # seconds of the loop's without anything that goes on: the session has settled

Scene = tuple[type[NoisyAgent], dict[str, Any], Callable[[Any], Awaitable[None]]]


class Billing(NoisyAgent):
    """Who takes over."""

    def __init__(self) -> None:
        super().__init__("billing here", instructions="You do billing.")


class Busy(Desk):
    """Hands over, goes on in the background, or is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    @function_tool
    async def hand_over(self) -> Any:
        """Hands over."""
        return Billing(), "billing takes over"

    @function_tool
    async def be_slow(self) -> str:
        """Takes a minute."""
        self.begun.set()
        await asyncio.sleep(60)
        return "at last"

    @function_tool
    async def say_nothing(self) -> None:
        """Wants no reply."""
        raise StopResponse

    @function_tool
    async def go_on(self, context: RunContext[Any], fails: bool) -> Any:
        """Reports its progress twice, where livekit has a way to, and ends long after."""
        if has.TOOL_TIMES:
            await context.update("half of it")
            await asyncio.sleep(5)
            await context.update("most of it")
        await asyncio.sleep(30)
        if fails:
            raise ValueError("the other half is gone")
        return {"all": ["of", "it"]}


async def settled(session: Any) -> None:
    """Waits until nothing has been going on for a while."""
    quiet = 0.0
    while quiet < QUIET:
        await asyncio.sleep(0.05)
        is_quiet = session.current_speech is None and session.agent_state != "speaking"
        quiet = quiet + 0.05 if is_quiet else 0.0


async def interrupted(session: Any) -> None:
    """The agent is to be silent; some versions answer with a future."""
    if inspect.isawaitable(stopped := session.interrupt()):
        await stopped
    await settled(session)


async def asks(session: Any, *questions: str) -> None:
    """The caller writes, and waits for each answer."""
    for question in questions:
        session.generate_reply(user_input=question)
        await settled(session)


def asking(*questions: str) -> Callable[[Any], Awaitable[None]]:
    """Nothing but that."""
    return lambda session: asks(session, *questions)


async def says(session: Any) -> None:
    """The agent says two things, one after the other."""
    for text in ("one thing", "and another"):
        session.say(text, audio=stream(spoken(text)))
    await settled(session)


async def is_cut_in_a_tool(session: Any) -> None:
    """The agent is interrupted while a tool goes on."""
    session.generate_reply(user_input="do it")
    await session.current_agent.begun.wait()
    await interrupted(session)
    await asks(session, "hello")


async def is_cut_in_its_reply(session: Any) -> None:
    """The agent is interrupted while it speaks."""
    session.generate_reply(user_input="do it")
    await asyncio.sleep(2)
    await interrupted(session)
    await asks(session, "hello")


async def closes_in_a_tool(session: Any) -> None:
    """The session ends while a tool goes on."""
    session.generate_reply(user_input="do it")
    await session.current_agent.begun.wait()


async def cancels_handoffs(session: Any) -> None:
    """The agent's code wants none."""
    session.on("function_tools_executed", lambda event: event.cancel_agent_handoff())
    await asks(session, "do it", "hello")


async def goes_on_in_the_background(session: Any) -> None:
    """The caller says something before the tool is done."""
    await asks(session, "do it")
    await asyncio.sleep(20)
    await asks(session, "hello")
    await asyncio.sleep(60)
    await settled(session)


def tools(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """The model calls these, as often as it is asked."""
    return {"do it": list(calls), "do it again": list(calls)}


LOOKUP, SLOW = ("lookup_order", {"order_id": "7"}), ("be_slow", {})
PLACE, OVER = ("weather", {"place": "Rome"}), ("hand_over", {})
SAME_IDS = "tools whose ids come again"

SCENES: dict[str, Scene] = {
    "a reply": (Busy, {"hi": "hello there"}, asking("hi", "hi")),
    "two things said": (Busy, {}, says),
    "a tool": (Busy, tools(LOOKUP), asking("do it")),
    "an object": (Busy, tools(PLACE), asking("do it")),
    "three tools at once": (Busy, tools(LOOKUP, PLACE, ("note_down", {})), asking("do it")),
    SAME_IDS: (Busy, tools(LOOKUP, PLACE), asking("do it", "do it again")),
    "tools that raise": (Busy, tools(("issue_refund", {}), ("break_down", {})), asking("do it")),
    "no reply": (Busy, tools(("say_nothing", {})), asking("do it", "hello")),
    "a handoff": (Busy, tools(OVER), asking("do it", "hello")),
    "interrupted in a tool": (Busy, tools(LOOKUP, SLOW), is_cut_in_a_tool),
    "a handoff beside it": (Busy, tools(OVER, SLOW), is_cut_in_a_tool),
    "interrupted in a reply": (Busy, {"do it": LONG}, is_cut_in_its_reply),
    "closed in a tool": (Busy, tools(SLOW), closes_in_a_tool),
    "background": (Busy, tools(("go_on", {"fails": False})), goes_on_in_the_background),
    "background that raises": (
        Busy,
        tools(("go_on", {"fails": True})),
        goes_on_in_the_background,
    ),
}
if hasattr(events.FunctionToolsExecutedEvent, "cancel_agent_handoff"):  # 1.2
    SCENES["a handoff that is cancelled"] = (Busy, tools(OVER), cancels_handoffs)
if hasattr(agents, "AgentTask"):  # 1.2

    class Form(agents.AgentTask[str]):
        """Asks on its own, in the middle of a tool."""

        def __init__(self) -> None:
            super().__init__(instructions="Ask for the name.")

        async def on_enter(self) -> None:
            text = "what is your name"
            self.session.say(text, audio=stream(spoken(text)))

        @function_tool
        async def fill_in(self, name: str) -> None:
            """Completes the form."""
            self.complete(name)

    class Clerk(NoisyAgent):
        """Has a form."""

        @function_tool
        async def ask_name(self) -> str:
            """Waits for a task of its own."""
            return f"it is {await Form()}"

    ASK = {"do it": [("ask_name", {})], "ann": [("fill_in", {"name": "ann"})]}
    SCENES["a nested task"] = (Clerk, ASK, asking("do it", "ann"))
