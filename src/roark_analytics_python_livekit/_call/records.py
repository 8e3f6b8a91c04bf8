"""Every type of record that a call's journal holds, as plain JSON values.

`Happened` is what livekit says of the call; the others say what the call is, how its recording and
its delivery stand, and how it ended. Times (`at`, `start`, `end`) are monotonic seconds. The
strings under `type`, and the keys, are an on-disk format: journals outlive upgrades.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict, get_args, get_type_hints

from typing_extensions import NotRequired

FRAME_BYTES = 4  # one sample of both channels, s16le: what byte positions of the recording count


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


class ToolCallRecord(TypedDict):  # a tool was called
    type: Literal["tool_call"]
    id: str
    name: str
    arguments: str
    at: float


class ToolResultRecord(TypedDict):  # a tool returned, or failed
    type: Literal["tool_result"]
    id: str
    content: str
    error: bool
    at: float


class ToolUpdateRecord(TypedDict):  # a tool that is still running said how far it is
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


class MetricRecord(TypedDict):  # latencies and token counts of one request
    type: Literal["metric"]
    kind: Literal["eou", "stt", "llm", "tts", "agent"]
    at: float
    fields: dict[str, Any]
    extra: dict[str, Any]


class HandoffRecord(TypedDict):  # another agent took over
    type: Literal["handoff"]
    old: str | None
    new: str
    at: float


class AgentRecord(TypedDict):  # an agent as it was when it took over, or after it was changed
    type: Literal["agent"]
    id: str
    instructions: str
    tools: list[str]
    at: float


class ParticipantRecord(TypedDict):  # the caller's side of the room, as far as it is known by now
    type: Literal["participant"]
    identity: str
    sid: str
    name: str
    kind: str
    left: str
    attributes: dict[str, str]
    at: float


class DtmfRecord(TypedDict):  # a key was pressed on a telephone
    type: Literal["dtmf"]
    digit: str
    at: float


class NoteRecord(TypedDict):  # something of interest that has no list of its own on the wire
    type: Literal["note"]
    kind: str
    at: float
    fields: dict[str, Any]


class UsageRecord(TypedDict):  # what each model was used for, as livekit has counted it
    type: Literal["usage"]
    models: list[dict[str, Any]]
    at: float


class ErrorRecord(TypedDict):  # a model or the session failed
    type: Literal["error"]
    kind: str
    message: str
    at: float
    recoverable: NotRequired[bool]
    source: NotRequired[str]


class CallRecord(TypedDict):
    """Which call this is: the first record of a journal.

    `account` distinguishes keys without revealing them: only a process that has the call's own key
    recovers it.
    """

    type: Literal["call"]
    facts: dict[str, Any]
    metadata: dict[str, Any]
    base_url: str
    account: str
    recording: str


class MetadataRecord(TypedDict):  # the agent's code added metadata
    type: Literal["metadata"]
    values: dict[str, Any]


class RecordingRecord(TypedDict):
    """The recording has its first sample: at `origin`, with `rate` samples a second."""

    type: Literal["recording"]
    rate: int | None
    origin: float


class SwitchRecord(TypedDict):
    """The agent's code paused the recording, and perhaps transcripts, or resumed both."""

    type: Literal["switch"]
    at: float
    on: bool
    transcripts: NotRequired[bool]


class EndRecord(TypedDict):
    """The call is over; the digest and length are those of its whole PCM.

    `ended_by` says who ended it where the reason does not.
    """

    type: Literal["end"]
    at: float
    reason: str
    pcm_bytes: NotRequired[int]
    sha256: NotRequired[str]
    ended_by: NotRequired[str]
    error: NotRequired[ErrorRecord]


class ChunkRecord(TypedDict):
    """A chunk of the recording is settled: delivered (`ok`), or given up and why."""

    type: Literal["chunk"]
    index: int
    start: int
    size: int
    result: str


class GapRecord(TypedDict):
    """Bytes of the PCM that were lost on disk: silence stands in their place."""

    type: Literal["gap"]
    start: int
    size: int


class SentRecord(TypedDict):  # the service accepted an event
    type: Literal["sent"]
    event: str


class EndedRecord(TypedDict):  # the call-ended event as it was built last
    type: Literal["ended"]
    event: dict[str, Any]


ToolRecord = ToolCallRecord | ToolResultRecord | ToolUpdateRecord | ToolEndedRecord
Happened = (
    TurnRecord
    | HeardRecord
    | StateRecord
    | ToolRecord
    | MetricRecord
    | HandoffRecord
    | AgentRecord
    | ParticipantRecord
    | DtmfRecord
    | NoteRecord
    | UsageRecord
    | ErrorRecord
)
Control = (
    CallRecord
    | MetadataRecord
    | RecordingRecord
    | SwitchRecord
    | EndRecord
    | ChunkRecord
    | GapRecord
    | SentRecord
    | EndedRecord
)
Record = Happened | Control


def kinds_of(union: Any) -> frozenset[str]:
    """The `type` strings of a union of record types."""
    return frozenset(get_args(get_type_hints(each)["type"])[0] for each in get_args(union))


def end_record(
    at: float, reason: str, *, error: ErrorRecord | None = None, ended_by: str | None = None
) -> EndRecord:
    """The end of a call, for livekit's close reason or the word given to `aflush`."""
    record: EndRecord = {"type": "end", "at": at, "reason": reason}
    if error is not None:
        record["error"] = error
    if ended_by is not None:
        record["ended_by"] = ended_by
    return record
