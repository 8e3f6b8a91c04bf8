"""The records of a call: what happened, one thing a record, as plain JSON values.

Times (`at`, `start`, `end`) are monotonic seconds; `_payloads` turns them into offsets and ISO.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from typing_extensions import NotRequired


class TurnRecord(TypedDict):
    """Something was said: by the caller, or by the agent as far as it was played."""

    type: Literal["turn"]
    role: Literal["assistant", "user"]
    text: str
    at: float
    start: NotRequired[float]
    end: NotRequired[float]
    id: NotRequired[str]
    interrupted: NotRequired[bool]
    confidence: NotRequired[float]
    language: NotRequired[str]
    speaker: NotRequired[str]
    agent: NotRequired[str]
    metrics: NotRequired[dict[str, Any]]


class HeardRecord(TypedDict):
    """A final transcript of the caller: what the turn that follows does not say of itself."""

    type: Literal["heard"]
    at: float
    text: NotRequired[str]
    language: NotRequired[str]
    speaker: NotRequired[str]


class StateRecord(TypedDict):
    """The caller or the agent began or stopped speaking, as livekit sees it."""

    type: Literal["state"]
    who: Literal["assistant", "user"]
    speaking: bool
    at: float


class ToolCallRecord(TypedDict):
    """A tool was called."""

    type: Literal["tool_call"]
    id: str
    name: str
    arguments: str
    at: float


class ToolResultRecord(TypedDict):
    """A tool returned, or failed."""

    type: Literal["tool_result"]
    id: str
    content: str
    error: bool
    at: float


class ToolUpdateRecord(TypedDict):
    """A tool that is still running said how far it is."""

    type: Literal["tool_update"]
    id: str
    content: str
    at: float


class ToolEndedRecord(TypedDict):
    """A tool really ended; its result follows, unless it was given before (`final`)."""

    type: Literal["tool_ended"]
    id: str
    status: str
    final: bool
    at: float
    content: NotRequired[str]


class MetricRecord(TypedDict):
    """Latencies and token counts of one request."""

    type: Literal["metric"]
    kind: Literal["eou", "stt", "llm", "tts", "agent"]
    at: float
    fields: dict[str, Any]
    extra: dict[str, Any]


class HandoffRecord(TypedDict):
    """Another agent took over."""

    type: Literal["handoff"]
    old: str | None
    new: str
    at: float


class AgentRecord(TypedDict):
    """An agent as it was when it took over, or after it was changed."""

    type: Literal["agent"]
    id: str
    instructions: str
    tools: list[str]
    at: float


class ParticipantRecord(TypedDict):
    """The caller's side of the room, as far as it is known by now."""

    type: Literal["participant"]
    identity: str
    sid: str
    name: str
    kind: str
    left: str
    attributes: dict[str, str]
    at: float


class DtmfRecord(TypedDict):
    """A key was pressed on a telephone."""

    type: Literal["dtmf"]
    digit: str
    at: float


class NoteRecord(TypedDict):
    """Something of interest that has no list of its own on the wire."""

    type: Literal["note"]
    kind: str
    at: float
    fields: dict[str, Any]


class UsageRecord(TypedDict):
    """What each model was used for, as livekit has counted it."""

    type: Literal["usage"]
    models: list[dict[str, Any]]
    at: float


class ErrorRecord(TypedDict):
    """A model or the session failed."""

    type: Literal["error"]
    kind: str
    message: str
    at: float
    recoverable: NotRequired[bool]
    source: NotRequired[str]


Record = (
    TurnRecord
    | HeardRecord
    | StateRecord
    | ToolCallRecord
    | ToolResultRecord
    | ToolUpdateRecord
    | ToolEndedRecord
    | MetricRecord
    | HandoffRecord
    | AgentRecord
    | ParticipantRecord
    | DtmfRecord
    | NoteRecord
    | UsageRecord
    | ErrorRecord
)
