"""The one place that says when something was said, and which words belong to one turn.

What is known, best first: the sink played it then; livekit measured it; livekit's speaking states
around it; the time of the event itself. `_recording.levels` then finds the voice in the sound.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol, cast

from .._types import Placed, TranscriptTurn
from .records import HeardRecord, StateRecord, TurnRecord, WithheldRecord

TYPED = 10.0  # seconds after the last transcript at which a turn was not spoken, but typed
PAUSE = 2.0  # seconds without a word after which what the caller says is something else
LATE = 5.0  # seconds that a transcript may come after the turn that it belongs to
_TURN_KEYS = {
    "id": "id",
    "interrupted": "interrupted",
    "spoken_part_unknown": "spokenPartUnknown",
    "confidence": "confidence",
    "language": "language",
    "speaker": "userId",
    "agent": "agentId",
    "metrics": "metrics",
}

Voiced = Callable[[float, float], tuple[float, float]]
"""[start, end] of a turn → where the user's voice really begins and ends in the recording."""


class Played(Protocol):
    """A stretch of the agent's speech that was played."""

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...


@dataclass
class Span:
    """A stretch of speech, in monotonic seconds; the end is infinite while it goes on."""

    start: float
    end: float = inf


class Speech:
    """When one role spoke since its last turn, as livekit's states say."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    @property
    def is_open(self) -> bool:
        """Whether somebody is speaking."""
        return bool(self.spans) and self.spans[-1].end == inf

    def observe(self, record: StateRecord) -> None:
        """Takes a state of this role."""
        if not record["speaking"]:
            if self.is_open:
                self.spans[-1].end = record["at"]
        elif not self.is_open:
            self.spans.append(Span(record["at"]))

    def split(self, at: float) -> list[Span]:
        """Takes out the speech that had begun by a moment."""
        before = [span for span in self.spans if span.start <= at]
        self.spans = [span for span in self.spans if span.start > at]
        return before


def place_played(turn: TurnRecord, played: Iterable[Played]) -> None:
    """Gives the agent's turn the time at which it was played.

    livekit adds a turn once it was played. What was played before the turn began belongs to no
    turn: speech that was said with `add_to_chat_ctx=False`.
    """
    own = [one for one in played if one.end > turn.get("start", one.start)]
    if own:
        turn["start"], turn["end"] = own[0].start, own[-1].end


def place_turn(turn: TurnRecord, spans: list[Span], voiced: Voiced | None) -> None:
    """Gives a turn the start and end that it lacks, and the user's their place in the sound."""
    if "start" not in turn:
        turn["start"] = spans[0].start if spans else turn["at"]
    if "end" not in turn:
        turn["end"] = spans[-1].end if spans and spans[-1].end < inf else turn["at"]
    if turn["role"] == "user" and voiced is not None:
        turn["start"], turn["end"] = voiced(turn["start"], turn["end"])
    turn["end"] = max(turn["start"], turn["end"])


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
        speech.spans = []  # what follows belongs to the next turn
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

    def add_withheld(self, record: WithheldRecord) -> None:
        """A turn is not told, and no other one was said when it was."""
        if (role := record.get("role")) is not None:
            if role == "user":
                self._add_unanswered(self._heard)
                self._heard = []
            self._speech[role].spans = []

    def turns(self) -> list[TurnRecord]:
        """The turns in the order in which they were spoken."""
        turns = [*self._turns, *self._unanswered(self._heard, self._speech["user"].spans)]
        return sorted(turns, key=lambda turn: turn.get("start", turn["at"]))

    # The user's turns

    def _complete_user_turn(self, turn: TurnRecord) -> None:
        first = self._first_heard_of(turn)
        before, own = self._heard[:first], self._heard[first:]
        self._add_unanswered(before)
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
        joined = ""
        for first in reversed(range(len(texts))):
            joined = f"{texts[first]} {joined}".strip()
            if joined == said:
                return first
            if len(joined) > len(said):
                break
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

    def _add_unanswered(self, transcripts: list[HeardRecord]) -> None:
        if transcripts:
            spans = self._speech["user"].split(transcripts[-1]["at"])
            self._turns += self._unanswered(transcripts, spans)

    def _unanswered(self, transcripts: list[HeardRecord], spans: list[Span]) -> list[TurnRecord]:
        """What was understood, and became no turn of livekit's."""
        turns: list[TurnRecord] = []
        starts, taken = [span.start for span in spans], 0
        for row in _utterances([heard for heard in transcripts if heard.get("text")], spans):
            text, until = " ".join(heard["text"].strip() for heard in row), row[-1]["at"]
            turn: TurnRecord = {"type": "turn", "role": "user", "text": text, "at": until}
            for heard in row:
                _complete(turn, heard)
            begun = bisect_right(starts, until, taken)
            place_turn(turn, spans[taken:begun], self._voiced)
            taken = begun
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
    starts = [span.start for span in spans]
    for heard in transcripts:
        last = rows[-1][-1]["at"] if rows else heard["at"]
        following = bisect_right(starts, last)
        begins = starts[following] if following < len(starts) else inf
        if not rows or (begins <= heard["at"] and begins - last > PAUSE):
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


class Moments(Speech):
    """When that may have been said which livekit reports now: rather too wide than too narrow.

    Whoever `goes_on` may still be speaking then, and say more later; not so the agent, whose turn
    is all of it. After `silence` seconds a report belongs to none of the speech that was seen.
    """

    def __init__(self, *, goes_on: bool, silence: float = inf) -> None:
        super().__init__()
        self._goes_on = goes_on
        self._silence = silence
        self._reported = -inf

    def take(self, at: float) -> list[tuple[float, float]]:
        """The [start, end] in which it may have been said; any time since, if nobody saw it."""
        moments = [(span.start, min(span.end, at)) for span in self.spans]
        silent_since = moments[-1][1] if moments else self._reported
        if not moments or at - silent_since > self._silence:
            moments.append((silent_since, at))
        goes_on = self._goes_on and self.is_open
        self.spans = [Span(max(self.spans[-1].start, at - LATE))] if goes_on else []
        self._reported = at
        return moments
