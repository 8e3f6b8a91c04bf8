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
)
from .turns import LATE, Moments

NOT_TRANSCRIBED = "[not transcribed]"


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
    """

    def __init__(self, pauses: PauseLog) -> None:
        self._pauses = pauses
        self._turns = {"user": Moments(goes_on=True), "assistant": Moments(goes_on=False)}
        self._heard = Moments(goes_on=True, silence=LATE)
        self._late_until = -inf  # words that come without new speech belong to withheld ones
        self._secrets: list[str] = []  # transcripts that were withheld since the user's turn
        self._called_at: dict[str, float] = {}  # by the tool call's id
        self._over_at: dict[str, float] = {}
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
                ("agent", "error", "handoff", "metric", "note", "participant", "usage")
            ),
        }

    def filter(self, record: Happened) -> Happened | None:
        """The record as it may be kept, or None."""
        rule = self._rules[record["type"]]
        return record if rule is None else rule(record)

    def _observe(self, record: StateRecord) -> StateRecord:
        self._turns[record["who"]].observe(record)
        if record["who"] == "user":
            self._heard.observe(record)
            if record["speaking"]:
                self._late_until = -inf
        return record

    def _filter_heard(self, record: HeardRecord) -> HeardRecord | None:
        at = record["at"]
        if self._is_any_withheld(self._heard.take(at)):
            self._late_until = at + LATE
        elif at > self._late_until:
            return record
        if text := record.get("text", "").strip():
            self._secrets.append(text)
        return None

    def _filter_turn(self, record: TurnRecord) -> TurnRecord | None:
        at, role = record["at"], record["role"]
        moments = self._turns[role].take(at)
        is_late = role == "user" and at <= self._late_until and "start" not in record
        if "start" in record:
            moments = [(record["start"], record.get("end", moments[-1][1]))]
        is_secret = is_late or self._is_any_withheld(moments)
        if role == "user":
            is_secret |= any(f" {text} " in f" {record['text']} " for text in self._secrets)
            self._secrets.clear()
            if is_secret:
                self._late_until = at + LATE
        return None if is_secret else record

    def _filter_key(self, record: DtmfRecord) -> DtmfRecord | None:
        return None if self._pauses.is_withheld(record["at"], record["at"]) else record

    def _filter_tool(self, record: ToolRecord) -> ToolRecord | None:
        call_id, at = record["id"], record["at"]
        if record["type"] == "tool_call":
            self._begin_call(call_id, at)
        elif record["type"] != "tool_update":
            self._over_at[call_id] = at
        called_at = self._called_at.get(call_id, at)
        if self._pauses.is_withheld(called_at, called_at):
            return None
        if "content" in record and self._pauses.is_withheld(called_at, at):
            return cast(ToolRecord, {**record, "content": NOT_TRANSCRIBED})
        return record

    def _begin_call(self, call_id: str, at: float) -> None:
        """A call, perhaps reported twice; or a new one with an id that some models use again."""
        if at > self._over_at.get(call_id, inf):
            del self._over_at[call_id]
            self._called_at.pop(call_id, None)
        self._called_at.setdefault(call_id, at)

    def _is_any_withheld(self, moments: list[tuple[float, float]]) -> bool:
        return any(self._pauses.is_withheld(start, end) for start, end in moments)
