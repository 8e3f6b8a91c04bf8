"""Records → the rows of call-ended, one table a list, each row on the recording's time line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from .._types import (
    Agent,
    CallEvent,
    Dtmf,
    Handoff,
    Metric,
    Participant,
    ToolRow,
    TranscriptTurn,
    Usage,
)
from .records import (
    AgentRecord,
    DtmfRecord,
    ErrorRecord,
    HandoffRecord,
    Happened,
    MetricRecord,
    NoteRecord,
    ParticipantRecord,
    UsageRecord,
)
from .tool_calls import ToolRows
from .transcript import Transcript, transcript_row
from .turns import Voiced
from .usage import eou_of_message, usage_of_metrics

_PARTICIPANT_KEYS = {
    "identity": "identity",
    "kind": "kind",
    "name": "name",
    "sid": "sid",
    "left": "disconnectReason",
    "attributes": "attributes",
}


class Rows:
    """Collects a call's records by the list of call-ended that they belong to.

    Args:
        iso: A monotonic moment as ISO 8601.
        offset_ms: Its place on the recording, in milliseconds.
        voiced: Finds where the user's voice really begins and ends, where it is known.
    """

    def __init__(
        self,
        iso: Callable[[float], str],
        offset_ms: Callable[[float], int],
        voiced: Voiced | None = None,
    ) -> None:
        self.fatal: ErrorRecord | None = None
        self._transcript = Transcript(voiced)
        self._tools = ToolRows(iso, offset_ms)
        self._agents: list[AgentRecord] = []
        self._participant: ParticipantRecord | None = None
        self._iso = iso
        self._offset_ms = offset_ms
        self._metrics: list[MetricRecord] = []
        self._usage: UsageRecord | None = None
        self._handoffs: list[HandoffRecord] = []
        self._dtmf: list[DtmfRecord] = []
        self._events: list[NoteRecord | ErrorRecord] = []
        self._add: dict[str, Callable[[Any], None]] = {
            "turn": self._transcript.add_turn,
            "heard": self._transcript.add_heard,
            "state": self._transcript.add_state,
            "metric": self._metrics.append,
            "usage": self._add_usage,
            "handoff": self._handoffs.append,
            "agent": self._agents.append,
            "participant": self._add_participant,
            "dtmf": self._dtmf.append,
            "note": self._events.append,
            "error": self._add_error,
            **dict.fromkeys(
                ("tool_call", "tool_result", "tool_update", "tool_ended"), self._tools.add
            ),
        }

    def add(self, record: Happened) -> None:
        """Takes the next record, in the order in which they were made.

        One that a newer version has left in the spool has no list here.
        """
        add = self._add.get(record["type"])
        if add is not None:
            add(record)

    def _add_usage(self, record: UsageRecord) -> None:
        self._usage = record

    def _add_participant(self, record: ParticipantRecord) -> None:
        self._participant = record

    def _add_error(self, record: ErrorRecord) -> None:
        self._events.append(record)
        if self.fatal is None and not record.get("recoverable", False):
            self.fatal = record

    # The lists of call-ended

    @property
    def prompt(self) -> str | None:
        """The first agent's instructions."""
        return self._agents[0]["instructions"] if self._agents else None

    def transcript(self) -> list[TranscriptTurn]:
        """The turns in the order in which they were spoken."""
        turns = self._transcript.turns()
        return [transcript_row(turn, self._iso, self._offset_ms) for turn in turns]

    def tools(self) -> list[ToolRow]:
        """Each call followed by its result, in the order of the calls."""
        return self._tools.rows()

    def metrics(self) -> list[Metric]:
        """The metrics by time. A turn's delays come as metrics, or else in its message."""
        records = self._metrics
        if not any(record["kind"] == "eou" for record in records):
            of_messages = map(eou_of_message, self._transcript.user_turns)
            records = [*records, *(record for record in of_messages if record is not None)]
        rows = []
        for record in sorted(records, key=lambda record: record["at"]):
            row = {"kind": record["kind"], **self._place(record["at"]), **record["fields"]}
            rows.append(row | ({"extra": record["extra"]} if record["extra"] else {}))
        return cast("list[Metric]", rows)  # `_livekit/metrics.py` gives Metric's keys only

    def usage(self) -> list[Usage]:
        """What each model was used for: as the session has counted it, else from its metrics."""
        if self._usage is not None:
            return cast("list[Usage]", self._usage["models"])
        return cast("list[Usage]", usage_of_metrics(self._metrics))

    def handoffs(self) -> list[Handoff]:
        """Who took over from whom; the first agent from nobody."""
        rows = []
        for record in self._handoffs:
            old = {} if record["old"] is None else {"fromAgentId": record["old"]}
            rows.append({"toAgentId": record["new"], **self._place(record["at"]), **old})
        return cast("list[Handoff]", rows)

    def agents(self) -> list[Agent]:
        """Every agent as it was when it took over; again where it was changed later."""
        return [
            {"id": each["id"], "instructions": each["instructions"], "tools": list(each["tools"])}
            for each in self._agents
        ]

    def participant(self) -> Participant | None:
        """The caller's side of the room, as it was known last."""
        if self._participant is None:
            return None
        known: dict[str, Any] = {
            wire: self._participant.get(key) for key, wire in _PARTICIPANT_KEYS.items()
        }
        return cast(Participant, {wire: value for wire, value in known.items() if value})

    def dtmf(self) -> list[Dtmf]:
        """Keys that were pressed."""
        rows = [{"digit": each["digit"], **self._place(each["at"])} for each in self._dtmf]
        return cast("list[Dtmf]", rows)

    def events(self) -> list[CallEvent]:
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
        return cast("list[CallEvent]", rows)  # `_livekit/events.py` gives CallEvent's keys only

    def _place(self, at: float) -> dict[str, Any]:
        return {"timestamp": self._iso(at), "audioOffsetMs": self._offset_ms(at)}
