"""A call's events, put in the order in which they happened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import TypeAlias

from .._records import CallRecord, JsonObject
from .._times import milliseconds_between

# What a turn's own metrics and the call's metrics[] call it, and what the page calls it.
_LATENCIES = {
    "e2e_latency": "response",
    "end_of_turn_delay": "end of turn",
    "end_of_utterance_delay": "end of turn",
    "transcription_delay": "transcript",
    "llm_node_ttft": "LLM first token",
    "ttft": "LLM first token",
    "tts_node_ttfb": "TTS first byte",
    "ttfb": "TTS first byte",
}
_SPEAKER_OF_METRIC = {"eou": "user", "stt": "user", "llm": "assistant", "tts": "assistant"}


@dataclass
class Turn:
    """What one side said. `latencies` are seconds, by the page's names for them."""

    start_ms: int
    end_ms: int
    role: str
    text: str
    language: str | None
    interrupted: bool
    latencies: dict[str, float] = field(default_factory=dict)

    def distance_ms(self, at: int) -> int:
        """How far a moment lies outside the turn."""
        return max(self.start_ms - at, at - self.end_ms, 0)


@dataclass
class ToolUse:
    """One tool call with its result, if it had one."""

    start_ms: int
    end_ms: int
    name: str
    arguments: str
    result: str | None
    is_error: bool
    duration_ms: int | None


@dataclass
class Note:
    """Anything else that has a time: a handoff, a key that was pressed."""

    start_ms: int
    label: str
    details: str


Item: TypeAlias = Turn | ToolUse | Note


def timeline(record: CallRecord) -> list[Item]:
    """Turns, tool calls, handoffs and key presses by their time in the recording."""
    ended = record["ended"]
    if ended is None:
        return []
    turns = list(_turns(ended))
    for metric in ended.get("metrics", []):
        _attach(metric, turns, _offset(metric, ended))
    items: list[Item] = [*turns, *_tools(ended), *_notes(ended)]
    return sorted(items, key=lambda item: item.start_ms)


def latency_summary(items: list[Item]) -> dict[str, tuple[float, float]]:
    """The median and the worst of each latency, in seconds."""
    turns = [item for item in items if isinstance(item, Turn)]
    names = dict.fromkeys(_LATENCIES.values())
    values = {name: [t.latencies[name] for t in turns if name in t.latencies] for name in names}
    return {name: (median(found), max(found)) for name, found in values.items() if found}


def pretty(value: object) -> str:
    """JSON for reading; a string is taken as JSON text, and left as it is if it is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    flat = value if isinstance(value, str) else _json(value)
    if len(flat) <= 72 or not isinstance(value, dict):
        return flat
    lines = (f"  {_json(key)}: {_json(part)}" for key, part in value.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _turns(ended: JsonObject) -> Iterator[Turn]:
    for row in ended.get("transcript", []):
        start = _offset(row, ended)
        yield Turn(
            start_ms=start,
            end_ms=max(start, row.get("endAudioOffsetMs", start)),
            role=row["role"],
            text=row["content"],
            language=row.get("language"),
            interrupted=row.get("interrupted", False),
            latencies=_latencies(row.get("metrics", {})),
        )


def _tools(ended: JsonObject) -> Iterator[ToolUse]:
    rows = ended.get("toolCalls", [])
    results = {row["toolCallId"]: row for row in rows if row["kind"] == "tool_result"}
    for row in rows:
        if row["kind"] == "tool_call":
            start, result = _offset(row, ended), results.get(row["toolCallId"])
            end = max(start, _offset(result, ended)) if result else start
            yield ToolUse(
                start_ms=start,
                end_ms=end,
                name=row["name"],
                arguments=row["arguments"],
                result=result["content"] if result else None,
                is_error=bool(result and result.get("isError")),
                duration_ms=result.get("durationMs", end - start) if result else None,
            )


def _notes(ended: JsonObject) -> Iterator[Note]:
    for row in ended.get("handoffs", []):
        agents = [row[key] for key in ("fromAgentId", "toAgentId") if key in row]
        yield Note(_offset(row, ended), "Handoff", " → ".join(agents))
    for row in ended.get("dtmf", []):
        yield Note(_offset(row, ended), "Key pressed", row.get("digit", ""))


def _attach(metric: JsonObject, turns: list[Turn], at: int) -> None:
    """Gives a metric to the turn that it is about: the nearest one of its side."""
    role = _SPEAKER_OF_METRIC.get(metric["kind"])
    candidates = [turn for turn in turns if turn.role == role]
    if candidates:
        turn = min(candidates, key=lambda turn: turn.distance_ms(at))
        turn.latencies = _latencies(metric) | turn.latencies


def _latencies(metrics: JsonObject) -> dict[str, float]:
    named = {_LATENCIES.get(_snake(key)): value for key, value in metrics.items()}
    return {name: value for name, value in named.items() if name and _is_duration(value)}


def _is_duration(value: object) -> bool:
    # livekit writes 0 and -1 for what it could not measure.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()


def _offset(row: JsonObject, ended: JsonObject) -> int:
    """Where a row stands in the recording; without an offset, its time since the call began."""
    if "audioOffsetMs" in row:
        return int(row["audioOffsetMs"])
    return max(0, milliseconds_between(ended["callStartedAt"], row.get("timestamp")) or 0)
