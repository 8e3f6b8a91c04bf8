"""livekit event → records, pure. A field that the installed version lacks is left out.

Every function takes the event and `monotonic`, which turns livekit's wall-clock times into
monotonic ones while the event is handled, so that a clock jump moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from .._call import records
from .._call.records import Record
from .._serialize import camel, clean_text, is_number, json_safe, json_text

ToMonotonic = Callable[[float | None], float]
"""Wall-clock seconds → monotonic seconds; None means now: before 1.1.2 events carry no time."""

_TIMES = frozenset({"started_speaking_at", "stopped_speaking_at"})


def conversation_item(
    event: Any,
    monotonic: ToMonotonic,
    agent: str | None,
    is_as_played: Callable[[str], bool] = lambda text: True,
) -> list[Record]:
    """`conversation_item_added`: a turn, spoken by this agent if not by the user, or a handoff.

    `is_as_played` says whether the text of an interrupted turn is what was played of it.
    """
    item = event.item
    at = _at(event, monotonic)
    if getattr(item, "type", None) == "agent_handoff":
        return [_handoff(item, at)]
    if getattr(item, "role", None) not in ("user", "assistant"):
        return []
    text = item.text_content
    if not text:
        return []
    turn = _turn(item, text, at, monotonic, agent)
    if item.role == "assistant" and "interrupted" in turn and not is_as_played(text):
        turn["spoken_part_unknown"] = True
    return [turn]


def transcribed(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`user_input_transcribed`: words that may become a turn, with their language and speaker."""
    if not event.is_final:
        return []
    record: records.HeardRecord = {"type": "heard", "at": _at(event, monotonic)}
    if text := str(getattr(event, "transcript", None) or ""):
        record["text"] = clean_text(text)
    if language := getattr(event, "language", None):
        record["language"] = str(language)
    if speaker := getattr(event, "speaker_id", None):
        record["speaker"] = str(speaker)
    return [record]


def state_changed(event: Any, monotonic: ToMonotonic, *, of_agent: bool) -> list[Record]:
    """`agent_state_changed` and `user_state_changed`, where somebody begins or ends to speak."""
    if "speaking" not in (event.old_state, event.new_state):
        return []
    speaking, at = event.new_state == "speaking", _at(event, monotonic)
    who: Literal["assistant", "user"] = "assistant" if of_agent else "user"
    return [records.StateRecord(type="state", who=who, speaking=speaking, at=at)]


def tools_executed(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`function_tools_executed`: each call, and its result or error with the same id."""
    at = _at(event, monotonic)
    executed: list[Record] = []
    for call, output in event.zipped():
        executed.append(_tool_call(call, at, monotonic))
        executed.append(_tool_result(call, output, at, monotonic))
    return executed


def tool_updated(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`tool_execution_updated` (1.6): a tool has begun, makes progress, or has ended."""
    update, at = event.update, _at(event, monotonic)
    kind = getattr(update, "type", None)
    if kind == "tool_call_started":
        return [{**_tool_call(update.function_call, at, monotonic), "at": at}]
    if kind == "tool_call_updated":
        call, content = str(update.call_id), json_text(update.message)
        return [records.ToolUpdateRecord(type="tool_update", id=call, content=content, at=at)]
    return [_tool_ended(update, at)] if kind == "tool_call_ended" else []


def false_interruption(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`agent_false_interruption` (1.2): the agent paused without need; whether it resumed."""
    return _note("false_interruption", event, monotonic, {"resumed": bool})


def overlapping_speech(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`overlapping_speech` (1.5): the caller spoke while the agent did; whether to interrupt."""
    known = {
        "is_interruption": bool,
        "agent_ended": bool,
        "detection_delay": float,
        "prediction_duration": float,
        "total_duration": float,
        "probability": float,
        "num_requests": int,
    }
    return _note("overlapping_speech", event, monotonic, known)


def transcription_timeout(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`user_transcription_timeout` (1.6): the caller spoke, and no transcript came of it."""
    return _note("transcription_timeout", event, monotonic, {"speech_duration": float})


def user_away(event: Any, monotonic: ToMonotonic) -> list[Record]:
    """`user_state_changed`, where the caller was silent for long, or is back."""
    if "away" not in (event.old_state, event.new_state):
        return []
    kind = "user_away" if event.new_state == "away" else "user_back"
    return _note(kind, event, monotonic, {})


def failed(error: Any, at: float, source: Any = None) -> records.ErrorRecord:
    """The error of an `error` or `close` event: an exception, or livekit's object around one."""
    cause = getattr(error, "error", None) or error
    record: records.ErrorRecord = {
        "type": "error",
        "kind": str(getattr(error, "type", None) or type(cause).__name__),
        "message": clean_text(_text_of(cause), 2000),
        "at": at,
    }
    if isinstance(recoverable := getattr(error, "recoverable", None), bool):
        record["recoverable"] = recoverable
    if label := getattr(source, "label", None) or getattr(error, "label", None):
        record["source"] = str(label)
    return record


def _turn(
    item: Any, text: str, at: float, monotonic: ToMonotonic, agent: str | None
) -> records.TurnRecord:
    record = records.TurnRecord(type="turn", role=item.role, text=clean_text(text), at=at)
    measured = dict(getattr(item, "metrics", None) or {})
    if started := measured.get("started_speaking_at"):
        record["start"] = monotonic(started)
    if stopped := measured.get("stopped_speaking_at"):
        record["end"] = monotonic(stopped)
    created = getattr(item, "created_at", None)
    if "start" not in record and created is not None:
        record["created"] = min(at, monotonic(created))
    record["id"] = str(item.id)
    if getattr(item, "interrupted", False):
        record["interrupted"] = True
    confidence = getattr(item, "transcript_confidence", None)
    if is_number(confidence) and confidence:  # 0.0 means: the recognizer has none
        record["confidence"] = float(confidence)
    if agent is not None and item.role == "assistant":
        record["agent"] = agent
    latencies = {camel(k): v for k, v in measured.items() if k not in _TIMES and v is not None}
    if latencies:
        record["metrics"] = json_safe(latencies)
    return record


def _handoff(item: Any, at: float) -> records.HandoffRecord:
    old = getattr(item, "old_agent_id", None)
    old = None if old is None else str(old)
    return {"type": "handoff", "old": old, "new": str(item.new_agent_id), "at": at}


def _tool_call(call: Any, at: float, monotonic: ToMonotonic) -> records.ToolCallRecord:
    record: records.ToolCallRecord = {
        "type": "tool_call",
        "id": str(call.call_id),
        "name": str(call.name),
        "arguments": json_text(call.arguments),
        "at": _created(call, at, monotonic),
    }
    if item := getattr(call, "id", None):
        record["item"] = str(item)
    return record


def _tool_result(call: Any, output: Any, at: float, monotonic: ToMonotonic) -> Record:
    record: records.ToolResultRecord = {
        "type": "tool_result",
        "id": str(call.call_id),
        "content": "" if output is None else json_text(output.output),
        "error": bool(getattr(output, "is_error", False)),
        "at": _created(output, at, monotonic),
    }
    if item := getattr(call, "id", None):
        record["item"] = str(item)
    return record


def _tool_ended(update: Any, at: float) -> records.ToolEndedRecord:
    record: records.ToolEndedRecord = {
        "type": "tool_ended",
        "id": str(update.call_id),
        "status": str(update.status),
        "final": str(update.id) != str(update.call_id),
        "at": at,
    }
    if update.message is not None:
        record["content"] = json_text(update.message)
    return record


def _note(
    kind: str, event: Any, monotonic: ToMonotonic, known: Mapping[str, Callable[[Any], Any]]
) -> list[Record]:
    """An event of which the wire wants these fields: livekit's name → the type."""
    values = {camel(name): _typed(getattr(event, name, None), to) for name, to in known.items()}
    at, fields = _at(event, monotonic), json_safe(values)
    return [records.NoteRecord(type="note", kind=kind, at=at, fields=fields)]


def _typed(value: Any, to: Callable[[Any], Any]) -> Any:
    """A value of this type; false or zero for none, and for what JSON cannot hold."""
    try:
        return to(value if to is bool or is_number(value) else 0)
    except Exception:
        return to(0)


def _created(item: Any, default: float, monotonic: ToMonotonic) -> float:
    created = getattr(item, "created_at", None)
    return default if created is None else monotonic(created)


def _at(event: Any, monotonic: ToMonotonic) -> float:
    return monotonic(getattr(event, "created_at", None))


def _text_of(error: object) -> str:
    try:
        return str(error)
    except Exception:
        return type(error).__name__
