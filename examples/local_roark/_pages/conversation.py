"""What was said and done, in order."""

from __future__ import annotations

from .._records import CallRecord
from .._times import clock, latency
from .document import pill
from .html import Markup, el
from .timeline import Item, Note, ToolUse, Turn, pretty

_SPEAKERS = {"user": "Caller", "assistant": "Agent", "system": "System"}
_LANES = {"user": "caller", "assistant": "agent", "system": "system"}


def conversation(record: CallRecord, items: list[Item]) -> Markup:
    """The timeline: turns, with tool calls and all else in between."""
    if not items:
        live = record["ended"] is None
        text = "The transcript comes when the call has ended." if live else "Nothing was said."
        return el("p", text, class_="card muted")
    languages = {item.language for item in items if isinstance(item, Turn)} - {None}
    return el("ol", (_item(item, len(languages) > 1) for item in items), class_="timeline")


def _item(item: Item, many_languages: bool) -> Markup:
    if isinstance(item, Turn):
        return _turn(item, item.language if many_languages else None)
    return _tool(item) if isinstance(item, ToolUse) else _note(item)


def _turn(turn: Turn, language: str | None) -> Markup:
    return el(
        "li",
        _time(turn.start_ms),
        el(
            "div",
            el(
                "p",
                el("b", _SPEAKERS[turn.role]),
                pill("interrupted", "warn") if turn.interrupted else None,
                el("span", language, class_="muted") if language else None,
                class_="by",
            ),
            el("p", turn.text, class_="said"),
            _latencies(turn),
        ),
        class_=f"turn {_LANES[turn.role]}",
        data_seek=turn.start_ms,
        data_end=turn.end_ms,
    )


def _latencies(turn: Turn) -> Markup | None:
    if not turn.latencies:
        return None
    chips = (
        el("li", name, " ", el("b", latency(seconds)), class_="first" if name == "response" else "")
        for name, seconds in turn.latencies.items()
    )
    return el("ul", chips, class_="chips")


def _tool(tool: ToolUse) -> Markup:
    took = f"{tool.duration_ms} ms" if tool.duration_ms is not None else "no result"
    return el(
        "li",
        _time(tool.start_ms),
        el(
            "div",
            el(
                "p",
                el("code", tool.name),
                pill("failed", "bad") if tool.is_error else None,
                el("span", took, class_="muted"),
                class_="by",
            ),
            el("pre", pretty(tool.arguments)),
            el("pre", pretty(tool.result), class_="result") if tool.result is not None else None,
        ),
        class_="tool failed" if tool.is_error else "tool",
        data_seek=tool.start_ms,
    )


def _note(note: Note) -> Markup:
    words = el("p", el("b", note.label), " ", note.details)
    return el("li", _time(note.start_ms), el("div", words), class_="note", data_seek=note.start_ms)


def _time(milliseconds: int) -> Markup:
    return el("button", clock(milliseconds), type="button", title="Play from here")
