"""`Scribe`: entries in order, redacted off the loop, in bounded time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from roark_analytics_python_livekit._call import redaction_worker as _scribe
from roark_analytics_python_livekit._call.redaction_worker import Scribe
from roark_analytics_python_livekit._call.redactor import FAILED
from roark_analytics_python_livekit._diagnostics import Guard
from tests.support.deliveries import until


@asynccontextmanager
async def writing(
    redact: Callable[[str], str] | None,
) -> AsyncIterator[tuple[Scribe, list[Mapping[str, Any]]]]:
    """A scribe at work, and what it has written."""
    written: list[Mapping[str, Any]] = []
    scribe = Scribe(written.append, redact, Guard())
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
        scribe.note({"type": "end", "at": 1.0, "reason": "flushed"})
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


async def test_the_end_cuts_what_is_being_redacted_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """However patient it was with it: the end of the call has its own budget."""
    monkeypatch.setattr(_scribe, "PATIENCE", 3600.0)
    asked, release = threading.Event(), threading.Event()

    def redact(text: str) -> str:
        asked.set()
        release.wait(30)
        return text

    async with writing(redact) as (scribe, written):
        scribe.note(turn("first"))
        await until(asked.is_set)
        scribe.note(turn("second"))
        await asyncio.wait_for(scribe.finish(0.01), 20)
        release.set()
    assert [entry["text"] for entry in written] == [FAILED, FAILED]


def metadata(*texts: str) -> dict[str, Any]:
    """An entry of several texts."""
    return {"type": "metadata", "values": {"all": list(texts)}}


async def test_the_first_entry_waits_for_as_long_as_the_call_goes_on() -> None:
    """Until then the journal has its markers only; the end of the call hastens it."""
    asked, release = threading.Event(), threading.Event()

    def redact(text: str) -> str:
        asked.set()
        release.wait(30)
        return text.upper()

    async with writing(redact) as (scribe, written):
        scribe.begin(turn("first"))
        scribe.note(turn("second"))
        begun = asyncio.ensure_future(scribe.begun())
        await until(asked.is_set)
        assert [entry["text"] for entry in written] == [FAILED] and not begun.done()
        release.set()
        await asyncio.wait_for(begun, 20)
        await scribe.finish(20.0)
    assert [entry["text"] for entry in written] == [FAILED, "FIRST", "SECOND"]
    assert scribe.failures == 0


async def test_the_end_of_the_call_cuts_the_first_entry_too() -> None:
    """A redactor that hangs does not keep the call from being told of."""
    release = threading.Event()
    async with writing(lambda text: str(release.wait(30))) as (scribe, written):
        scribe.begin(turn("first"))
        await asyncio.wait_for(scribe.finish(0.01), 20)
        await asyncio.wait_for(scribe.begun(), 20)
        release.set()
    assert [entry["text"] for entry in written] == [FAILED, FAILED]
    assert scribe.failures == 1


async def test_without_redact_the_first_entry_is_written_once() -> None:
    """As it is."""
    async with writing(None) as (scribe, written):
        scribe.begin(turn("first"))
        await asyncio.wait_for(scribe.begun(), 20)
    assert [entry["text"] for entry in written] == ["first"]


async def test_patience_is_with_each_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of an entry takes too long: the others of that entry are redacted all the same."""
    release = threading.Event()

    class Patient(_scribe._Worker):
        """There is an hour for all that it is asked, but for what comes after "before"."""

        def __init__(self, redact: Callable[[str], str]) -> None:
            monkeypatch.setattr(_scribe, "PATIENCE", 3600.0)
            super().__init__(redact)

    def redact(text: str) -> str:
        if text == "before":
            monkeypatch.setattr(_scribe, "PATIENCE", 0.02)
        if text == "slow":
            release.wait(30)
        return text.upper()

    monkeypatch.setattr(_scribe, "_Worker", Patient)
    async with writing(redact) as (scribe, written):
        scribe.note(metadata("fine", "before", "slow", "after"))
        await asyncio.wait_for(scribe.finish(20.0), 30)
        release.set()
    assert [entry["values"]["all"] for entry in written] == [["FINE", "BEFORE", FAILED, "AFTER"]]
    assert scribe.failures == 1


async def test_the_end_leaves_what_was_redacted_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an entry that is being redacted, the texts that came before."""
    monkeypatch.setattr(_scribe, "PATIENCE", 3600.0)
    asked, release = threading.Event(), threading.Event()

    def redact(text: str) -> str:
        if text == "slow":
            asked.set()
            release.wait(30)
        return text.upper()

    async with writing(redact) as (scribe, written):
        scribe.note(metadata("one", "two", "slow", "three"))
        await until(asked.is_set)
        await asyncio.wait_for(scribe.finish(0.01), 20)
        release.set()
    assert [entry["values"]["all"] for entry in written] == [["ONE", "TWO", FAILED, FAILED]]
    assert scribe.failures == 2


async def test_one_that_comes_back_late_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that was down for a while: its threads are free again."""
    monkeypatch.setattr(_scribe, "PATIENCE", 0.02)
    release = threading.Event()

    def redact(text: str) -> str:
        release.wait(30)
        return text.upper()

    async with writing(redact) as (scribe, written):
        scribe.note(metadata(*"abcd"))
        await until(lambda: written)
        monkeypatch.setattr(_scribe, "PATIENCE", 3600.0)
        release.set()
        await until(lambda: not redacting())
        scribe.note(turn("hello"))
        await scribe.finish(20.0)
    assert written[0]["values"]["all"] == [FAILED] * 4
    assert [entry["text"] for entry in written[1:]] == ["HELLO"]


async def test_no_thread_is_left_behind() -> None:
    """The end of the work is theirs."""
    async with writing(str.upper) as (scribe, written):
        scribe.note(turn("hello"))
        await scribe.finish(20.0)
        assert [entry["text"] for entry in written] == ["HELLO"]
    await until(lambda: not redacting())


def redacting() -> list[threading.Thread]:
    """The threads on which `redact` runs."""
    return [thread for thread in threading.enumerate() if thread.name == "roark-redact"]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_whatever_it_raises_the_next_one_is_redacted(error: type[BaseException]) -> None:
    """Also what ends a program, or a task, where it is raised on their threads."""

    def redact(text: str) -> str:
        if text == "bad":
            raise error
        return text.upper()

    async with writing(redact) as (scribe, written):
        for text in ("fine", "bad", "too"):
            scribe.note(turn(text))
        await asyncio.wait_for(scribe.finish(10.0), 20)
    assert [entry["text"] for entry in written] == ["FINE", FAILED, "TOO"]
    assert scribe.failures == 1


async def test_an_entry_that_cannot_be_written_costs_that_entry_only(
    internal_errors: list[Exception],
) -> None:
    """Those behind it are written, and the end is not waited for in vain."""
    written: list[str] = []

    def write(entry: Mapping[str, Any]) -> None:
        if entry["text"] == "BAD":
            raise OSError
        written.append(entry["text"])

    scribe = Scribe(write, str.upper, Guard())
    task = asyncio.ensure_future(scribe.run())
    for text in ("fine", "bad", "too"):
        scribe.note(turn(text))
    await asyncio.wait_for(scribe.finish(10.0), 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert written == ["FINE", "TOO"]
    assert [type(error) for error in internal_errors] == [OSError]
    internal_errors.clear()


async def test_where_there_are_no_more_threads_the_marker_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As at the end of a process: nothing is redacted on the loop that delivers."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with writing(str.upper) as (scribe, written):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            scribe.note(turn("hello"))
            await scribe.finish(10.0)
    assert [entry["text"] for entry in written] == [FAILED]
