"""Agents and participants as records, pure, as they are at this moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from livekit import rtc

from .._call.records import AgentRecord, ParticipantRecord
from .._serialize import clean_text
from .metrics import snake

SIP = "sip."  # LiveKit's prefix for what it knows of a telephone call
_NOT_A_CALLER = {"agent", "egress", "ingress"}


def agent(current: Any, at: float) -> AgentRecord:
    """An agent's id, prompt and the names of its tools."""
    return {
        "type": "agent",
        "id": agent_id(current),
        "instructions": clean_text(_instructions(getattr(current, "instructions", None))),
        "tools": sorted(set(_tool_names(getattr(current, "tools", None) or ()))),
        "at": at,
    }


def agent_id(current: Any) -> str:
    """The agent's id (livekit-agents 1.3), else what it would be: its class's name."""
    known = getattr(current, "id", None)
    if isinstance(known, str) and known.strip():
        return known
    name = type(current).__name__
    return "default_agent" if name == "Agent" else snake(name)


def _instructions(instructions: Any) -> str:
    """Text, or livekit's object that renders to it (1.5)."""
    render = getattr(instructions, "render", None)
    if callable(render):
        return str(render())
    return str(instructions or "")


def _tool_names(tools: Iterable[Any]) -> Iterator[str]:
    for tool in tools:
        nested = getattr(tool, "tools", None)  # a toolset (1.3)
        if isinstance(nested, (list, tuple)):
            yield from _tool_names(nested)
        elif name := _tool_name(tool):
            yield name


def _tool_name(tool: Any) -> str | None:
    """A function tool's name, on every version; else a provider's tool's id, or its class."""
    for info in (getattr(tool, "info", None), getattr(tool, "__livekit_tool_info", None)):
        if isinstance(name := getattr(info, "name", None), str):
            return name
    for attribute in ("id", "name", "__name__"):
        if isinstance(name := getattr(tool, attribute, None), str):
            return name
    return type(tool).__name__


def participant(of_room: Any, at: float) -> ParticipantRecord:
    """A participant's identity, kind, and what LiveKit knows of its telephone call."""
    attributes = getattr(of_room, "attributes", None)
    known = attributes if isinstance(attributes, Mapping) else {}
    return {
        "type": "participant",
        "identity": str(getattr(of_room, "identity", "") or ""),
        "sid": str(getattr(of_room, "sid", "") or ""),
        "name": str(getattr(of_room, "name", "") or ""),
        "kind": kind_of(of_room),
        "left": _reason_to_leave(of_room),
        "attributes": {
            str(name): clean_text(str(value), 1000)
            for name, value in sorted(known.items())
            if str(name).startswith(SIP)
        },
        "at": at,
    }


def kind_of(of_room: Any) -> str:
    """standard, sip, agent, ... as LiveKit names it."""
    kind = getattr(of_room, "kind", None)
    try:
        name = rtc.ParticipantKind.Name(kind)  # type: ignore[arg-type]  # asked for: it may not be
    except (TypeError, ValueError):
        return "unknown"
    return str(name).removeprefix("PARTICIPANT_KIND_").lower()


def _reason_to_leave(of_room: Any) -> str:
    """client_initiated, user_rejected, ... as LiveKit names it; "" while it is not known."""
    reason = getattr(of_room, "disconnect_reason", None)
    try:
        return str(rtc.DisconnectReason.Name(reason)).lower()  # type: ignore[arg-type]  # see above
    except (TypeError, ValueError):
        return ""


def is_caller(of_room: Any) -> bool:
    """Whether this may be the one who is talking to the agent."""
    return kind_of(of_room) not in _NOT_A_CALLER
