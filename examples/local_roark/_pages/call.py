"""The page of one call: hear it, read it, see what it was made of."""

from __future__ import annotations

import json
from statistics import median

from .._records import CallRecord
from .._times import latency, moment, span
from .conversation import conversation
from .document import call_href, document, masthead, pill
from .html import Markup, el
from .panels import panels
from .summary import Summary, summarise
from .timeline import Item, Turn, pretty, timeline
from .waveform import Waveform, draw


def call_page(record: CallRecord, waveform: Waveform | None) -> str:
    """Renders one call.

    Args:
        record: The call, as it is on disk.
        waveform: Its recording's; None while there is none.
    """
    summary, items = summarise(record), timeline(record)
    return document(
        f"{summary.agent} · {summary.call_id}",
        masthead(el("span", summary.call_id, class_="crumb")),
        _header(record, summary),
        _facts(summary, items),
        _player(record, waveform, items),
        el(
            "div",
            el("section", el("h2", "Conversation"), conversation(record, items)),
            el("aside", panels(record, items)),
            class_="columns",
        ),
        _raw(record),
    )


def _header(record: CallRecord, summary: Summary) -> Markup:
    started, ended = record["started"] or {}, record["ended"] or {}
    reason = ended.get("callEndedReason", "").replace("_", " ")
    facts = [
        moment(summary.started),
        f"ended: {reason}" if reason else None,
        f"room {started['roomName']}" if "roomName" in started else None,
    ]
    return el(
        "header",
        el("h1", summary.agent),
        pill(summary.status, summary.tone),
        pill("test call", "plain") if started.get("isTest") else None,
        el("p", " · ".join(filter(None, facts)), class_="muted"),
        el("p", pretty(ended["error"]), class_="alert") if ended.get("error") else None,
    )


def _facts(summary: Summary, items: list[Item]) -> Markup:
    turns = [item for item in items if isinstance(item, Turn)]
    waits = [turn.latencies["response"] for turn in turns if "response" in turn.latencies]
    cut = f"{summary.interruptions} interrupted" if summary.interruptions else ""
    failed = f"{summary.failed_tools} failed" if summary.failed_tools else ""
    return el(
        "dl",
        _fact("Duration", span(summary.duration_ms)),
        _fact("Turns", str(summary.turns), cut, "warn"),
        _fact("Tool calls", str(summary.tools), failed, "bad"),
        _fact("Response", latency(median(waits)) if waits else "–", "median" if waits else ""),
        class_="facts card",
    )


def _fact(label: str, value: str, remark: str = "", tone: str = "muted") -> Markup:
    small = el("small", remark, class_=tone) if remark else None
    return el("div", el("dt", label), el("dd", value, small))


def _player(record: CallRecord, waveform: Waveform | None, items: list[Item]) -> Markup:
    if record["recording"]["file"] is None:
        return el("section", el("p", _no_recording(record), class_="muted"), class_="card player")
    source = f"{call_href(record['livekitCallId'])}/recording.wav"
    return el(
        "section",
        el(
            "p",
            el("span", "Caller", class_="key caller"),
            el("span", "Agent", class_="key agent"),
            class_="legend",
        ),
        _missing(record["recording"]["missing"]),
        draw(waveform, items, record) if waveform else None,
        el("audio", id="player", controls=True, preload="metadata", src=source),
        class_="card player",
    )


def _missing(chunks: list[int]) -> Markup | None:
    if not chunks:
        return None
    names = ("Chunk " if len(chunks) == 1 else "Chunks ") + ", ".join(map(str, chunks))
    text = f"{names} missing: what comes after stands too early here."
    return el("p", text, class_="warn remark")


def _no_recording(record: CallRecord) -> str:
    recording = record["recording"]
    if recording["problem"]:
        return f"No recording: {recording['problem']}."
    if record["ended"] is None:
        count = len(recording["chunks"])
        return f"{count} chunks so far. They are joined when the call has ended."
    return "No recording."


def _raw(record: CallRecord) -> Markup:
    events = {key: record[key] for key in ("started", "ended", "recording", "deliveries")}
    file = el("a", "call.json", href=f"{call_href(record['livekitCallId'])}/call.json")
    parts = (
        el(
            "details",
            el("summary", name),
            el("pre", json.dumps(value, indent=2, ensure_ascii=False)),
        )
        for name, value in events.items()
        if value
    )
    return el("section", el("h2", "As it came"), el("p", file, class_="muted"), parts, class_="raw")
