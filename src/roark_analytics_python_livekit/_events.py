"""livekit event → records, pure: attributes that a livekit version lacks are just not there.

Every function takes the event and `monotonic`, which turns livekit's wall-clock times into
monotonic ones at the moment the event is handled, so that a clock jump moves nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from ._json import clean_text, json_safe, json_text
from ._records import (
    ErrorRecord,
    HandoffRecord,
    HeardRecord,
    MetricRecord,
    Record,
    StateRecord,
    ToolCallRecord,
    ToolResultRecord,
    TurnRecord,
)

ToMonotonic = Callable[[float | None], float]
"""Wall-clock seconds → monotonic seconds; None is now (livekit gives no times before 1.1.2)."""

_METRIC_KINDS = {
    "eou_metrics": "eou",
    "stt_metrics": "stt",
    "llm_metrics": "llm",
    "realtime_model_metrics": "llm",
    "tts_metrics": "tts",
}
_WIRE_FIELDS = {
    "end_of_utterance_delay": "endOfUtteranceDelay",
    "transcription_delay": "transcriptionDelay",
    "on_user_turn_completed_delay": "onConversationItemAddedDelay",
    "ttft": "ttft",
    "ttfb": "ttfb",
    "duration": "duration",
    "audio_duration": "audioDuration",
    "prompt_tokens": "promptTokens",
    "completion_tokens": "completionTokens",
    "input_tokens": "promptTokens",
    "output_tokens": "completionTokens",
    "total_tokens": "totalTokens",
    "prompt_cached_tokens": "cachedTokens",
    "tokens_per_second": "tokensPerSecond",
    "streamed": "streamed",
}
_FIELDS_OF_KIND = {
    "eou": {"endOfUtteranceDelay", "transcriptionDelay", "onConversationItemAddedDelay"},
    "stt": {"duration", "audioDuration", "streamed"},
    "llm": {
        "ttft",
        "duration",
        "promptTokens",
        "completionTokens",
        "totalTokens",
        "cachedTokens",
        "tokensPerSecond",
    },
    "tts": {"ttfb", "duration", "audioDuration", "streamed"},
}
_MESSAGE_TO_EOU = {
    "end_of_turn_delay": "endOfUtteranceDelay",
    "transcription_delay": "transcriptionDelay",
    "on_user_turn_completed_delay": "onConversationItemAddedDelay",
}
_TIMES = {"started_speaking_at", "stopped_speaking_at"}


def conversation_item(event: Any, monotonic: ToMonotonic, agent: str | None) -> list[Record]:
    """`conversation_item_added`: a turn, or the hand-over to another agent.

    Args:
        event: The event.
        monotonic: Wall-clock to monotonic seconds.
        agent: The id of the agent that is speaking.
    """
    item = event.item
    at = _at(event, monotonic)
    if getattr(item, "type", None) == "agent_handoff":
        return [_handoff(item, at)]
    if getattr(item, "role", None) not in ("user", "assistant"):
        return []
    text = item.text_content
    return [_turn(item, text, at, monotonic, agent)] if text else []


def transcribed(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`user_input_transcribed`: language and speaker, which the user's turn itself lacks."""
    if not event.is_final:
        return []
    record: HeardRecord = {"type": "heard", "at": _at(event, monotonic)}
    if language := getattr(event, "language", None):
        record["language"] = str(language)
    if speaker := getattr(event, "speaker_id", None):
        record["speaker"] = str(speaker)
    return [record]


def state_changed(event: Any, monotonic: ToMonotonic, *, of_agent: bool) -> list[Record]:
    """`agent_state_changed` and `user_state_changed`, as far as they are about speaking."""
    if "speaking" not in (event.old_state, event.new_state):
        return []
    record: StateRecord = {
        "type": "state",
        "who": "assistant" if of_agent else "user",
        "speaking": event.new_state == "speaking",
        "at": _at(event, monotonic),
    }
    return [record]


def tools_executed(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`function_tools_executed`: each call and, under the same id, its result or error."""
    at = _at(event, monotonic)
    records: list[Record] = []
    for call, output in event.zipped():
        records.append(_tool_call(call, at, monotonic))
        records.append(_tool_result(call, output, at, monotonic))
    return records


def tool_started(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`tool_execution_updated` (livekit-agents 1.6): the moment a call really began."""
    update = event.update
    if getattr(update, "type", None) != "tool_call_started":
        return []
    call = _tool_call(update.function_call, 0.0, monotonic)
    call["at"] = _at(event, monotonic)
    return [call]


def metrics(metric: Any, monotonic: ToMonotonic) -> list[Record]:
    """One metrics object of a model; voice activity comes every second and is left out."""
    values = _dump(metric)
    type_name = str(values.pop("type", "")) or _snake(type(metric).__name__)
    if type_name == "vad_metrics":
        return []
    kind: Any = _METRIC_KINDS.get(type_name, "agent")
    allowed = _FIELDS_OF_KIND.get(kind, set())
    at = monotonic(values.pop("timestamp", None))
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {} if kind != "agent" else {"type": type_name}
    for name, value in values.items():
        wire = _WIRE_FIELDS.get(name)
        if value is None:
            continue
        if wire in allowed and _is_number(value):
            fields[str(wire)] = value
        else:
            extra[_camel(name)] = value
    record: MetricRecord = {
        "type": "metric",
        "kind": kind,
        "at": at,
        "fields": json_safe(fields),
        "extra": json_safe(extra),
    }
    return [record]


def failed(error: Any, at: float) -> ErrorRecord:
    """The error of an `error` or `close` event."""
    cause = getattr(error, "error", None) or error
    return {
        "type": "error",
        "kind": str(getattr(error, "type", None) or type(cause).__name__),
        "message": clean_text(_text_of(cause), 2000),
        "at": at,
    }


def message_to_eou(metrics_of_message: dict[str, Any]) -> dict[str, Any]:
    """The end-of-utterance metric that a user message carries since livekit-agents 1.3."""
    return {
        wire: metrics_of_message[_camel(name)]
        for name, wire in _MESSAGE_TO_EOU.items()
        if _is_number(metrics_of_message.get(_camel(name)))
    }


def _turn(item: Any, text: str, at: float, monotonic: ToMonotonic, agent: str | None) -> TurnRecord:
    record: TurnRecord = {"type": "turn", "role": item.role, "text": clean_text(text), "at": at}
    measured = dict(getattr(item, "metrics", None) or {})
    if started := measured.get("started_speaking_at"):
        record["start"] = monotonic(started)
    if stopped := measured.get("stopped_speaking_at"):
        record["end"] = monotonic(stopped)
    record["id"] = str(item.id)
    if getattr(item, "interrupted", False):
        record["interrupted"] = True
    confidence = getattr(item, "transcript_confidence", None)
    if _is_number(confidence) and confidence:  # a recognizer that has none says 0.0
        record["confidence"] = float(confidence)
    if agent is not None and item.role == "assistant":
        record["agent"] = agent
    latencies = {_camel(k): v for k, v in measured.items() if k not in _TIMES and v is not None}
    if latencies:
        record["metrics"] = json_safe(latencies)
    return record


def _handoff(item: Any, at: float) -> HandoffRecord:
    old = getattr(item, "old_agent_id", None)
    return {
        "type": "handoff",
        "old": None if old is None else str(old),
        "new": str(item.new_agent_id),
        "at": at,
    }


def _tool_call(call: Any, at: float, monotonic: ToMonotonic) -> ToolCallRecord:
    return {
        "type": "tool_call",
        "id": str(call.call_id),
        "name": str(call.name),
        "arguments": json_text(call.arguments),
        "at": _created(call, at, monotonic),
    }


def _tool_result(call: Any, output: Any, at: float, monotonic: ToMonotonic) -> ToolResultRecord:
    content = "" if output is None else json_text(output.output)
    return {
        "type": "tool_result",
        "id": str(call.call_id),
        "content": content,
        "error": bool(getattr(output, "is_error", False)),
        "at": _created(output, at, monotonic),
    }


def _created(item: Any, default: float, monotonic: ToMonotonic) -> float:
    created = getattr(item, "created_at", None)
    return default if created is None else monotonic(created)


def _at(event: Any, monotonic: ToMonotonic) -> float:
    return monotonic(getattr(event, "created_at", None))


def _dump(metric: Any) -> dict[str, Any]:
    if hasattr(metric, "model_dump"):
        return dict(metric.model_dump())
    return dict(vars(metric))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _text_of(error: object) -> str:
    try:
        return str(error)
    except Exception:
        return type(error).__name__


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
