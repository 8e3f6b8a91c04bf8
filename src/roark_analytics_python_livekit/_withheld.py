"""What was said while the agent's code wanted no transcripts stays out of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WITHHELD = "[not transcribed]"


@dataclass
class Withheld:
    """Remembers the spans of `pause_recording(transcripts=False)`, and who spoke when.

    A turn is left out if any of it was said in such a span, a tool call if it began or ended in
    one: its arguments and its result are what was said.
    """

    _spans: list[list[float]] = field(default_factory=list)
    _speaking: dict[str, list[list[float]]] = field(
        default_factory=lambda: {"user": [], "assistant": []}
    )
    _tools: set[str] = field(default_factory=set)
    _known_tools: set[str] = field(default_factory=set)

    def begin(self, at: float) -> None:
        """Nothing that is said from here on is transcribed."""
        if not self._spans or len(self._spans[-1]) == 2:
            self._spans.append([at])

    def end(self, at: float) -> None:
        """Transcripts are kept again."""
        if self._spans and len(self._spans[-1]) == 1:
            self._spans[-1].append(at)

    def filter(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The record as it may be kept, if it may."""
        kind = record["type"]
        if kind == "state":
            self._state(record)
        elif kind in ("turn", "heard"):
            return None if self._is_said_in_span(record) else record
        elif kind == "dtmf":
            return None if self._touches(record["at"], record["at"]) else record
        elif kind.startswith("tool_"):
            return self._tool(record)
        return record

    def _state(self, record: Mapping[str, Any]) -> None:
        spans = self._speaking[record["who"]]
        if record["speaking"]:
            spans.append([record["at"]])
        elif spans and len(spans[-1]) == 1:
            spans[-1].append(record["at"])

    def _is_said_in_span(self, record: Mapping[str, Any]) -> bool:
        role = record.get("role", "user")
        spoken = self._speaking[role]
        begin, end = record["at"], record["at"]
        if spoken:
            begin = spoken[0][0]
            end = spoken[-1][1] if len(spoken[-1]) == 2 else end
        if record["type"] == "turn":  # who is still speaking says the next one
            self._speaking[role] = [span for span in spoken if len(span) == 1]
        return self._touches(record.get("start", begin), record.get("end", end))

    def _tool(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        call = record["id"]
        if call in self._tools:
            return None
        if not self._touches(record["at"], record["at"]):
            if record["type"] == "tool_call":
                self._known_tools.add(call)
            return record
        if call not in self._known_tools or record["type"] == "tool_update":
            self._tools.add(call)
            return None
        return {**record, "content": WITHHELD} if "content" in record else record

    def _touches(self, begin: float, end: float) -> bool:
        return any(
            begin <= (span[1] if len(span) == 2 else end) and span[0] <= end for span in self._spans
        )
