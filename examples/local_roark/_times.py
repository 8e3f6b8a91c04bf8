"""Times as people read them."""

from __future__ import annotations

from datetime import datetime


def parse_time(text: str | None) -> datetime | None:
    """An ISO 8601 time of the wire; None for none."""
    if not text:
        return None
    # Python 3.10's fromisoformat knows neither "Z" nor a fraction of other than 3 or 6 digits.
    return datetime.strptime(text, f"%Y-%m-%dT%H:%M:%S{'.%f' if '.' in text else ''}%z")


def milliseconds_between(start: str | None, end: str | None) -> int | None:
    """The time from one moment to another; None if one of them is unknown."""
    first, last = parse_time(start), parse_time(end)
    if first is None or last is None:
        return None
    return round((last - first).total_seconds() * 1000)


def moment(text: str | None) -> str:
    """A date and time: `24 Nov 2025, 08:19:03 UTC`."""
    time = parse_time(text)
    return f"{time.day} {time:%b %Y, %H:%M:%S} UTC" if time else "–"


def clock(milliseconds: int) -> str:
    """A place in the recording: `01:07.3`."""
    tenths = milliseconds // 100
    return f"{tenths // 600:02}:{tenths // 10 % 60:02}.{tenths % 10}"


def span(milliseconds: int | None) -> str:
    """A length: `1 h 02 min`, `3 min 05 s`, `42 s`."""
    if milliseconds is None:
        return "–"
    seconds = round(milliseconds / 1000)
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds // 60 % 60:02} min"
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"


def latency(seconds: float) -> str:
    """A short wait: `420 ms`, `1.24 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
