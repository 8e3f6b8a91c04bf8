"""Records → the events of the wire, pure: order, joining, offsets, ISO times."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, cast

from . import _events
from ._json import json_safe
from ._records import (
    ErrorRecord,
    HandoffRecord,
    HeardRecord,
    MetricRecord,
    Record,
    ToolCallRecord,
    ToolResultRecord,
    TurnRecord,
)
from ._types import (
    CallEnded,
    CallStarted,
    DeliveryCounts,
    Handoff,
    Metric,
    Recording,
    Sdk,
    ToolCall,
    ToolResult,
    ToolRow,
    TranscriptTurn,
)

_ENDED_BY = {
    "participant_disconnected": "caller",
    "user_initiated": "agent",
    "task_completed": "agent",
    "job_shutdown": "worker",
    "process_exit": "worker",
    "process_died": "worker",
    "error": "error",
}
_TURN_KEYS = {
    "id": "id",
    "interrupted": "interrupted",
    "confidence": "confidence",
    "language": "language",
    "speaker": "userId",
    "agent": "agentId",
    "metrics": "metrics",
}


@dataclass(frozen=True)
class CallFacts:
    """What is known of a call from its beginning.

    Attributes:
        call_id: The `livekitCallId`.
        agent_id: And what follows: as given to `observe_session`.
        job: jobId, roomName, roomSid and participantIdentity, as far as known.
        versions: Of this package and livekit-agents.
        started_at: The beginning on the wall clock.
        started: The same moment in monotonic seconds.
    """

    call_id: str
    agent_id: str
    agent_name: str | None
    agent_prompt: str | None
    is_test: bool
    job: Mapping[str, str]
    versions: Mapping[str, str]
    started_at: datetime
    started: float

    def iso(self, at: float) -> str:
        """A monotonic moment as ISO 8601 in UTC, whatever the wall clock did since."""
        moment = self.started_at + timedelta(seconds=at - self.started)
        return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


@dataclass
class CallEnd:
    """How a call ended.

    Attributes:
        at: When, in monotonic seconds.
        reason: livekit's close reason, or the word given to `aflush`.
        error: What failed, where the call ended by an error.
    """

    at: float
    reason: str
    error: ErrorRecord | None = None


@dataclass(frozen=True)
class RecordingFacts:
    """The recording, as the call-ended event tells of it."""

    manifest: Recording
    sample_rate: int | None = None
    num_channels: int = 2
    offset_ms: Callable[[float], int] = field(default=lambda at: 0)
    voiced: Callable[[float, float], tuple[float, float]] | None = None


def call_started(facts: CallFacts, metadata: Mapping[str, Any]) -> CallStarted:
    """The event that opens a call."""
    event: CallStarted = {
        "event": "call-started",
        "livekitCallId": facts.call_id,
        "eventTimestamp": facts.iso(facts.started),
        "agentId": facts.agent_id,
        "isTest": facts.is_test,
        "sdk": _sdk(facts.versions),
    }
    if facts.agent_name is not None:
        event["agentName"] = facts.agent_name
    if facts.agent_prompt is not None:
        event["agentPrompt"] = facts.agent_prompt
    if metadata:
        event["metadata"] = json_safe(metadata)
    event.update(facts.job)  # type: ignore[typeddict-item]  # its keys are CallStarted's
    return event


def call_ended(
    facts: CallFacts,
    end: CallEnd,
    records: Iterable[Record],
    recording: RecordingFacts,
    delivery: DeliveryCounts,
    metadata: Mapping[str, Any],
) -> CallEnded:
    """The event that closes a call: everything that happened in it."""
    rows = _Rows(facts, recording)
    for record in records:
        rows.add(record)
    event: CallEnded = {
        "event": "call-ended",
        "livekitCallId": facts.call_id,
        "eventTimestamp": facts.iso(end.at),
        "callStartedAt": facts.iso(facts.started),
        "callEndedAt": facts.iso(end.at),
        "callEndedReason": end.reason,
        "transcript": rows.transcript(),
        "toolCalls": rows.tool_rows(),
        "metrics": rows.metric_rows(),
        "handoffs": rows.handoffs,
        "endedBy": _ENDED_BY.get(end.reason, "agent"),
        "recording": recording.manifest,
        "delivery": delivery,
        "sdk": _sdk(facts.versions),
    }
    if metadata:
        event["metadata"] = json_safe(metadata)
    if rows.turns:
        first = min(rows.turns, key=_begin)
        event["agentSpokeFirst"] = first["role"] == "assistant"
    if recording.sample_rate is not None:
        event["recordingSampleRate"] = recording.sample_rate
        event["recordingNumChannels"] = recording.num_channels
    if error := end.error or rows.error:
        event["error"] = {"type": error["kind"], "message": error["message"]}
    return event


class _Rows:
    """Joins records that belong together, and puts them on the recording's time line."""

    def __init__(self, facts: CallFacts, recording: RecordingFacts) -> None:
        self.turns: list[TurnRecord] = []
        self.handoffs: list[Handoff] = []
        self.error: ErrorRecord | None = None
        self._facts = facts
        self._recording = recording
        self._offset = recording.offset_ms
        self._calls: dict[str, ToolCallRecord] = {}
        self._results: dict[str, ToolResultRecord] = {}
        self._metrics: list[MetricRecord] = []
        self._eou_of_messages: list[MetricRecord] = []
        self._heard: HeardRecord | None = None
        self._speaking: dict[str, list[tuple[float, float | None]]] = {"user": [], "assistant": []}

    def add(self, record: Record) -> None:
        """Takes the next record, in the order in which they were made."""
        if record["type"] == "turn":
            self._add_turn(record)
        elif record["type"] == "heard":
            self._heard = record
        elif record["type"] == "state":
            self._add_state(record["who"], record["speaking"], record["at"])
        elif record["type"] == "tool_call":
            self._calls.setdefault(record["id"], record)
        elif record["type"] == "tool_result":
            self._results[record["id"]] = record
        elif record["type"] == "metric":
            self._metrics.append(record)
        elif record["type"] == "handoff":
            self._add_handoff(record)
        elif record["type"] == "error":
            self.error = self.error or record

    def transcript(self) -> list[TranscriptTurn]:
        """The turns in the order in which they were spoken."""
        return [self._transcript_row(turn) for turn in sorted(self.turns, key=_begin)]

    def tool_rows(self) -> list[ToolRow]:
        """Each call followed by its result, in the order of the calls."""
        rows: list[ToolRow] = []
        for call in sorted(self._calls.values(), key=lambda record: record["at"]):
            rows.append(self._call_row(call))
            if result := self._results.get(call["id"]):
                rows.append(self._result_row(call, result))
        return rows

    def metric_rows(self) -> list[Metric]:
        """The metrics by time; livekit-agents 1.3 and 1.4 give a turn's delays in two ways."""
        records = self._metrics
        if not any(record["kind"] == "eou" for record in records):
            records = records + self._eou_of_messages
        return [self._metric_row(record) for record in sorted(records, key=lambda r: r["at"])]

    def _add_turn(self, record: TurnRecord) -> None:
        if any(turn.get("id") == record["id"] for turn in self.turns if "id" in record):
            return
        turn: TurnRecord = {**record}
        if turn["role"] == "user":
            self._complete_user_turn(turn)
        self._place_turn(turn)
        self.turns.append(turn)

    def _complete_user_turn(self, turn: TurnRecord) -> None:
        if self._heard is not None:
            for key in ("language", "speaker"):
                if key in self._heard:
                    turn[key] = self._heard[key]
            self._heard = None
        if eou := _events.message_to_eou(turn.get("metrics", {})):
            self._eou_of_messages.append(
                {"type": "metric", "kind": "eou", "at": turn["at"], "fields": eou, "extra": {}}
            )

    def _place_turn(self, turn: TurnRecord) -> None:
        """Gives a turn its start and end: measured ones, else livekit's states, else its time."""
        spoken = self._speaking[turn["role"]]
        if "start" not in turn:
            turn["start"] = spoken[0][0] if spoken else turn["at"]
        if "end" not in turn:
            turn["end"] = (spoken[-1][1] if spoken else None) or turn["at"]
        spoken.clear()
        if turn["role"] == "user" and self._recording.voiced is not None:
            turn["start"], turn["end"] = self._recording.voiced(turn["start"], turn["end"])
        turn["end"] = max(turn["start"], turn["end"])

    def _add_state(self, who: str, speaking: bool, at: float) -> None:
        spans = self._speaking[who]
        if speaking:
            spans.append((at, None))
        elif spans and spans[-1][1] is None:
            spans[-1] = (spans[-1][0], at)

    def _add_handoff(self, record: HandoffRecord) -> None:
        row: Handoff = {
            "toAgentId": record["new"],
            "timestamp": self._facts.iso(record["at"]),
            "audioOffsetMs": self._offset(record["at"]),
        }
        if record["old"] is not None:
            row["fromAgentId"] = record["old"]
        self.handoffs.append(row)

    def _metric_row(self, record: MetricRecord) -> Metric:
        row: dict[str, Any] = {
            "kind": record["kind"],
            "timestamp": self._facts.iso(record["at"]),
            "audioOffsetMs": self._offset(record["at"]),
            **record["fields"],
        }
        if record["extra"]:
            row["extra"] = record["extra"]
        return cast(Metric, row)  # `_events` gives Metric's keys only

    def _transcript_row(self, turn: TurnRecord) -> TranscriptTurn:
        start, end = turn["start"], turn["end"]
        row: TranscriptTurn = {
            "role": turn["role"],
            "content": turn["text"],
            "timestamp": self._facts.iso(start),
            "endTimestamp": self._facts.iso(end),
            "audioOffsetMs": self._offset(start),
            "endAudioOffsetMs": self._offset(end),
        }
        known: dict[str, Any] = {wire: turn.get(key) for key, wire in _TURN_KEYS.items()}
        row.update({wire: value for wire, value in known.items() if value is not None})  # type: ignore[typeddict-item]  # its keys are TranscriptTurn's
        return row

    def _call_row(self, call: ToolCallRecord) -> ToolCall:
        return {
            "kind": "tool_call",
            "toolCallId": call["id"],
            "name": call["name"],
            "arguments": call["arguments"],
            "timestamp": self._facts.iso(call["at"]),
            "audioOffsetMs": self._offset(call["at"]),
        }

    def _result_row(self, call: ToolCallRecord, result: ToolResultRecord) -> ToolResult:
        row: ToolResult = {
            "kind": "tool_result",
            "toolCallId": result["id"],
            "content": result["content"],
            "timestamp": self._facts.iso(result["at"]),
            "audioOffsetMs": self._offset(result["at"]),
            "durationMs": max(0, round((result["at"] - call["at"]) * 1000)),
        }
        if result["error"]:
            row["isError"] = True
        return row


def _begin(turn: TurnRecord) -> float:
    return turn.get("start", turn["at"])


def _sdk(versions: Mapping[str, str]) -> Sdk:
    sdk: Sdk = {
        "name": "roark-analytics-python-livekit",
        "version": versions["sdk"],
        "python": platform.python_version(),
    }
    if "livekit-agents" in versions:
        sdk["livekitAgentsVersion"] = versions["livekit-agents"]
    return sdk
