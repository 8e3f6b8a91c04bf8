"""A call's facts and records → the two events of the wire, pure."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from .._serialize import json_safe
from .._types import CallEnded, CallStarted, DeliveryCounts, Recording, Sdk
from .records import ErrorRecord, Record
from .transcript import Rows

ENDED_BY = {  # by livekit's close reasons, and our own
    "participant_disconnected": "caller",
    "user_initiated": "agent",
    "task_completed": "agent",
    "job_shutdown": "worker",
    "process_exit": "worker",
    "process_died": "worker",
    "error": "error",
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
        ended_by: Who ended it, where the reason does not say.
    """

    at: float
    reason: str
    error: ErrorRecord | None = None
    ended_by: str | None = None


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
    rows = Rows(facts.iso, recording.offset_ms, recording.voiced)
    for record in records:
        rows.add(record)
    event: CallEnded = {
        "event": "call-ended",
        "livekitCallId": facts.call_id,
        "eventTimestamp": facts.iso(end.at),
        "callStartedAt": facts.iso(facts.started),
        "callEndedAt": facts.iso(end.at),
        "callEndedReason": end.reason,
        "durationMs": max(0, round((end.at - facts.started) * 1000)),
        "transcript": rows.transcript(),
        "toolCalls": rows.tool_rows(),
        "metrics": rows.metric_rows(),
        "usage": rows.usage_rows(),
        "handoffs": rows.handoff_rows(),
        "agents": rows.agent_rows(),
        "dtmf": rows.dtmf_rows(),
        "events": rows.event_rows(),
        "endedBy": ENDED_BY.get(end.reason) or end.ended_by or "agent",
        "recording": recording.manifest,
        "delivery": delivery,
        "sdk": _sdk(facts.versions),
    }
    if metadata:
        event["metadata"] = json_safe(metadata)
    if (first := rows.first_speaker()) is not None:
        event["agentSpokeFirst"] = first == "assistant"
    if facts.agent_prompt is None and rows.prompt:
        event["agentPrompt"] = rows.prompt
    if rows.participant is not None:
        event["participant"] = rows.participant
    if recording.sample_rate is not None:
        event["recordingSampleRate"] = recording.sample_rate
        event["recordingNumChannels"] = recording.num_channels
    if error := end.error or rows.fatal:
        event["error"] = {"type": error["kind"], "message": error["message"]}
    return event


def _sdk(versions: Mapping[str, str]) -> Sdk:
    sdk: Sdk = {
        "name": "roark-analytics-python-livekit",
        "version": versions["sdk"],
        "python": platform.python_version(),
    }
    if "livekit-agents" in versions:
        sdk["livekitAgentsVersion"] = versions["livekit-agents"]
    return sdk
