"""Tool records → rows of call-ended, pure: each call with its result, when it really ran."""

from __future__ import annotations

from collections.abc import Callable

from .._types import Placed, ToolCall, ToolResult, ToolRow
from .records import ToolCallRecord, ToolEndedRecord, ToolRecord, ToolResultRecord, ToolUpdateRecord

_FAILED = {"error", "cancelled"}


class ToolRows:
    """Joins a tool's records by its call's id."""

    def __init__(self, place: Callable[[float], Placed]) -> None:
        self._place = place
        self._times: dict[str, int] = {}  # that an id was used, where that is more than once
        self._calls: dict[str, ToolCallRecord] = {}
        self._results: dict[str, ToolResultRecord] = {}
        self._ended: dict[str, ToolEndedRecord] = {}
        self._updates: dict[str, list[ToolUpdateRecord]] = {}

    def add(self, record: ToolRecord) -> None:
        """Takes the next record of a tool."""
        own = self._own_id(record["id"])
        if record["type"] == "tool_call":
            self._begin(record)
        elif record["type"] == "tool_result":
            self._results[own] = record
        elif record["type"] == "tool_ended":
            self._ended[own] = record
        else:
            self._updates.setdefault(own, []).append(record)

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
