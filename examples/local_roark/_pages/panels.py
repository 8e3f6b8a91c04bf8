"""The panels beside the conversation: latency, recording, delivery, and what else is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .._records import CallRecord, Delivery
from .._times import latency, parse_time, span
from .html import Child, Markup, el
from .timeline import Item, latency_summary, pretty

_NAMES = {
    "chunkCount": "chunks sent",
    "byteCount": "bytes sent",
    "durationMs": "length sent",
    "livekitAgentsVersion": "livekit-agents",
}


def panels(record: CallRecord, items: list[Item]) -> Iterator[Markup]:
    """Those panels that have something to say."""
    started, ended = record["started"] or {}, record["ended"] or {}
    yield from _panel("Latency", _latencies(items))
    yield from _panel("Recording", _rows(_recording(record)))
    yield from _panel("Delivery", _rows(ended.get("delivery", {})), _deliveries(record))
    yield from _panel("Metadata", _rows(ended.get("metadata") or started.get("metadata", {})))
    yield from _panel("Participant", _rows(ended.get("participant", {})))
    for agent in ended.get("agents") or started.get("agents", []):
        yield from _panel(f"Agent {agent['id']}", _rows(agent))
    for row in ended.get("usage", []):
        yield from _panel(f"Usage {row.get('model', '')}", _rows(row))
    yield from _panel("Sent by", _rows(ended.get("sdk") or started.get("sdk", {})))


def _panel(title: str, *content: Markup | None) -> Iterator[Markup]:
    if any(content):
        yield el("section", el("h2", title), *content, class_="card panel")


def _rows(facts: Mapping[str, object]) -> Markup | None:
    rows = (
        el("div", el("dt", _NAMES.get(name, name)), el("dd", pretty(value)))
        for name, value in facts.items()
        if value not in (None, [], {})
    )
    return el("dl", rows) if facts else None


def _latencies(items: list[Item]) -> Markup | None:
    summary = latency_summary(items)
    if not summary:
        return None
    longest = max(worst for _, worst in summary.values())
    rows = (_latency(name, *values, longest) for name, values in summary.items())
    return el("dl", rows, class_="latencies")


def _latency(name: str, middle: float, worst: float, longest: float) -> Markup:
    bar = el(
        "svg",
        el("rect", width="100%", height=6, rx=3, class_="track"),
        el("rect", width=f"{100 * worst / longest:.1f}%", height=6, rx=3, class_="worst"),
        el("rect", width=f"{100 * middle / longest:.1f}%", height=6, rx=3, class_="median"),
        height=6,
        width="100%",
        aria_hidden="true",
    )
    values = el("dd", latency(middle), el("small", f" max {latency(worst)}", class_="muted"))
    return el("div", el("dt", name), values, bar)


def _recording(record: CallRecord) -> dict[str, object]:
    kept, sent = record["recording"], (record["ended"] or {}).get("recording", {})
    rate, channels = kept["sampleRate"], kept["channels"]
    facts: dict[str, object] = {
        "status": sent.get("status"),
        "reason": sent.get("reason"),
        "problem": kept["problem"],
        "length": span(kept["durationMs"]) if kept["durationMs"] is not None else None,
        "format": f"{rate} Hz, {channels} channels" if rate else None,
        "size": f"{kept['bytes'] / 2**20:.1f} MiB" if kept["bytes"] else None,
        "chunks": str(len(kept["chunks"])) if kept["chunks"] else None,
        "missing": ", ".join(map(str, kept["missing"])) or None,
    }
    gaps = {name: _spans(sent.get(name, [])) for name in ("gaps", "pauses")}
    return {name: value for name, value in {**facts, **gaps}.items() if value is not None}


def _spans(spans: list[dict[str, int]]) -> str | None:
    return ", ".join(f"{one['startMs']}–{one['endMs']} ms" for one in spans) or None


def _deliveries(record: CallRecord) -> Markup:
    log = record["deliveries"]
    refused = sum(delivery["status"] >= 400 for delivery in log)
    remark = el("span", f" {refused} refused", class_="bad") if refused else None
    count = f"{len(log)} request{'' if len(log) == 1 else 's'}"
    rows = el("ol", (_delivery(delivery) for delivery in log), class_="log")
    return el("details", el("summary", count, remark), rows)


def _delivery(delivery: Delivery) -> Markup:
    at = parse_time(delivery["at"])
    what: list[Child] = [delivery.get("event", delivery["endpoint"])]
    if "chunkIndex" in delivery:
        what.append(f" {delivery['chunkIndex']}")
    if delivery.get("duplicate"):
        what.append(el("span", " duplicate", class_="warn"))
    if "error" in delivery:
        what.append(el("span", f" {delivery['field']} {delivery['error']}", class_="bad"))
    status = el("b", str(delivery["status"]), class_="bad" if delivery["status"] >= 400 else "good")
    return el("li", el("time", f"{at:%H:%M:%S}" if at else ""), status, el("span", *what))
