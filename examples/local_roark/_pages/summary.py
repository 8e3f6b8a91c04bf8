"""A call in a few facts: what the list shows, and the head of the call's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from .._records import CallRecord, JsonObject
from .._times import milliseconds_between

Tone: TypeAlias = Literal["good", "live", "warn", "bad"]


@dataclass(frozen=True)
class Summary:
    """The facts.

    Attributes:
        call_id: The call's id.
        agent: The agent's name; its id where it has none.
        started: When the call began, as it stands in the event.
        duration_ms: How long it took; None while it is going on.
        turns: What was said, by both sides, in number of turns.
        interruptions: How many of the turns were cut short.
        tools: Tool calls.
        failed_tools: Those of them that ended in an error.
        status: One or two words.
        tone: How well that is.
    """

    call_id: str
    agent: str
    started: str | None
    duration_ms: int | None
    turns: int
    interruptions: int
    tools: int
    failed_tools: int
    status: str
    tone: Tone


def summarise(record: CallRecord) -> Summary:
    """The facts of one call."""
    started, ended = record["started"] or {}, record["ended"] or {}
    turns = [row for row in ended.get("transcript", []) if row["role"] != "system"]
    tools = ended.get("toolCalls", [])
    status, tone = _status(record)
    return Summary(
        call_id=record["livekitCallId"],
        agent=started.get("agentName") or started.get("agentId") or "Unknown agent",
        started=ended.get("callStartedAt") or started.get("eventTimestamp"),
        duration_ms=milliseconds_between(ended.get("callStartedAt"), ended.get("callEndedAt")),
        turns=len(turns),
        interruptions=sum(bool(row.get("interrupted")) for row in turns),
        tools=sum(row["kind"] == "tool_call" for row in tools),
        failed_tools=sum(bool(row.get("isError")) for row in tools),
        status=status,
        tone=tone,
    )


def _status(record: CallRecord) -> tuple[str, Tone]:
    ended = record["ended"]
    if ended is None:
        return ("live", "live") if record["started"] else ("not announced", "warn")
    if ended.get("error"):
        return "error", "bad"
    return _recording_status(record, ended) or ("complete", "good")


def _recording_status(record: CallRecord, ended: JsonObject) -> tuple[str, Tone] | None:
    said = ended.get("recording", {}).get("status")
    if said == "failed" or record["recording"]["problem"]:
        return "no recording", "bad"
    if said == "partial" or record["recording"]["missing"]:
        return "partial recording", "warn"
    return ("start missing", "warn") if record["startedMissing"] else None
