"""Every type of record that a call's journal holds, as plain JSON; times are monotonic seconds.

The strings under `type`, and the keys, are an on-disk format: journals outlive upgrades.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from typing_extensions import NotRequired

FRAME_BYTES = 4  # one sample of both channels, s16le: what byte positions of the recording count
MAX_PCM = 2**36  # bytes; a record that says more, four days at 48 kHz, is damaged


class Timed(TypedDict):
    at: float


class OfTool(Timed):
    id: str


class TurnRecord(Timed):  # the caller said this, or the agent as far as it was played
    type: Literal["turn"]
    role: Literal["assistant", "user"]
    text: str
    start: NotRequired[float]
    end: NotRequired[float]
    created: NotRequired[float]  # by livekit, if nobody knows when it was said
    id: NotRequired[str]
    interrupted: NotRequired[bool]
    spoken_part_unknown: NotRequired[bool]  # its text may go on where the sound was cut
    confidence: NotRequired[float]
    language: NotRequired[str]
    speaker: NotRequired[str]
    agent: NotRequired[str]
    metrics: NotRequired[dict[str, Any]]


class HeardRecord(Timed):  # a final transcript: what the turn that follows does not say of itself
    type: Literal["heard"]
    text: NotRequired[str]
    language: NotRequired[str]
    speaker: NotRequired[str]


class StateRecord(Timed):  # somebody began or stopped speaking, as livekit sees it
    type: Literal["state"]
    who: Literal["assistant", "user"]
    speaking: bool


class ToolCallRecord(OfTool):  # a tool was called
    type: Literal["tool_call"]
    item: NotRequired[str]  # livekit's id of the call, where the model uses its own ids again
    name: str
    arguments: str


class ToolResultRecord(OfTool):  # a tool returned, or failed
    type: Literal["tool_result"]
    item: NotRequired[str]  # that of its call
    content: str
    error: bool


class ToolUpdateRecord(OfTool):  # a tool that is still running said how far it is
    type: Literal["tool_update"]
    content: str


class ToolEndedRecord(OfTool):  # it really ended; its result follows, unless given before (`final`)
    type: Literal["tool_ended"]
    status: str
    final: bool
    content: NotRequired[str]


class MetricRecord(Timed):  # latencies and token counts of one request
    type: Literal["metric"]
    kind: Literal["eou", "stt", "llm", "tts", "agent"]
    fields: dict[str, Any]
    extra: dict[str, Any]


class HandoffRecord(Timed):  # another agent took over
    type: Literal["handoff"]
    old: str | None
    new: str


class AgentRecord(Timed):  # an agent as it was when it took over, or after it was changed
    type: Literal["agent"]
    id: str
    instructions: str
    tools: list[str]


class ParticipantRecord(Timed):  # the caller's side of the room, as far as it is known by now
    type: Literal["participant"]
    identity: str
    sid: str
    name: str
    kind: str
    left: str
    attributes: dict[str, str]


class DtmfRecord(Timed):  # a key was pressed on a telephone
    type: Literal["dtmf"]
    digit: str


class NoteRecord(Timed):  # something of interest that has no list of its own on the wire
    type: Literal["note"]
    kind: str
    fields: dict[str, Any]


class WithheldRecord(Timed):  # something was left out, because transcripts were paused
    type: Literal["withheld"]
    count: int  # all that was, until now
    role: NotRequired[Literal["assistant", "user"]]  # whose turn it was, if it was one


class UsageRecord(Timed):  # what each model was used for, as livekit has counted it
    type: Literal["usage"]
    models: list[dict[str, Any]]


class ErrorRecord(Timed):  # a model or the session failed
    type: Literal["error"]
    kind: str
    message: str
    recoverable: NotRequired[bool]
    source: NotRequired[str]


class CallRecord(TypedDict):  # which call this is: the first record of a journal
    type: Literal["call"]
    facts: dict[str, Any]
    metadata: dict[str, Any]
    base_url: str
    account: str  # only a process that has the call's own key recovers it
    recording: str


class MetadataRecord(TypedDict):  # the agent's code added metadata
    type: Literal["metadata"]
    values: dict[str, Any]


class RecordingRecord(TypedDict):  # its first sample is at `origin`, with `rate` samples a second
    type: Literal["recording"]
    rate: int | None
    origin: float


class SwitchRecord(Timed):  # the recording, and perhaps transcripts, were paused; or both resumed
    type: Literal["switch"]
    on: bool
    transcripts: NotRequired[bool]


class EndRecord(Timed):  # the call is over
    type: Literal["end"]
    reason: str
    pcm_bytes: NotRequired[int]  # of the whole recording, as its digest
    sha256: NotRequired[str]
    ended_by: NotRequired[str]  # where the reason does not say it
    error: NotRequired[ErrorRecord]


class ChunkRecord(TypedDict):  # a chunk is settled: delivered (`ok`), or given up and why
    type: Literal["chunk"]
    index: int
    start: int
    size: int
    result: str


class SealedRecord(TypedDict):  # a chunk is full: what is sent for it has to be this
    type: Literal["sealed"]
    index: int
    size: int
    sha256: str


class GapRecord(TypedDict):  # bytes of the PCM were lost on disk: silence stands in their place
    type: Literal["gap"]
    start: int
    size: int
    reason: NotRequired[str]  # `full` and `queue_full` where there was no room for them


class SentRecord(TypedDict):  # the service accepted an event
    type: Literal["sent"]
    event: str


class EndedRowsRecord(TypedDict):  # rows of the call-ended event that follows
    type: Literal["ended_rows"]
    name: str  # of their list
    start: int  # how many rows stand before them in it
    rows: list[Any]


class EndedRecord(TypedDict):  # the call-ended event as it was built last
    type: Literal["ended"]
    event: dict[str, Any]
    rows: NotRequired[dict[str, int]]  # how many of a list stand in records before


ToolRecord = ToolCallRecord | ToolResultRecord | ToolUpdateRecord | ToolEndedRecord
SpeechRecord = TurnRecord | HeardRecord | StateRecord | WithheldRecord
ModelRecord = MetricRecord | UsageRecord | ErrorRecord
RoomRecord = HandoffRecord | AgentRecord | ParticipantRecord | DtmfRecord
Happened = SpeechRecord | ToolRecord | ModelRecord | RoomRecord | NoteRecord  # livekit says it
AboutCall = CallRecord | MetadataRecord | RecordingRecord | SwitchRecord | EndRecord
AboutDelivery = SealedRecord | ChunkRecord | GapRecord | SentRecord | EndedRowsRecord | EndedRecord
Control = AboutCall | AboutDelivery  # this library does
Record = Happened | Control


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
