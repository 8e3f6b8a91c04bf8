"""Records → the rows of call-ended, one table a list, each row on the recording's time line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from .. import _types as wire
from .._serialize import is_number, wire_number
from .records import (
    AgentRecord,
    DtmfRecord,
    ErrorRecord,
    HandoffRecord,
    Happened,
    MetricRecord,
    NoteRecord,
    ParticipantRecord,
    TurnRecord,
    UsageRecord,
)
from .tool_calls import ToolRows
from .turns import Transcript, Voiced, transcript_row

_PARTICIPANT_KEYS = {
    "identity": "identity",
    "kind": "kind",
    "name": "name",
    "sid": "sid",
    "left": "disconnectReason",
    "attributes": "attributes",
}
_EOU_OF_MESSAGE = {  # in a user message's metrics → on the wire
    "endOfTurnDelay": "endOfUtteranceDelay",
    "transcriptionDelay": "transcriptionDelay",
    "onUserTurnCompletedDelay": "onConversationItemAddedDelay",
}
_USAGE_OF_LLM = {  # in a metrics row → in a usage row; those of others have the same names in both
    "promptTokens": "inputTokens",
    "cachedTokens": "inputCachedTokens",
    "completionTokens": "outputTokens",
    "cacheCreationTokens": "inputCacheCreationTokens",
    "reasoningTokens": "outputReasoningTokens",
    "sessionDuration": "sessionDuration",
}
_COUNTED = {
    "llm": tuple(_USAGE_OF_LLM),
    "tts": ("charactersCount", "audioDuration", "inputTokens", "outputTokens"),
    "stt": ("audioDuration", "inputTokens", "inputAudioTokens", "outputTokens"),
}


class Rows:
    """Collects a call's records by the list of call-ended that they belong to."""

    def __init__(self, place: Callable[[float], wire.Placed], voiced: Voiced | None = None) -> None:
        self._place = place
        self._transcript = Transcript(voiced)
        self._tools = ToolRows(place)
        self._agents: list[AgentRecord] = []
        self._participants: list[ParticipantRecord] = []
        self._metrics: list[MetricRecord] = []
        self._usage: list[UsageRecord] = []
        self._handoffs: list[HandoffRecord] = []
        self._dtmf: list[DtmfRecord] = []
        self._events: list[NoteRecord | ErrorRecord] = []
        self._add: dict[str, Callable[[Any], None]] = {
            "turn": self._transcript.add_turn,
            "heard": self._transcript.add_heard,
            "state": self._transcript.add_state,
            "withheld": self._transcript.add_withheld,
            "metric": self._metrics.append,
            "usage": self._usage.append,
            "handoff": self._handoffs.append,
            "agent": self._agents.append,
            "participant": self._participants.append,
            "dtmf": self._dtmf.append,
            "note": self._events.append,
            "error": self._events.append,
            **dict.fromkeys(
                ("tool_call", "tool_result", "tool_update", "tool_ended"), self._tools.add
            ),
        }

    def add(self, record: Happened) -> None:
        """Takes the next record, in the order in which they were made."""
        add = self._add.get(record["type"])
        if add is not None:  # a newer version may have left others in the spool
            add(record)

    # The lists of call-ended

    def prompt(self) -> str | None:
        """The first agent's instructions."""
        return self._agents[0]["instructions"] if self._agents else None

    def fatal(self) -> ErrorRecord | None:
        """The first error that the session did not recover from."""
        for record in self._events:
            if record["type"] == "error" and not record.get("recoverable", False):
                return record
        return None

    def transcript(self) -> list[wire.TranscriptTurn]:
        """The turns in the order in which they were spoken."""
        return [transcript_row(turn, self._place) for turn in self._transcript.turns()]

    def tools(self) -> list[wire.ToolRow]:
        """Each call followed by its result, in the order of the calls."""
        return self._tools.rows()

    def metrics(self) -> list[wire.Metric]:
        """The metrics by time. A turn's delays come as metrics, or else in its message."""
        records = self._metrics
        if not any(record["kind"] == "eou" for record in records):
            of_messages = map(eou_of_message, self._transcript.user_turns)
            records = [*records, *(record for record in of_messages if record is not None)]
        rows = []
        for record in sorted(records, key=lambda record: record["at"]):
            row = {"kind": record["kind"], **self._place(record["at"]), **record["fields"]}
            rows.append(row | ({"extra": record["extra"]} if record["extra"] else {}))
        return cast("list[wire.Metric]", rows)  # `_livekit/metrics.py` gives Metric's keys only

    def usage(self) -> list[wire.Usage]:
        """What each model was used for: as the session has counted it, else from its metrics."""
        rows = self._usage[-1]["models"] if self._usage else usage_of_metrics(self._metrics)
        return cast("list[wire.Usage]", rows)

    def handoffs(self) -> list[wire.Handoff]:
        """Who took over from whom; the first agent from nobody."""
        rows = []
        for record in self._handoffs:
            old = {} if record["old"] is None else {"fromAgentId": record["old"]}
            rows.append({"toAgentId": record["new"], **self._place(record["at"]), **old})
        return cast("list[wire.Handoff]", rows)

    def agents(self) -> list[wire.Agent]:
        """Every agent as it was when it took over; again where it was changed later."""
        return [
            {"id": each["id"], "instructions": each["instructions"], "tools": list(each["tools"])}
            for each in self._agents
        ]

    def participant(self) -> wire.Participant | None:
        """The caller's side of the room, as it was known last."""
        if not self._participants:
            return None
        known: dict[str, Any] = {
            name: self._participants[-1].get(key) for key, name in _PARTICIPANT_KEYS.items()
        }
        return cast(wire.Participant, {name: value for name, value in known.items() if value})

    def dtmf(self) -> list[wire.Dtmf]:
        """Keys that were pressed."""
        return [{"digit": each["digit"], **self._place(each["at"])} for each in self._dtmf]

    def events(self) -> list[wire.CallEvent]:
        """False interruptions, errors, and the like, by time."""
        rows = []
        for record in sorted(self._events, key=lambda record: record["at"]):
            row: dict[str, Any] = {"kind": record["kind"], **self._place(record["at"])}
            if record["type"] == "note":
                row |= record["fields"]
            else:
                row["message"] = record["message"]
                row |= {key: record[key] for key in ("recoverable", "source") if key in record}
            rows.append(row)
        return cast("list[wire.CallEvent]", rows)  # `_livekit/events.py` gives its keys only


def eou_of_message(turn: TurnRecord) -> MetricRecord | None:
    """The end-of-utterance metric that a user's message carries, if it does."""
    measured = turn.get("metrics", {})
    fields = {
        name: measured[key] for key, name in _EOU_OF_MESSAGE.items() if is_number(measured.get(key))
    }
    if not fields:
        return None
    return {"type": "metric", "kind": "eou", "at": turn["at"], "fields": fields, "extra": {}}


def usage_of_metrics(records: Iterable[MetricRecord]) -> list[dict[str, Any]]:
    """One row a model from the metrics of single requests, where the session has not counted."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for record in records:
        kind = record["kind"]
        if kind not in _COUNTED:
            continue
        values = {**record["extra"], **record["fields"]}
        metadata = values.get("metadata") or {}
        provider = str(metadata.get("model_provider") or "")
        model = str(metadata.get("model_name") or values.get("label") or "")
        new = {"kind": kind, "provider": provider, "model": model}
        row = rows.setdefault((kind, provider, model), new)
        for name in _COUNTED[kind]:
            value: Any = values.get(name)
            if is_number(value) and value > 0:
                count = _USAGE_OF_LLM.get(name, name)
                row[count] = row.get(count, 0) + wire_number(count, value)
    return list(rows.values())
