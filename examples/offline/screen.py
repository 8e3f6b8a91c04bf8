"""What the demo shows: the call while it goes on, and a report when it is over."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from offline.call import CallTruth, Progress

_CALLER_STYLE, _AGENT_STYLE, _TOOL_STYLE = "cyan", "green", "yellow"
_NAME_WIDTH = len("Support")

_REASONS = {
    "time": "no time left",
    "refused": "refused",
    "unauthorized": "the key was refused",
    "no_endpoint": "the service has no such path",
}
"""What the library's reasons for dropping something mean."""


class Screen:
    """Shows a call as it goes on: lines as they come, and below them who speaks now.

    Args:
        console: Where to show it. On something that is no terminal only the lines appear.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._states = {"agent": ("", ""), "caller": ("caller", "")}
        self._live = Live(console=console, get_renderable=self._status, transient=True)

    def __enter__(self) -> Screen:
        self._began = time.monotonic()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Show something that has just happened."""
        if progress.kind == "state":
            side = "caller" if progress.who == "caller" else "agent"
            self._states[side] = (progress.who, progress.text)
        elif (line := _line(progress)) is not None:
            grid = Table.grid(padding=(0, 2))
            grid.add_row(Text(clock(progress.at - self._began), style="dim"), *line)
            self._console.print(grid)

    def _status(self) -> RenderableType:
        now = clock(time.monotonic() - self._began)[:5]
        doing = [
            f"{name(who)} is {state}"
            for who, state in self._states.values()
            if state in ("speaking", "thinking")
        ]
        return Text(f"{now}      {', '.join(doing) or 'nobody speaks'} …", style="bold")


def _line(progress: Progress) -> tuple[Text, Text] | None:
    """Return what to print of a piece of progress, if anything: who, and what."""
    who = f"{name(progress.who):<{_NAME_WIDTH}}"
    if progress.kind == "heard":
        return Text(who, f"bold {_CALLER_STYLE}"), Text(progress.text)
    if progress.kind == "said" and progress.who != "caller":
        text = Text(progress.text).append(" (interrupted)" if progress.interrupted else "", "red")
        return Text(who, f"bold {_AGENT_STYLE}"), text
    if progress.kind == "tool":
        result = f" → {progress.text}" if progress.text else ""
        return Text(" " * _NAME_WIDTH), Text(f"{progress.who}(){result}", _TOOL_STYLE)
    if progress.kind == "handoff":
        return Text(" " * _NAME_WIDTH), Text(f"{name(progress.who)} takes the call", "dim")
    return None


@dataclass(frozen=True)
class Turn:
    """A line of the report: who said what, from when to when, in seconds."""

    start: float | None
    end: float | None
    who: str
    text: str
    interrupted: bool


@dataclass(frozen=True)
class Delivered:
    """What reached the service, as far as can be seen from here.

    Attributes:
        handle: What `observe_session` returned.
        record: The call as the local service keeps it; None if nothing came, or if the service
            is another one.
        folder: Where the local service keeps the call; None likewise.
    """

    handle: Any
    record: Mapping[str, Any] | None = None
    folder: Path | None = None


def report(truth: CallTruth, delivered: Delivered) -> RenderableType:
    """Return what is to be said about a call when it is over."""
    ended = (delivered.record or {}).get("ended")
    if ended:
        turns, caption = turns_received(ended), "as it arrived; times are the recording's own"
    else:
        turns, caption = turns_made(truth), "as it was said, for it did not arrive"
    tables = (_turns(turns, caption), _tools(truth), _latencies(truth), _delivery(delivered))
    parts: list[RenderableType] = []
    for table in tables:
        parts += [Text(), table]
    return Group(*parts)


def turns_received(ended: Mapping[str, Any]) -> list[Turn]:
    """Return the turns of a call-ended event."""
    return [
        Turn(
            _seconds(row.get("audioOffsetMs")),
            _seconds(row.get("endAudioOffsetMs")),
            "caller" if row["role"] == "user" else str(row.get("agentId", "agent")),
            str(row["content"]),
            bool(row.get("interrupted")),
        )
        for row in ended.get("transcript", ())
    ]


def turns_made(truth: CallTruth) -> list[Turn]:
    """Return the turns as they were made; time counts from the session's start."""
    return [
        Turn(
            one.start - truth.started, one.end - truth.started, one.name, one.text, one.interrupted
        )
        for one in truth.utterances
    ]


def _turns(turns: Sequence[Turn], caption: str) -> Table:
    table = _table("Conversation", caption)
    table.add_column("Start", no_wrap=True)
    table.add_column("End", no_wrap=True)
    table.add_column("Speaker", no_wrap=True)
    table.add_column("Text", ratio=1)
    table.add_column("", no_wrap=True)
    for turn in turns:
        style = _CALLER_STYLE if turn.who == "caller" else _AGENT_STYLE
        mark = "interrupted" if turn.interrupted else ""
        table.add_row(
            clock(turn.start), clock(turn.end), Text(name(turn.who), style), turn.text, mark
        )
    return table


def _tools(truth: CallTruth) -> Table:
    table = _table("Tools")
    table.add_column("Tool", no_wrap=True)
    table.add_column("Arguments")
    table.add_column("Result", ratio=1)
    for tool in truth.tools:
        result = Text(f"error: {tool.output}", "red") if tool.is_error else Text(tool.output or "–")
        table.add_row(tool.name, tool.arguments, result)
    return table


def _latencies(truth: CallTruth) -> Table:
    table = _table("Latencies", "in seconds, by LiveKit's own measure")
    for title in ("Turn", "End of turn", "Transcript", "First word", "First sound", "Answer"):
        table.add_column(title, justify="left" if title == "Turn" else "right")
    table.columns[0].ratio = 1
    keys = ("end_of_turn_delay", "transcription_delay", "llm_node_ttft", "tts_node_ttfb",
            "e2e_latency")  # fmt: skip
    for item in truth.items:
        if item.type == "message":
            text = Text(item.text_content or "", no_wrap=True, overflow="ellipsis")
            metrics: Mapping[str, Any] = dict(item.metrics)
            table.add_row(text, *(_figure(metrics.get(key)) for key in keys))
    return table


def _delivery(delivered: Delivered) -> Table:
    table = _table("Delivery", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(ratio=1)
    for title, text in chain(_sent(delivered.handle), _received(delivered.record or {})):
        table.add_row(title, text)
    if delivered.folder is not None:
        table.add_row("Folder", str(delivered.folder))
    return table


def _sent(handle: Any) -> Iterable[tuple[str, str | Text]]:
    """Say what the library has counted."""
    if not handle:
        yield "Observed", Text("nothing: observation is off", "red")
        return
    stats = handle.stats
    yield "Call", handle.livekit_call_id
    yield "Events sent", f"{stats.events_sent} of 2"
    yield "Chunks sent", f"{stats.chunks_sent} ({stats.bytes_sent / 1e6:.1f} MB)"
    yield "Requests", f"{stats.attempts}, of them {stats.retries} retries"
    missing = [*stats.undelivered, *_dropped(stats.dropped)]
    if missing or not stats.done:
        still = [] if stats.done else ["delivery had not ended yet"]
        yield "Not delivered", Text(", ".join(missing + still), "red")
    else:
        yield "Not delivered", Text("nothing: all arrived", "green")


def _received(record: Mapping[str, Any]) -> Iterable[tuple[str, str | Text]]:
    """Say what the local service has."""
    recording = record.get("recording") or {}
    if recording.get("durationMs"):
        about = f"{recording['sampleRate']} Hz, {recording['channels']} channels"
        yield "Recording", f"{clock(recording['durationMs'] / 1000)}, {about}"
    if recording.get("missing"):
        yield "Chunks missing", Text(", ".join(map(str, recording["missing"])), "red")
    if recording.get("problem"):
        yield "Problem", Text(str(recording["problem"]), "red")


def _dropped(dropped: Mapping[str, int]) -> list[str]:
    return [
        f"{count} pieces of the recording or events: {_REASONS.get(reason, reason)}"
        for reason, count in sorted(dropped.items())
    ]


def find_call(directory: Path, call_id: str) -> tuple[Mapping[str, Any], Path] | None:
    """Return a call as the local service keeps it under `directory`, and its folder."""
    for path in directory.glob("*/call.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("livekitCallId") == call_id:
            return record, path.parent
    return None


def name(who: str) -> str:
    """Return an agent's or the caller's name as it is shown."""
    return who.removesuffix("_agent").capitalize()


def clock(seconds: float | None) -> str:
    """Return a time as mm:ss.mmm."""
    if seconds is None:
        return "–"
    minutes, milliseconds = divmod(max(round(seconds * 1000), 0), 60_000)
    return f"{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _figure(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f}"


def _table(title: str, caption: str | None = None, *, show_header: bool = True) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        show_header=show_header,
        expand=True,
        box=None,
        pad_edge=False,
    )
