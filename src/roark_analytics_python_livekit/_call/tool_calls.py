"""Tool records → rows of call-ended, pure: each call with its result, when it really ran."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from .._serialize import json_of_repr
from .._types import Placed, ToolCall, ToolResult, ToolRow
from .records import (
    Happened,
    ToolCallRecord,
    ToolEndedRecord,
    ToolRecord,
    ToolResultRecord,
    ToolUpdateRecord,
)

_FAILED = {"error", "cancelled"}


def in_json(record: Happened) -> Happened:
    """A tool's record with JSON where the tool gave an object or a list, of which livekit has
    Python's text; any other record as it is.
    """
    fields: Any = record  # only tools' records have a content
    if "content" not in fields:
        return record
    return cast(Happened, {**fields, "content": json_of_repr(fields["content"])})


@dataclass
class _Known:
    """A call, and what was told of it."""

    own_id: str
    item: str | None = None
    told: set[str] = field(default_factory=set)  # types of records


class CallIds:
    """Gives each call an id of its own: some models number theirs anew in each answer.

    A call may be told when it begins, and again with its result: both have the same item. An older
    journal has no items: there a call behind a result is another one. Times say nothing here,
    because they come from more than one clock.
    """

    def __init__(self) -> None:
        self._calls: dict[str, list[_Known]] = {}  # by the model's id, in their order

    def of(self, record: ToolRecord) -> str:
        """The id of the call that the next record is about."""
        calls = self._calls.setdefault(record["id"], [])
        call = _find(record, calls)
        if call is None:
            again = f"-{len(calls) + 1}" if calls else ""
            call = _Known(f"{record['id']}{again}")
            calls.append(call)
        call.item = _item_of(record) or call.item
        call.told.add(record["type"])
        return call.own_id


def _find(record: ToolRecord, calls: list[_Known]) -> _Known | None:
    """The call that a record is about, of those with this id; None for one that is new."""
    item = _item_of(record)
    if item is not None and (same := [call for call in calls if call.item == item]):
        return same[0]
    if not calls:
        return None
    last = calls[-1]
    if record["type"] == "tool_call":
        is_other = item is not None and last.item is not None
        return None if is_other or {"tool_call", "tool_result"} <= last.told else last
    if record["type"] == "tool_result":
        return last
    running = [call for call in calls if "tool_ended" not in call.told]
    if record["type"] == "tool_ended":  # of two that run, the one that did report or did not
        reported = bool(record.get("final"))
        running.sort(key=lambda call: ("tool_update" in call.told) == reported)
    return (running or calls)[-1]


def _item_of(record: ToolRecord) -> str | None:
    if record["type"] == "tool_call" or record["type"] == "tool_result":
        return record.get("item")
    return None


class ToolRows:
    """Joins a tool's records by its call's id."""

    def __init__(self, place: Callable[[float], Placed]) -> None:
        self._place = place
        self._ids = CallIds()
        self._calls: dict[str, ToolCallRecord] = {}
        self._results: dict[str, ToolResultRecord] = {}
        self._ended: dict[str, ToolEndedRecord] = {}
        self._updates: dict[str, list[ToolUpdateRecord]] = {}

    def add(self, record: ToolRecord) -> None:
        """Takes the next record of a tool."""
        own = self._ids.of(record)
        if record["type"] == "tool_call":
            self._calls.setdefault(own, {**record, "id": own})
        elif record["type"] == "tool_result":
            self._results[own] = record
        elif record["type"] == "tool_ended":
            self._ended[own] = record
        else:
            self._updates.setdefault(own, []).append(record)

    def rows(self) -> list[ToolRow]:
        """Each call followed by its result, in the order of the calls."""
        rows: list[ToolRow] = []
        for call in sorted(self._calls.values(), key=lambda record: record["at"]):
            result = self._result_of(call["id"])
            rows.append(self._call_row(call, is_running=result is None))
            if result is not None:
                rows.append(self._result_row(call, result))
        return rows

    def _result_of(self, call_id: str) -> ToolResultRecord | None:
        """The result, with the end that was really the call's, where livekit tells.

        A tool that reports its progress gives its first report as its result, and the real one
        when it ends.
        """
        result, ended = self._results.get(call_id), self._ended.get(call_id)
        if ended is None:
            return None if call_id in self._updates else result
        if result is not None and not ended["final"]:
            return {**result, "at": ended["at"]}
        return {
            "type": "tool_result",
            "id": call_id,
            "content": ended.get("content", "cancelled" if ended["status"] == "cancelled" else ""),
            "error": ended["status"] in _FAILED,
            "at": ended["at"],
        }

    def _call_row(self, call: ToolCallRecord, *, is_running: bool) -> ToolCall:
        placed = self._place(call["at"])
        row: ToolCall = {
            "kind": "tool_call",
            "toolCallId": call["id"],
            "name": call["name"],
            "arguments": call["arguments"],
            "timestamp": placed["timestamp"],
            "audioOffsetMs": placed["audioOffsetMs"],
        }
        if is_running:
            row["isRunning"] = True
        if updates := self._updates.get(call["id"]):
            row["updates"] = [
                {"content": update["content"], "timestamp": self._place(update["at"])["timestamp"]}
                for update in updates
            ]
        return row

    def _result_row(self, call: ToolCallRecord, result: ToolResultRecord) -> ToolResult:
        placed = self._place(result["at"])
        row: ToolResult = {
            "kind": "tool_result",
            "toolCallId": call["id"],
            "content": result["content"],
            "timestamp": placed["timestamp"],
            "audioOffsetMs": placed["audioOffsetMs"],
            "durationMs": max(0, round((result["at"] - call["at"]) * 1000)),
        }
        if result["error"]:
            row["isError"] = True
            ended = self._ended.get(call["id"])
            message = ended.get("content") if ended is not None else None
            if message and message != result["content"]:
                row["message"] = message  # the error itself; the model is told less of it
        return row
