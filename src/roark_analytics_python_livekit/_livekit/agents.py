"""The session's agents: as records when they are new or changed, and who began which speech."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from .._call.records import AgentRecord, HandoffRecord, Record
from .._serialize import clean_text
from .compat import current_agent, is_running
from .metrics import snake

MAX_AGENTS = 50  # records of agents in a call: a prompt may contain the time, and change each turn


@dataclass
class AgentWatch:
    """Records each agent that takes over or changes, and knows whose speech it is.

    Handoffs are recorded here only where livekit does not report them.
    """

    session: Any
    put: Callable[[Record], None]
    records_handoffs: bool
    _last: Any = None
    _recorded: set[int] = field(default_factory=set)  # hashes of the records
    _speakers: WeakKeyDictionary[Any, str | None] = field(default_factory=WeakKeyDictionary)

    def check_replaced(self) -> None:
        """Records the session's agent where another one has taken over."""
        if current_agent(self.session) is not self._last:
            self.check()

    def check(self) -> None:
        """Records the session's agent where it is new or changed."""
        agent = current_agent(self.session)
        if agent is None:
            return
        before, self._last = self._last, agent
        record = agent_record(agent, time.monotonic())
        if agent is not before and self.records_handoffs:
            old = None if before is None else agent_id(before)
            handoff = HandoffRecord(type="handoff", old=old, new=record["id"], at=record["at"])
            self.put(handoff)
        known = hash((record["id"], record["instructions"], *record["tools"]))
        if known not in self._recorded and len(self._recorded) < MAX_AGENTS:
            self._recorded.add(known)
            self.put(record)

    def speech_begins(self, speech: Any) -> None:
        """Remembers whose speech this is: its agent may hand over while it goes on."""
        self._speakers[speech] = self._speaker_of(speech)

    def speaker(self) -> str | None:
        """The id of the agent whose speech the session plays, else of the current agent."""
        return self._speaker_of(self.session.current_speech)

    def _speaker_of(self, speech: Any) -> str | None:
        # Before 1.2 the reply to a tool's result is a speech of its own, with a parent.
        while speech is not None:
            if known := self._speakers.get(speech):
                return known
            speech = getattr(speech, "parent", None)
        agent = current_agent(self.session)
        return None if agent is None else agent_id(agent)


def agent_record(agent: Any, at: float) -> AgentRecord:
    """An agent's id, prompt and the names of its tools, as they are now."""
    return {
        "type": "agent",
        "id": agent_id(agent),
        "instructions": clean_text(_instructions(getattr(agent, "instructions", None))),
        "tools": sorted(set(_tool_names(getattr(agent, "tools", None) or ()))),
        "at": at,
    }


def prompt_of(session: Any) -> str | None:
    """The current agent's instructions, where the session is running."""
    if not is_running(session):
        return None
    return agent_record(current_agent(session), 0.0)["instructions"] or None


def agent_id(agent: Any) -> str:
    """The agent's id (1.3), else its class's name as livekit makes an id of it."""
    known = getattr(agent, "id", None)
    if isinstance(known, str) and known.strip():
        return known
    name = type(agent).__name__
    return "default_agent" if name == "Agent" else snake(name)


def _instructions(instructions: Any) -> str:
    """Text, or livekit's object that renders to it (1.5)."""
    render = getattr(instructions, "render", None)
    return str(render() if callable(render) else instructions or "")


def _tool_names(tools: Iterable[Any]) -> Iterator[str]:
    for tool in tools:
        nested = getattr(tool, "tools", None)  # a toolset (1.3)
        if isinstance(nested, (list, tuple)):
            yield from _tool_names(nested)
        elif name := _tool_name(tool):
            yield name


def _tool_name(tool: Any) -> str:
    """A function tool's name, else the id of a provider's tool, else its class's name."""
    for info in (getattr(tool, "info", None), getattr(tool, "__livekit_tool_info", None)):
        if isinstance(name := getattr(info, "name", None), str):
            return name
    for attribute in ("id", "name", "__name__"):
        if isinstance(name := getattr(tool, attribute, None), str):
            return name
    return type(tool).__name__
