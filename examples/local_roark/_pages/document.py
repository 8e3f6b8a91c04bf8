"""What every page has in common."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from urllib.parse import quote

from .html import Child, Markup, el

_HERE = Path(__file__).parent
_CSS = Markup(_HERE.joinpath("page.css").read_text("utf-8"))
_JS = Markup(_HERE.joinpath("page.js").read_text("utf-8"))
_ICON = (
    "data:image/svg+xml,"
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<path d='M3 6v4M6.3 3v10M9.7 5v6M13 7v2' stroke='%23109184' stroke-width='2' "
    "stroke-linecap='round'/></svg>"
)


def _source_hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "img-src data:",
        "media-src 'self'",
        f"style-src {_source_hash(_CSS)}",
        f"script-src {_source_hash(_JS)}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""Nothing runs and nothing is loaded but what the page brings along."""


def document(title: str, *body: Child) -> str:
    """A whole page: self-contained, so that it can be saved and looked at anywhere."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("link", rel="icon", href=_ICON),
        el("style", _CSS),
    )
    page = el("html", head, el("body", el("main", *body), el("script", _JS)), lang="en")
    return f"<!doctype html>\n{page}\n"


def masthead(*crumbs: Child) -> Markup:
    """The line at the top of every page."""
    mark = el(
        "svg",
        el("path", d="M3 6v4M6.3 3v10M9.7 5v6M13 7v2"),
        viewBox="0 0 16 16",
        class_="mark",
        aria_hidden="true",
    )
    return el("nav", el("a", mark, "Local Roark", href="/", class_="brand"), *crumbs)


def pill(text: str, tone: str) -> Markup:
    """A word or two, in the colour of how well that is."""
    return el("span", text, class_=f"pill {tone}")


def call_href(call_id: str) -> str:
    """The address of a call's page."""
    return f"/calls/{quote(call_id, safe='')}"
