"""Records → the rows of call-ended, pure: joined, in order, on the recording's time line."""

from __future__ import annotations

import re
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
    HeardRecord,
    MetricRecord,
    NoteRecord,
    ParticipantRecord,
    Record,
    StateRecord,
    TurnRecord,
    UsageRecord,
)
from .tool_calls import ToolRows
from .usage import message_to_eou, usage_of_metrics

LATE = 5.0  # seconds that a transcript may come after the turn that it belongs to
TYPED = 10.0  # seconds after the last transcript at which a turn was not spoken, but typed
PAUSE = 2.0  # seconds without a word after which what the caller says is something else

_TURN_KEYS = {
    "id": "id",
    "interrupted": "interrupted",
    "confidence": "confidence",
    "language": "language",
    "speaker": "userId",
    "agent": "agentId",
    "metrics": "metrics",
}

_PARTICIPANT_KEYS = {
    "identity": "identity",
    "kind": "kind",
    "name": "name",
    "sid": "sid",
    "left": "disconnectReason",
    "attributes": "attributes",
}

Iso = Callable[[float], str]
OffsetMs = Callable[[float], int]
Voiced = Callable[[float, float], tuple[float, float]]


class Rows:
    """Joins records that belong together, and puts them on the recording's time line.

    Args:
        iso: A monotonic moment as ISO 8601.
        offset_ms: Its place on the recording, in milliseconds.
        voiced: Finds where the user's speech really begins and ends, where it is known.
    """

    def __init__(self, iso: Iso, offset_ms: OffsetMs, voiced: Voiced | None = None) -> None:
        self.fatal: ErrorRecord | None = None
        self.participant: Participant | None = None
        self._iso = iso
        self._offset = offset_ms
        self._voiced = voiced
        self._turns: list[TurnRecord] = []
        self._tools = ToolRows(iso, offset_ms)
        self._metrics: list[MetricRecord] = []
        self._eou_of_messages: list[MetricRecord] = []
        self._usage: UsageRecord | None = None
        self._handoffs: list[HandoffRecord] = []
        self._agents: list[AgentRecord] = []
        self._dtmf: list[DtmfRecord] = []
        self._notes: list[NoteRecord | ErrorRecord] = []
        self._heard: list[HeardRecord] = []
        self._untold = ""  # words of the caller's last turn that no transcript has told of
        self._speaking: dict[str, list[tuple[float, float | None]]] = {"user": [], "assistant": []}

    def add(self, record: Record) -> None:
        """Takes the next record, in the order in which they were made."""
        kind = record["type"]
        if kind.startswith("tool_"):
            self._tools.add(record)
        else:
            getattr(self, f"_add_{kind}", self._ignore)(record)

    # What is joined while it comes

    def _ignore(self, record: Record) -> None:
        """One that a newer version has left in the spool."""

    def _add_turn(self, record: TurnRecord) -> None:
        if any(turn.get("id") == record["id"] for turn in self._turns if "id" in record):
            return
        turn: TurnRecord = {**record}
        if turn["role"] == "user":
            self._complete_user_turn(turn)
        self._place_turn(turn, self._speaking[turn["role"]])
        self._speaking[turn["role"]].clear()
        self._turns.append(turn)

    def _complete_user_turn(self, turn: TurnRecord) -> None:
        first = self._first_heard_of(turn)
        before, own = self._heard[:first], self._heard[first:]
        if before:
            self._turns += self._unanswered(before)
            spans = self._speaking["user"]
            self._speaking["user"] = [span for span in spans if span[0] > before[-1]["at"]]
        for heard in own:
            _tell_of(turn, heard)
        self._heard.clear()
        self._untold = "" if own else _words(turn["text"])
        if eou := message_to_eou(turn.get("metrics", {})):
            self._eou_of_messages.append(
                {"type": "metric", "kind": "eou", "at": turn["at"], "fields": eou, "extra": {}}
            )

    def _first_heard_of(self, turn: TurnRecord) -> int:
        """Where the transcripts of this turn begin: before them are those that became none.

        The agent's code may have changed the turn's text: then they are the last ones that were
        said in a row, unless that is long ago.
        """
        said = _words(turn["text"])
        texts = [_words(heard.get("text", "")) for heard in self._heard]
        for first in reversed(range(len(texts))):
            if _words(" ".join(texts[first:])) == said:
                return first
        for first, text in enumerate(texts):
            if _has_words(said, text):
                return first
        utterances = self._utterances(self._heard)
        if not utterances or turn["at"] - utterances[-1][-1]["at"] >= TYPED:
            return len(self._heard)
        return len(self._heard) - len(utterances[-1])

    def _utterances(self, transcripts: list[HeardRecord]) -> list[list[HeardRecord]]:
        """Transcripts by what was said in a row."""
        rows: list[list[HeardRecord]] = []
        for heard in transcripts:
            last = rows[-1][-1]["at"] if rows else heard["at"]
            begins = [b for b, _ in self._speaking["user"] if last < b <= heard["at"]]
            if not rows or (begins and begins[0] - last > PAUSE):
                rows.append([])
            rows[-1].append(heard)
        return rows

    def _place_turn(self, turn: TurnRecord, spoken: list[tuple[float, float | None]]) -> None:
        """Gives a turn its start and end: measured ones, else livekit's states, else its time."""
        if "start" not in turn:
            turn["start"] = spoken[0][0] if spoken else turn["at"]
        if "end" not in turn:
            turn["end"] = (spoken[-1][1] if spoken else None) or turn["at"]
        if turn["role"] == "user" and self._voiced is not None:
            turn["start"], turn["end"] = self._voiced(turn["start"], turn["end"])
        turn["end"] = max(turn["start"], turn["end"])

    def _add_heard(self, record: HeardRecord) -> None:
        """A transcript comes before its turn, in rare orders right after it."""
        turn = self._turn_of(record)
        if turn is None:
            self._heard.append(record)
        else:
            _tell_of(turn, record)

    def _turn_of(self, heard: HeardRecord) -> TurnRecord | None:
        """The turn that a transcript is late for, or repeats: nobody has spoken since."""
        said = _words(heard.get("text", ""))
        users = [turn for turn in self._turns if turn["role"] == "user"]
        turn = users[-1] if users else None
        if turn is None or not said or heard["at"] - turn["at"] >= LATE:
            return None
        if _has_words(self._untold, said):
            self._untold = f" {self._untold} ".replace(f" {said} ", " ", 1).strip()
            return turn
        repeated = _has_words(_words(turn["text"]), said) and not self._speaking["user"]
        return turn if repeated else None

    def _add_state(self, record: StateRecord) -> None:
        spans = self._speaking[record["who"]]
        if record["speaking"]:
            spans.append((record["at"], None))
        elif spans and spans[-1][1] is None:
            spans[-1] = (spans[-1][0], record["at"])

    def _add_metric(self, record: MetricRecord) -> None:
        self._metrics.append(record)

    def _add_usage(self, record: UsageRecord) -> None:
        self._usage = record

    def _add_handoff(self, record: HandoffRecord) -> None:
        self._handoffs.append(record)

    def _add_agent(self, record: AgentRecord) -> None:
        self._agents.append(record)

    def _add_participant(self, record: ParticipantRecord) -> None:
        known = {wire: record.get(key) for key, wire in _PARTICIPANT_KEYS.items()}
        known = {wire: value for wire, value in known.items() if value}
        self.participant = cast(Participant, known)

    def _add_dtmf(self, record: DtmfRecord) -> None:
        self._dtmf.append(record)

    def _add_note(self, record: NoteRecord) -> None:
        self._notes.append(record)

    def _add_error(self, record: ErrorRecord) -> None:
        self._notes.append(record)
        if self.fatal is None and not record.get("recoverable", False):
            self.fatal = record

    # What comes of it

    @property
    def prompt(self) -> str | None:
        """The first agent's instructions."""
        return self._agents[0]["instructions"] if self._agents else None

    def first_speaker(self) -> str | None:
        """The role of the first turn; None where nothing was said."""
        turns = self._spoken()
        return turns[0]["role"] if turns else None

    def transcript(self) -> list[TranscriptTurn]:
        """The turns in the order in which they were spoken."""
        return [self._transcript_row(turn) for turn in self._spoken()]

    def _spoken(self) -> list[TurnRecord]:
        turns = [*self._turns, *self._unanswered(self._heard)]
        return sorted(turns, key=lambda turn: turn.get("start", turn["at"]))

    def _unanswered(self, transcripts: list[HeardRecord]) -> list[TurnRecord]:
        """What was understood, and never became a turn of livekit's."""
        turns: list[TurnRecord] = []
        spans = self._speaking["user"]
        for row in self._utterances([heard for heard in transcripts if heard.get("text")]):
            text = " ".join(heard["text"].strip() for heard in row)
            until = row[-1]["at"]
            turn: TurnRecord = {"type": "turn", "role": "user", "text": text, "at": until}
            for heard in row:
                _tell_of(turn, heard)
            self._place_turn(turn, [span for span in spans if span[0] <= until])
            spans = [span for span in spans if span[0] > until]
            turns.append(turn)
        return turns

    def tool_rows(self) -> list[ToolRow]:
        """Each call followed by its result, in the order of the calls."""
        return self._tools.rows()

    def metric_rows(self) -> list[Metric]:
        """The metrics by time; livekit-agents 1.3 and 1.4 give a turn's delays in two ways."""
        records = self._metrics
        if not any(record["kind"] == "eou" for record in records):
            records = records + self._eou_of_messages
        return [self._metric_row(record) for record in sorted(records, key=lambda r: r["at"])]

    def usage_rows(self) -> list[Usage]:
        """What each model was used for: as the session has counted it, else from its metrics."""
        if self._usage is not None:
            return cast("list[Usage]", self._usage["models"])
        return cast("list[Usage]", usage_of_metrics(self._metrics))

    def handoff_rows(self) -> list[Handoff]:
        """Who took over from whom; the first agent from nobody."""
        return [self._handoff_row(record) for record in self._handoffs]

    def agent_rows(self) -> list[Agent]:
        """Every agent as it was when it took over; again where it was changed later."""
        return [
            {"id": a["id"], "instructions": a["instructions"], "tools": list(a["tools"])}
            for a in self._agents
        ]

    def dtmf_rows(self) -> list[Dtmf]:
        """Keys that were pressed."""
        return [
            {
                "digit": record["digit"],
                "timestamp": self._iso(record["at"]),
                "audioOffsetMs": self._offset(record["at"]),
            }
            for record in self._dtmf
        ]

    def event_rows(self) -> list[CallEvent]:
        """False interruptions, errors that were got over, and the like."""
        return [self._event_row(record) for record in sorted(self._notes, key=lambda r: r["at"])]

    # One row each

    def _event_row(self, record: NoteRecord | ErrorRecord) -> CallEvent:
        row: dict[str, Any] = {
            "kind": record["kind"],
            "timestamp": self._iso(record["at"]),
            "audioOffsetMs": self._offset(record["at"]),
        }
        if record["type"] == "note":
            row |= record["fields"]
        else:
            row["message"] = record["message"]
            row |= {key: record[key] for key in ("recoverable", "source") if key in record}
        return cast(CallEvent, row)  # `_events` gives CallEvent's keys only

    def _handoff_row(self, record: HandoffRecord) -> Handoff:
        row: Handoff = {
            "toAgentId": record["new"],
            "timestamp": self._iso(record["at"]),
            "audioOffsetMs": self._offset(record["at"]),
        }
        if record["old"] is not None:
            row["fromAgentId"] = record["old"]
        return row

    def _metric_row(self, record: MetricRecord) -> Metric:
        row: dict[str, Any] = {
            "kind": record["kind"],
            "timestamp": self._iso(record["at"]),
            "audioOffsetMs": self._offset(record["at"]),
            **record["fields"],
        }
        if record["extra"]:
            row["extra"] = record["extra"]
        return cast(Metric, row)  # `_metrics` gives Metric's keys only

    def _transcript_row(self, turn: TurnRecord) -> TranscriptTurn:
        start, end = turn["start"], turn["end"]
        row: TranscriptTurn = {
            "role": turn["role"],
            "content": turn["text"],
            "timestamp": self._iso(start),
            "endTimestamp": self._iso(end),
            "audioOffsetMs": self._offset(start),
            "endAudioOffsetMs": self._offset(end),
        }
        known: dict[str, Any] = {wire: turn.get(key) for key, wire in _TURN_KEYS.items()}
        row.update({wire: value for wire, value in known.items() if value is not None})  # type: ignore[typeddict-item]  # its keys are TranscriptTurn's
        return row


def _tell_of(turn: TurnRecord, heard: HeardRecord) -> None:
    for key in ("language", "speaker"):
        if key in heard:
            turn[key] = heard[key]


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


def _has_words(text: str, words: str) -> bool:
    """Whether the words stand in the text, as whole ones."""
    return bool(words) and f" {words} " in f" {text} "
