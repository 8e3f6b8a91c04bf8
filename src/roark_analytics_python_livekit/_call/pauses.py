"""What was said while the agent's code wanted no transcripts stays out of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from .transcript import LATE

WITHHELD = "[not transcribed]"


@dataclass
class _Speech:
    """When somebody spoke, since what they said was told last.

    Args:
        goes_on: Who is still speaking when it is told says more; an agent's turn is all of it.
        silence: Seconds after which what is told is none of the speech that was seen.
    """

    goes_on: bool
    silence: float = inf
    _spans: list[list[float]] = field(default_factory=list)
    _told: float = -inf

    def begin(self, at: float) -> None:
        if not self._is_open():
            self._spans.append([at, inf])

    def end(self, at: float) -> None:
        if self._is_open():
            self._spans[-1][1] = at

    def take(self, at: float) -> list[tuple[float, float]]:
        """When that may have been said which is told now: if nobody saw it, at any time since."""
        spans = [(begin, min(end, at)) for begin, end in self._spans]
        silent_since = spans[-1][1] if spans else self._told
        if not spans or at - silent_since > self.silence:
            spans.append((silent_since, at))
        goes_on = self.goes_on and self._is_open()
        self._spans = [[max(self._spans[-1][0], at - LATE), inf]] if goes_on else []
        self._told = at
        return spans

    def _is_open(self) -> bool:
        return bool(self._spans) and self._spans[-1][1] == inf


@dataclass
class Withheld:
    """Remembers the spans of `pause_recording(transcripts=False)`, and who spoke when.

    A turn is left out if any of it may have been said in such a span, a tool call if it began in
    one: its arguments are what was said. One that began before keeps its rows, without what it
    told once the span had begun.
    """

    _spans: list[list[float]] = field(default_factory=list)
    _turns: dict[str, _Speech] = field(
        default_factory=lambda: {"user": _Speech(True), "assistant": _Speech(False)}
    )
    _heard: _Speech = field(default_factory=lambda: _Speech(True, LATE))
    _late_until: float = -inf  # words that come without new speech belong to withheld ones
    _secrets: list[str] = field(default_factory=list, repr=False)  # heard since the user's turn
    _called: dict[str, float] = field(default_factory=dict)  # when, by the call's id
    _over: dict[str, float] = field(default_factory=dict)

    def begin(self, at: float) -> None:
        """Nothing that is said from here on is transcribed."""
        if not self._spans or self._spans[-1][1] < inf:
            self._spans.append([at, inf])

    def end(self, at: float) -> None:
        """Transcripts are kept again."""
        if self._spans and self._spans[-1][1] == inf:
            self._spans[-1][1] = at

    def filter(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The record as it may be kept, if it may."""
        kind = record["type"]
        if kind == "state":
            self._state(record)
        elif kind == "turn":
            return None if self._is_secret_turn(record) else record
        elif kind == "heard":
            return None if self._is_secret_transcript(record) else record
        elif kind == "dtmf":
            return None if self._touches(record["at"], record["at"]) else record
        elif kind.startswith("tool_"):
            return self._tool(record)
        return record

    def _state(self, record: Mapping[str, Any]) -> None:
        is_user = record["who"] == "user"
        for speech in (self._turns[record["who"]], *([self._heard] if is_user else [])):
            (speech.begin if record["speaking"] else speech.end)(record["at"])
        if is_user and record["speaking"]:
            self._late_until = -inf

    def _is_secret_transcript(self, record: Mapping[str, Any]) -> bool:
        at = record["at"]
        is_secret = self._touch(self._heard.take(at))
        if is_secret:
            self._late_until = at + LATE
        elif at > self._late_until:
            return False
        self._secrets += filter(None, [record.get("text", "").strip()])
        return True

    def _is_secret_turn(self, record: Mapping[str, Any]) -> bool:
        at, role = record["at"], record["role"]
        times = self._turns[role].take(at)
        is_late = role == "user" and at <= self._late_until and "start" not in record
        if "start" in record:
            times = [(record["start"], record.get("end", times[-1][1]))]
        is_secret = is_late or self._touch(times)
        if role == "user":
            is_secret |= any(f" {text} " in f" {record['text']} " for text in self._secrets)
            self._secrets.clear()
            if is_secret:
                self._late_until = at + LATE
        return is_secret

    def _tool(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        call, at = record["id"], record["at"]
        if record["type"] == "tool_call":
            self._call(call, at)
        elif record["type"] != "tool_update":
            self._over[call] = at
        called = self._called.get(call, at)
        if self._touches(called, called):
            return None
        is_told_in_span = "content" in record and self._touches(called, at)
        return {**record, "content": WITHHELD} if is_told_in_span else record

    def _call(self, call: str, at: float) -> None:
        """A call, perhaps told twice; or a new one with an id that some models use again."""
        if at > self._over.get(call, inf):
            del self._over[call]
            self._called.pop(call, None)
        self._called.setdefault(call, at)

    def _touch(self, times: list[tuple[float, float]]) -> bool:
        return any(self._touches(begin, end) for begin, end in times)

    def _touches(self, begin: float, end: float) -> bool:
        return any(begin <= span[1] and span[0] <= end for span in self._spans)
