"""Turns and the transcripts they came from, joined into the transcript's rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from .._types import Placed, TranscriptTurn
from .records import HeardRecord, StateRecord, TurnRecord
from .turns import LATE, Span, Speech, Voiced, place_turn

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


class Transcript:
    """Joins what belongs to one turn, in the order in which the records were made."""

    def __init__(self, voiced: Voiced | None = None) -> None:
        self.user_turns: list[TurnRecord] = []
        self._voiced = voiced
        self._turns: list[TurnRecord] = []
        self._ids: set[str] = set()
        self._heard: list[HeardRecord] = []  # transcripts that no turn has claimed yet
        self._unclaimed = ""  # words of the user's last turn that no transcript has brought
        self._speech = {"user": Speech(), "assistant": Speech()}

    def add_turn(self, record: TurnRecord) -> None:
        """Takes a turn; livekit reports some twice."""
        if "id" in record:
            if record["id"] in self._ids:
                return
            self._ids.add(record["id"])
        turn: TurnRecord = {**record}
        speech = self._speech[turn["role"]]
        if turn["role"] == "user":
            self._complete_user_turn(turn)
        place_turn(turn, speech.spans, self._voiced)
        speech.clear()
        self._turns.append(turn)

    def add_heard(self, record: HeardRecord) -> None:
        """Takes a transcript: it comes before its turn, in rare orders right after it."""
        turn = self._turn_of(record)
        if turn is None:
            self._heard.append(record)
        else:
            _complete(turn, record)

    def add_state(self, record: StateRecord) -> None:
        """Somebody began or stopped speaking."""
        self._speech[record["who"]].observe(record)

    def turns(self) -> list[TurnRecord]:
        """The turns in the order in which they were spoken."""
        turns = [*self._turns, *self._unanswered(self._heard, self._speech["user"].spans)]
        return sorted(turns, key=lambda turn: turn.get("start", turn["at"]))

    # The user's turns

    def _complete_user_turn(self, turn: TurnRecord) -> None:
        first = self._first_heard_of(turn)
        before, own = self._heard[:first], self._heard[first:]
        if before:
            spans = self._speech["user"].split(before[-1]["at"])
            self._turns += self._unanswered(before, spans)
        for heard in own:
            _complete(turn, heard)
        self._heard = []
        self._unclaimed = "" if own else _words(turn["text"])
        self.user_turns.append(turn)

    def _first_heard_of(self, turn: TurnRecord) -> int:
        """Where the transcripts of this turn begin; those before became no turn.

        The agent's code may have changed the turn's text. Then its transcripts are the last ones
        that were said in a row, unless that is long ago.
        """
        said = _words(turn["text"])
        texts = [_words(heard.get("text", "")) for heard in self._heard]
        for first in reversed(range(len(texts))):
            if _words(" ".join(texts[first:])) == said:
                return first
        for first, text in enumerate(texts):
            if _has_words(said, text):
                return first
        utterances = _utterances(self._heard, self._speech["user"].spans)
        if not utterances or turn["at"] - utterances[-1][-1]["at"] >= TYPED:
            return len(self._heard)
        return len(self._heard) - len(utterances[-1])

    def _turn_of(self, heard: HeardRecord) -> TurnRecord | None:
        """The turn that a transcript is late for, or repeats: nobody has spoken since."""
        said = _words(heard.get("text", ""))
        turn = self.user_turns[-1] if self.user_turns else None
        if turn is None or not said or heard["at"] - turn["at"] >= LATE:
            return None
        if _has_words(self._unclaimed, said):
            self._unclaimed = f" {self._unclaimed} ".replace(f" {said} ", " ", 1).strip()
            return turn
        repeated = _has_words(_words(turn["text"]), said) and not self._speech["user"].spans
        return turn if repeated else None

    def _unanswered(self, transcripts: list[HeardRecord], spans: list[Span]) -> list[TurnRecord]:
        """What was understood, and became no turn of livekit's."""
        turns: list[TurnRecord] = []
        for row in _utterances([heard for heard in transcripts if heard.get("text")], spans):
            text, until = " ".join(heard["text"].strip() for heard in row), row[-1]["at"]
            turn: TurnRecord = {"type": "turn", "role": "user", "text": text, "at": until}
            for heard in row:
                _complete(turn, heard)
            place_turn(turn, [span for span in spans if span.start <= until], self._voiced)
            spans = [span for span in spans if span.start > until]
            turns.append(turn)
        return turns


def transcript_row(turn: TurnRecord, place: Callable[[float], Placed]) -> TranscriptTurn:
    """A turn that has its place, as the wire has it."""
    start, end = place(turn["start"]), place(turn["end"])
    row: dict[str, Any] = {
        "role": turn["role"],
        "content": turn["text"],
        **start,
        "endTimestamp": end["timestamp"],
        "endAudioOffsetMs": end["audioOffsetMs"],
    }
    known = {wire: turn.get(key) for key, wire in _TURN_KEYS.items()}
    row |= {wire: value for wire, value in known.items() if value is not None}
    return cast(TranscriptTurn, row)


def _utterances(transcripts: list[HeardRecord], spans: list[Span]) -> list[list[HeardRecord]]:
    """Transcripts, grouped by what was said in a row."""
    rows: list[list[HeardRecord]] = []
    for heard in transcripts:
        last = rows[-1][-1]["at"] if rows else heard["at"]
        starts = [span.start for span in spans if last < span.start <= heard["at"]]
        if not rows or (starts and starts[0] - last > PAUSE):
            rows.append([])
        rows[-1].append(heard)
    return rows


def _complete(turn: TurnRecord, heard: HeardRecord) -> None:
    """Language and speaker stand in the transcript, not in the turn."""
    if "language" in heard:
        turn["language"] = heard["language"]
    if "speaker" in heard:
        turn["speaker"] = heard["speaker"]


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


def _has_words(text: str, words: str) -> bool:
    """Whether the words stand in the text, as whole ones."""
    return bool(words) and f" {words} " in f" {text} "
