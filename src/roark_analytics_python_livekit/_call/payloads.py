"""A call's facts and records → the two events of the wire, pure."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._serialize import json_safe
from .._types import CallEnded, CallStarted, DeliveryCounts, Placed, Recording, Sdk
from .facts import CallFacts
from .records import EndRecord, Happened
from .rows import Rows
from .turns import Voiced

ENDED_BY = {  # by livekit's close reasons, and our own
    "participant_disconnected": "caller",
    "user_initiated": "agent",
    "task_completed": "agent",
    "job_shutdown": "worker",
    "process_exit": "worker",
    "session_lost": "worker",
    "process_died": "worker",
    "error": "error",
}


@dataclass(frozen=True)
class TimeLine:
    """How moments of the call stand on its recording."""

    offset_ms: Callable[[float], int]
    sample_rate: int | None = None  # None where there is no recording
    voiced: Voiced | None = None


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
    end: EndRecord,
    records: Iterable[Happened],
    time_line: TimeLine,
    recording: Recording,
    delivery: DeliveryCounts,
    metadata: Mapping[str, Any],
) -> CallEnded:
    """The event that closes a call: everything that happened in it."""

    def place(at: float) -> Placed:
        return {"timestamp": facts.iso(at), "audioOffsetMs": time_line.offset_ms(at)}

    rows = Rows(place, time_line.voiced)
    for record in records:
        rows.add(record)
    transcript = rows.transcript()
    event: CallEnded = {
        "event": "call-ended",
        "livekitCallId": facts.call_id,
        "eventTimestamp": facts.iso(end["at"]),
        "callStartedAt": facts.iso(facts.started),
        "callEndedAt": facts.iso(end["at"]),
        "callEndedReason": end["reason"],
        "durationMs": max(0, round((end["at"] - facts.started) * 1000)),
        "transcript": transcript,
        "toolCalls": rows.tools(),
        "metrics": rows.metrics(),
        "usage": rows.usage(),
        "handoffs": rows.handoffs(),
        "agents": rows.agents(),
        "dtmf": rows.dtmf(),
        "events": rows.events(),
        "endedBy": ENDED_BY.get(end["reason"]) or end.get("ended_by") or "agent",
        "recording": recording,
        "delivery": delivery,
        "sdk": _sdk(facts.versions),
    }
    if metadata:
        event["metadata"] = json_safe(metadata)
    if transcript:
        event["agentSpokeFirst"] = transcript[0]["role"] == "assistant"
    if facts.agent_prompt is None and (prompt := rows.prompt()):
        event["agentPrompt"] = prompt
    if (participant := rows.participant()) is not None:
        event["participant"] = participant
    if time_line.sample_rate is not None:
        event["recordingSampleRate"] = time_line.sample_rate
        event["recordingNumChannels"] = 2
    if error := end.get("error") or rows.fatal():
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
