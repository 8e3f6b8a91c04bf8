"""The wire's types and its schema say the same: `_types.py` and `wire.schema.json`."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from typing_extensions import NotRequired, Required, is_typeddict

import local_roark
from roark_analytics_python_livekit import _types

SCHEMA = json.loads(Path(local_roark.__file__).with_name("wire.schema.json").read_text("utf-8"))
DEFINITIONS: dict[str, Any] = SCHEMA["$defs"]

# What the contract lets a sender leave out, and this library always sends, is required here only.
PAIRS = {
    "CallStarted": "call-started",
    "CallEnded": "call-ended",
    "TranscriptTurn": "turn",
    "ToolCall": "toolCall",
    "ToolResult": "toolResult",
    "ToolUpdate": "toolUpdate",
    "Metric": "metric",
    "Usage": "usage",
    "Handoff": "handoff",
    "Agent": "agent",
    "Participant": "participant",
    "Dtmf": "dtmf",
    "CallEvent": "callEvent",
    "Recording": "recording",
    "Span": "span",
    "Pause": "pause",
    "DeliveryCounts": "delivery",
    "Sdk": "sdk",
}
NOT_OBJECTS_OF_ITS_OWN = {"CallError", "Placed"}  # `error` may be anything readable
SENT_BY_OTHERS = {  # keys that a receiver takes, and this library does not send
    ("call-started", "agents"),
    ("turn", "speakerId"),
    ("toolCall", "agentId"),
    ("toolCall", "endTimestamp"),
    ("toolResult", "endAudioOffsetMs"),
    ("agent", "name"),
    ("span", "reason"),
}


def typed_dicts() -> dict[str, Any]:
    """Those of `_types.py`."""
    return {name: value for name, value in vars(_types).items() if is_typeddict(value)}


def test_every_type_has_its_definition() -> None:
    """A new one has to be added to both."""
    assert set(typed_dicts()) == set(PAIRS) | NOT_OBJECTS_OF_ITS_OWN


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_keys_are_known(name: str) -> None:
    """None is sent that would be refused, and none is taken that nobody sends, but for a few."""
    definition = PAIRS[name]
    keys = set(get_type_hints(typed_dicts()[name]))
    taken = set(DEFINITIONS[definition]["properties"])
    assert keys <= taken
    assert taken - keys == {key for of, key in SENT_BY_OTHERS if of == definition}


@pytest.mark.parametrize("name", PAIRS)
def test_what_the_receiver_insists_on_is_always_sent(name: str) -> None:
    """It is required by the type, too."""
    required = set(DEFINITIONS[PAIRS[name]].get("required", ()))
    assert required <= _required_keys(typed_dicts()[name])


def _required_keys(typed: Any) -> set[str]:
    hints = get_type_hints(typed, include_extras=True)
    return {key for key, hint in hints.items() if get_origin(hint) is not NotRequired}


@pytest.mark.parametrize("name", PAIRS)
def test_the_kinds_of_values_agree(name: str) -> None:
    """Text is text, a number a number, a list a list, and a choice the same choice."""
    properties = DEFINITIONS[PAIRS[name]]["properties"]
    for key, hint in get_type_hints(typed_dicts()[name]).items():
        assert _kinds_of_hint(hint) <= _kinds_of_schema(properties[key]), f"{name}.{key}"


def _kinds_of_hint(hint: Any) -> set[str]:
    origin = get_origin(hint)
    if origin in (NotRequired, Required):
        return _kinds_of_hint(get_args(hint)[0])
    if origin is Literal:
        return {f"={choice}" for choice in get_args(hint)}
    if origin in (typing.Union, types.UnionType):
        return set().union(*(_kinds_of_hint(choice) for choice in get_args(hint)))
    if origin is dict or is_typeddict(hint):
        return {"object"}
    if origin is list:
        return {"array"}
    return {{str: "string", int: "integer", float: "number", bool: "boolean"}[hint]}


def _kinds_of_schema(schema: dict[str, Any]) -> set[str]:
    while "$ref" in schema:
        schema = DEFINITIONS[schema["$ref"].removeprefix("#/$defs/")]
    if "const" in schema:
        return {f"={schema['const']}"}
    if "enum" in schema:
        return {f"={choice}" for choice in schema["enum"]}
    kind = schema["type"]
    kinds = set(kind) if isinstance(kind, list) else {kind}
    return kinds | {"integer"} if "number" in kinds else kinds
