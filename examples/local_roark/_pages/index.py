"""The list of calls."""

from __future__ import annotations

from collections.abc import Iterable

from .._times import moment, span
from .document import call_href, document, masthead, pill
from .html import Markup, el, join
from .summary import Summary


def index_page(calls: Iterable[Summary], base_url: str) -> str:
    """The list of calls, newest first."""
    newest_first = sorted(calls, key=lambda call: call.started or "", reverse=True)
    number = f"{len(newest_first)} call{'' if len(newest_first) == 1 else 's'}"
    return document(
        "Calls · Local Roark",
        masthead(),
        el("header", el("h1", "Calls"), el("p", number, class_="muted"), class_="list-head"),
        _table(newest_first) if newest_first else _nothing_yet(base_url),
    )


def _table(calls: Iterable[Summary]) -> Markup:
    columns = ("Agent", "Started", "Duration", "Turns", "Tools", "Status")
    head = el("tr", (el("th", column, scope="col") for column in columns))
    body = join(_row(call) for call in calls)
    return el("table", el("thead", head), el("tbody", body), class_="card calls")


def _row(call: Summary) -> Markup:
    agent = el("a", call.agent, href=call_href(call.call_id))
    failed = el("span", f" {call.failed_tools} failed", class_="bad") if call.failed_tools else None
    return el(
        "tr",
        el("td", agent, el("code", call.call_id), class_="who"),
        el("td", moment(call.started)),
        el("td", span(call.duration_ms)),
        el("td", str(call.turns), data_unit="turns"),
        el("td", str(call.tools), failed, data_unit="tools"),
        el("td", pill(call.status, call.tone)),
    )


def _nothing_yet(base_url: str) -> Markup:
    return el(
        "section",
        el("p", "No call has come yet. Start an agent with"),
        el("pre", f"ROARK_BASE_URL={base_url}\nROARK_API_KEY=any"),
        el("p", "and reload this page.", class_="muted"),
        class_="card empty",
    )
