"""Tool records → rows of call-ended, pure: each call with its result, when it really ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from .._types import ToolCall, ToolResult, ToolRow
from .records import (
    Record,
    ToolCallRecord,
    ToolEndedRecord,
    ToolResultRecord,
    ToolUpdateRecord,
)

_FAILED = {"error", "cancelled"}


class ToolRows:
    """Joins a tool's records by its call's id.

    Args:
        iso: A monotonic moment as ISO 8601.
        offset_ms: Its place on the recording, in milliseconds.
    """

    def __init__(self, iso: Callable[[float], str], offset_ms: Callable[[float], int]) -> None:
        self._iso = iso
        self._offset = offset_ms
        self._times: dict[str, int] = {}  # that an id was used, where that is more than once
        self._calls: dict[str, ToolCallRecord] = {}
        self._results: dict[str, ToolResultRecord] = {}
        self._ended: dict[str, ToolEndedRecord] = {}
        self._updates: dict[str, list[ToolUpdateRecord]] = {}

    def add(self, record: Record) -> None:
        """Takes the next record of a tool."""
        if record["type"] == "tool_call":
            self._begin(record)
        elif record["type"] == "tool_result":
            self._results[self._own_id(record["id"])] = record
        elif record["type"] == "tool_ended":
            self._ended[self._own_id(record["id"])] = record
        elif record["type"] == "tool_update":
            self._updates.setdefault(self._own_id(record["id"]), []).append(record)

    def _begin(self, call: ToolCallRecord) -> None:
        """A call; some models number theirs anew in each answer, so that an id comes again."""
        own = self._own_id(call["id"])
        over = self._results.get(own) or self._ended.get(own)
        if own in self._calls and over is not None and call["at"] > over["at"]:
            self._times[call["id"]] = self._times.get(call["id"], 1) + 1
            own = self._own_id(call["id"])
        self._calls.setdefault(own, {**call, "id": own})

    def _own_id(self, call_id: str) -> str:
        times = self._times.get(call_id, 1)
        return call_id if times == 1 else f"{call_id}-{times}"

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
        """The result, with the end that was really the call's, where livekit tells (1.6).

        A tool that reports its progress gives its first report as its result, and the real one
        when it ends.
        """
        result, ended = self._results.get(call_id), self._ended.get(call_id)
        if ended is None:
            return None if call_id in self._updates else result
        if result is None or ended["final"]:
            content = ended.get("content", "cancelled" if ended["status"] == "cancelled" else "")
            return cast(
                ToolResultRecord,
                {
                    "type": "tool_result",
                    "id": call_id,
                    "content": content,
                    "error": ended["status"] in _FAILED,
                    "at": ended["at"],
                },
            )
        return {**result, "at": ended["at"]}

    def _call_row(self, call: ToolCallRecord, *, is_running: bool) -> ToolCall:
        row: ToolCall = {
            "kind": "tool_call",
            "toolCallId": call["id"],
            "name": call["name"],
            "arguments": call["arguments"],
            "timestamp": self._iso(call["at"]),
            "audioOffsetMs": self._offset(call["at"]),
        }
        if is_running:
            row["isRunning"] = True
        if updates := self._updates.get(call["id"]):
            row["updates"] = [
                {"content": update["content"], "timestamp": self._iso(update["at"])}
                for update in updates
            ]
        return row

    def _result_row(self, call: ToolCallRecord, result: ToolResultRecord) -> ToolResult:
        row: ToolResult = {
            "kind": "tool_result",
            "toolCallId": call["id"],
            "content": result["content"],
            "timestamp": self._iso(result["at"]),
            "audioOffsetMs": self._offset(result["at"]),
            "durationMs": max(0, round((result["at"] - call["at"]) * 1000)),
        }
        if result["error"]:
            row["isError"] = True
            if (message := self._message_of(call["id"])) not in ("", result["content"]):
                row["message"] = message
        return row

    def _message_of(self, call_id: str) -> str:
        """The error itself; the model is told less of it."""
        ended = self._ended.get(call_id)
        return "" if ended is None else ended.get("content", "")
