"""The one place that knows a pause: of the recording, and of transcripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, cast

from .._types import Pause
from .records import (
    DtmfRecord,
    Happened,
    HeardRecord,
    StateRecord,
    SwitchRecord,
    ToolRecord,
    TurnRecord,
    WithheldRecord,
)
from .tool_calls import CallIds
from .turns import LATE, Moments

NOT_TRANSCRIBED = "[not transcribed]"
CLOCKS = 0.02  # seconds by which a wall-clock time may seem earlier than it was


@dataclass
class _Pause:
    """A pause, in monotonic seconds; transcripts may have stopped later than the sound."""

    start: float
    end: float = inf
    silent_from: float = inf  # no transcripts from here on


class PauseLog:
    """The pauses of a call, which the recording and the transcript both ask."""

    def __init__(self) -> None:
        self._pauses: list[_Pause] = []

    def switch(self, record: SwitchRecord) -> None:
        """The agent's code paused or resumed; pausing again only adds what it stops."""
        at, is_open = record["at"], bool(self._pauses) and self._pauses[-1].end == inf
        if record["on"]:
            if is_open:
                self._pauses[-1].end = at
            return
        if not is_open:
            self._pauses.append(_Pause(at))
        if record.get("transcripts") is False:
            self._pauses[-1].silent_from = min(self._pauses[-1].silent_from, at)

    def silences(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """The pauses of the recording that overlap [start, end], as (start, end)."""
        for pause in self._pauses:
            if pause.start <= end and start <= pause.end:
                yield pause.start, pause.end

    def is_withheld(self, start: float, end: float) -> bool:
        """Whether any of [start, end] lies in a pause of transcripts."""
        return any(start <= pause.end and pause.silent_from <= end for pause in self._pauses)

    def rows(self, offset_ms: Callable[[float], int], length_ms: int) -> list[Pause]:
        """The pauses on the recording; one that was never ended lasts until its end."""
        rows: list[Pause] = []
        for pause in self._pauses:
            start = offset_ms(pause.start)
            end = max(start, length_ms) if pause.end == inf else offset_ms(pause.end)
            row: Pause = {"startMs": start, "endMs": end}
            if pause.silent_from < inf:
                row["transcripts"] = False
            rows.append(row)
        return rows


class TranscriptFilter:
    """Leaves out what was said, which tools ran and which keys were pressed in a pause.

    A turn is left out if any of it may have been said in a pause of transcripts, a tool call if it
    began in one: its arguments are what was said. One that began before keeps its rows, without
    the content that it gave once the pause had begun.

    A turn that nobody was heard to say was typed, or is text only: its own time says when it was.
    """

    def __init__(self, pauses: PauseLog) -> None:
        self._pauses = pauses
        self._left_out: set[tuple[str, object]] = set()  # by type, and id or time
        self._has_heard = False  # a transcript, since the user's last turn
        self._turns = {"user": Moments(goes_on=True), "assistant": Moments(goes_on=False)}
        self._heard = Moments(goes_on=True, silence=LATE)
        self._late_until = -inf  # words that come without new speech belong to withheld ones
        self._secrets: dict[float, str] = {}  # transcripts that were withheld since the user's turn
        self._call_ids = CallIds()
        self._called_at: dict[str, float] = {}  # by the tool call's own id
        self._rules: Mapping[str, Callable[[Any], Happened | None] | None] = {
            "state": self._observe,
            "turn": self._filter_turn,
            "heard": self._filter_heard,
            "dtmf": self._filter_key,
            **dict.fromkeys(
                ("tool_call", "tool_result", "tool_update", "tool_ended"), self._filter_tool
            ),
            # What the caller said is in none of these.
            **dict.fromkeys(
                ("agent", "error", "handoff", "metric", "note", "participant", "usage", "withheld")
            ),
        }

    @property
    def left_out(self) -> int:
        """How many turns, tool calls and keys, and transcripts that became no turn."""
        return len(self._left_out) + len(self._secrets)

    def filter(self, record: Happened) -> Happened | None:
        """The record as it may be kept, or None."""
        rule = self._rules[record["type"]]
        return record if rule is None else rule(record)

    def withheld(self, record: Happened) -> WithheldRecord:
        """What is kept in the place of a record that is not."""
        kept: WithheldRecord = {"type": "withheld", "at": record["at"], "count": self.left_out}
        if record["type"] == "turn":
            kept["role"] = record["role"]
        return kept

    def _observe(self, record: StateRecord) -> StateRecord:
        self._turns[record["who"]].observe(record)
        if record["who"] == "user":
            self._heard.observe(record)
            if record["speaking"]:
                self._late_until = -inf
        return record

    def _filter_heard(self, record: HeardRecord) -> HeardRecord | None:
        at, self._has_heard = record["at"], True
        if self._is_any_withheld(self._heard.take(at)):
            self._late_until = at + LATE
        elif at > self._late_until:
            return record
        if text := record.get("text", "").strip():
            self._secrets[at] = text
        return None

    def _filter_turn(self, record: TurnRecord) -> TurnRecord | None:
        at, role = record["at"], record["role"]
        is_heard = bool(self._turns[role].spans) or (role == "user" and self._has_heard)
        moments = self._turns[role].take(at)
        if "start" in record:
            moments = [(record["start"], record.get("end", moments[-1][1]))]
        elif not is_heard:
            moments = [(min(at, record.get("created", at) + CLOCKS), at)]
        is_secret = self._is_any_withheld(moments)
        if role == "user":
            is_secret |= "start" not in record and is_heard and at <= self._late_until
            is_secret |= self._has_secrets(record["text"])
            self._settle_transcripts(at, are_in_turn=is_secret)
        if is_secret:
            self._left_out.add(("turn", record.get("id", at)))
        return None if is_secret else record

    def _has_secrets(self, text: str) -> bool:
        return any(f" {secret} " in f" {text} " for secret in self._secrets.values())

    def _settle_transcripts(self, at: float, *, are_in_turn: bool) -> None:
        """A turn of the user's takes the transcripts before it, or they became none."""
        if are_in_turn:
            self._late_until = at + LATE
        else:
            self._left_out |= {("heard", heard_at) for heard_at in self._secrets}
        self._secrets.clear()
        self._has_heard = False

    def _filter_key(self, record: DtmfRecord) -> DtmfRecord | None:
        if not self._pauses.is_withheld(record["at"], record["at"]):
            return record
        self._left_out.add(("dtmf", record["at"]))
        return None

    def _filter_tool(self, record: ToolRecord) -> ToolRecord | None:
        call_id, at = self._call_ids.of(record), record["at"]
        if record["type"] == "tool_call":
            self._called_at.setdefault(call_id, at)
        called_at = self._called_at.get(call_id, at)
        if self._pauses.is_withheld(called_at, called_at):
            self._left_out.add(("tool", call_id))
            return None
        if "content" in record and self._pauses.is_withheld(called_at, at):
            return cast(ToolRecord, {**record, "content": NOT_TRANSCRIBED})
        return record

    def _is_any_withheld(self, moments: list[tuple[float, float]]) -> bool:
        return any(self._pauses.is_withheld(start, end) for start, end in moments)
