"""`Scribe`: entries in order, redacted off the loop, in bounded time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from roark_analytics_python_livekit import _scribe
from roark_analytics_python_livekit._redaction import FAILED, Redactor
from roark_analytics_python_livekit._scribe import Scribe


@asynccontextmanager
async def writing(
    redact: Callable[[str], str] | None,
) -> AsyncIterator[tuple[Scribe, list[Mapping[str, Any]]]]:
    """A scribe at work, and what it has written."""
    written: list[Mapping[str, Any]] = []
    scribe = Scribe(written.append, None if redact is None else Redactor(redact))
    task = asyncio.ensure_future(scribe.run())
    try:
        yield scribe, written
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def turn(text: str) -> dict[str, Any]:
    """Something that was said."""
    return {"type": "turn", "text": text, "at": 1.0}


async def test_without_redact_everything_is_written_at_once() -> None:
    """In the very call."""
    async with writing(None) as (scribe, written):
        scribe.note(turn("hello"))
        assert [entry["text"] for entry in written] == ["hello"]
        await scribe.finish(1.0)


async def test_the_order_is_kept_however_long_each_takes() -> None:
    """Also of what needs no redaction."""
    threads = set()

    def redact(text: str) -> str:
        threads.add(threading.current_thread())
        return text.upper()

    async with writing(redact) as (scribe, written):
        for number in range(20):
            scribe.note(turn(f"turn {number}"))
            scribe.note({"type": "state", "number": number})
        await scribe.finish(5.0)
    assert [e.get("text", e.get("number")) for e in written] == [
        value for number in range(20) for value in (f"TURN {number}", number)
    ]
    assert threading.main_thread() not in threads


async def test_one_that_hangs_is_replaced_by_the_marker_in_the_end() -> None:
    """The loop goes on meanwhile, and nothing goes out as it is."""
    release = threading.Event()

    def redact(text: str) -> str:
        release.wait(30)
        return text

    async with writing(redact) as (scribe, written):
        scribe.note(turn("first"))
        scribe.note(turn("second"))
        scribe.note({"type": "end", "at": 1.0, "reason": "over"})
        await scribe.finish(0.05)
        release.set()
    assert [entry.get("text", entry["type"]) for entry in written] == [FAILED, FAILED, "end"]
    assert scribe.failures == 2


async def test_one_that_keeps_hanging_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time holds a thread; three are enough."""
    monkeypatch.setattr(_scribe, "PATIENCE", 0.02)
    release, asked = threading.Event(), []

    def redact(text: str) -> str:
        asked.append(text)
        release.wait(30)
        return text

    async with writing(redact) as (scribe, written):
        for number in range(6):
            scribe.note(turn(str(number)))
        await scribe.finish(20.0)
        release.set()
    assert [entry["text"] for entry in written] == [FAILED] * 6
    assert len(asked) == 3


async def test_a_backlog_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: what comes too fast is written with the marker."""
    monkeypatch.setattr(_scribe, "MAX_WAITING", 2)
    async with writing(str.upper) as (scribe, written):
        for number in range(5):
            scribe.note(turn(f"turn {number}"))
        await scribe.finish(5.0)
    assert [entry["text"] for entry in written] == [FAILED, FAILED, "TURN 2", "TURN 3", "TURN 4"]
