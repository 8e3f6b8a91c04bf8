"""The journal with `redact`: records in order, redacted off the loop, in bounded time."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from roark_analytics_python_livekit._call.privacy import FAILED
from roark_analytics_python_livekit._call.redactor import Journal
from roark_analytics_python_livekit._diagnostics import Guard
from tests.support.deliveries import until


@asynccontextmanager
async def writing(
    redact: Callable[[str], str] | None, **options: Any
) -> AsyncIterator[tuple[Any, list[Any]]]:
    """A journal at work, and what it has written."""
    written: list[Any] = []
    journal = Journal(written.append, redact, Guard(), **options)
    task = asyncio.ensure_future(journal.run())
    try:
        yield journal, written
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def turn(text: str) -> dict[str, Any]:
    """Something that was said."""
    return {"type": "turn", "text": text, "at": 1.0}


async def test_without_redact_everything_is_written_at_once() -> None:
    """In the very call."""
    async with writing(None) as (journal, written):
        journal.append(turn("hello"))
        assert [entry["text"] for entry in written] == ["hello"]
        await journal.finish(1.0)


async def test_the_order_is_kept_however_long_each_takes() -> None:
    """Also of what needs no redaction."""
    threads = set()

    def redact(text: str) -> str:
        threads.add(threading.current_thread())
        return text.upper()

    async with writing(redact) as (journal, written):
        for number in range(20):
            journal.append(turn(f"turn {number}"))
            journal.append({"type": "state", "number": number})
        await journal.finish(5.0)
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

    async with writing(redact) as (journal, written):
        journal.append(turn("first"))
        journal.append(turn("second"))
        journal.append({"type": "end", "at": 1.0, "reason": "flushed"})
        await journal.finish(0.05)
        release.set()
    assert [entry.get("text", entry["type"]) for entry in written] == [FAILED, FAILED, "end"]
    assert journal.failures == 2


async def test_one_that_keeps_hanging_is_not_asked_again() -> None:
    """Each time holds a thread; three are enough."""
    release, asked = threading.Event(), []

    def redact(text: str) -> str:
        asked.append(text)
        release.wait(30)
        return text

    async with writing(redact, patience=0.02) as (journal, written):
        for number in range(6):
            journal.append(turn(str(number)))
        await journal.finish(20.0)
        release.set()
    assert [entry["text"] for entry in written] == [FAILED] * 6
    assert len(asked) == 3


async def test_a_backlog_without_end_is_not_kept() -> None:
    """Memory is bounded: what comes too fast is written with the marker."""
    async with writing(str.upper, max_waiting=2) as (journal, written):
        for number in range(5):
            journal.append(turn(f"turn {number}"))
        await journal.finish(5.0)
    assert [entry["text"] for entry in written] == [FAILED, FAILED, "TURN 2", "TURN 3", "TURN 4"]


async def test_the_end_cuts_what_is_being_redacted_already() -> None:
    """However patient it was with it: the end of the call has its own budget."""
    asked, release = threading.Event(), threading.Event()

    def redact(text: str) -> str:
        asked.set()
        release.wait(30)
        return text

    async with writing(redact, patience=3600.0) as (journal, written):
        journal.append(turn("first"))
        await until(asked.is_set)
        journal.append(turn("second"))
        await asyncio.wait_for(journal.finish(0.01), 20)
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

    async with writing(redact) as (journal, written):
        journal.begin(turn("first"))
        journal.append(turn("second"))
        begun = asyncio.ensure_future(journal.begun())
        await until(asked.is_set)
        assert [entry["text"] for entry in written] == [FAILED] and not begun.done()
        release.set()
        await asyncio.wait_for(begun, 20)
        await journal.finish(20.0)
    assert [entry["text"] for entry in written] == [FAILED, "FIRST", "SECOND"]
    assert journal.failures == 0


async def test_the_end_of_the_call_cuts_the_first_entry_too() -> None:
    """A redactor that hangs does not keep the call from being told of."""
    release = threading.Event()
    async with writing(lambda text: str(release.wait(30))) as (journal, written):
        journal.begin(turn("first"))
        await asyncio.wait_for(journal.finish(0.01), 20)
        await asyncio.wait_for(journal.begun(), 20)
        release.set()
    assert [entry["text"] for entry in written] == [FAILED, FAILED]
    assert journal.failures == 1


async def test_without_redact_the_first_entry_is_written_once() -> None:
    """As it is."""
    async with writing(None) as (journal, written):
        journal.begin(turn("first"))
        await asyncio.wait_for(journal.begun(), 20)
    assert [entry["text"] for entry in written] == ["first"]


async def test_patience_is_with_each_text() -> None:
    """One of a record takes too long: the others of that record are redacted all the same."""
    release, journals = threading.Event(), []

    def redact(text: str) -> str:
        journals[0]._worker.patience = 0.02 if text == "before" else 3600.0
        if text == "slow":
            release.wait(30)
        return text.upper()

    async with writing(redact, patience=3600.0) as (journal, written):
        journals.append(journal)
        journal.append(metadata("fine", "before", "slow", "after"))
        await asyncio.wait_for(journal.finish(20.0), 30)
        release.set()
    assert [entry["values"]["all"] for entry in written] == [["FINE", "BEFORE", FAILED, "AFTER"]]
    assert journal.failures == 1


async def test_the_end_leaves_what_was_redacted_by_then() -> None:
    """Of an entry that is being redacted, the texts that came before."""
    asked, release = threading.Event(), threading.Event()

    def redact(text: str) -> str:
        if text == "slow":
            asked.set()
            release.wait(30)
        return text.upper()

    async with writing(redact, patience=3600.0) as (journal, written):
        journal.append(metadata("one", "two", "slow", "three"))
        await until(asked.is_set)
        await asyncio.wait_for(journal.finish(0.01), 20)
        release.set()
    assert [entry["values"]["all"] for entry in written] == [["ONE", "TWO", FAILED, FAILED]]
    assert journal.failures == 2


async def test_one_that_comes_back_late_is_asked_again() -> None:
    """A service that was down for a while: its threads are free again."""
    release = threading.Event()

    def redact(text: str) -> str:
        release.wait(30)
        return text.upper()

    async with writing(redact, patience=0.02) as (journal, written):
        journal.append(metadata(*"abcd"))
        await until(lambda: written)
        journal._worker.patience = 3600.0
        release.set()
        await until(lambda: not redacting())
        journal.append(turn("hello"))
        await journal.finish(20.0)
    assert written[0]["values"]["all"] == [FAILED] * 4
    assert [entry["text"] for entry in written[1:]] == ["HELLO"]


async def test_no_thread_is_left_behind() -> None:
    """The end of the work is theirs."""
    async with writing(str.upper) as (journal, written):
        journal.append(turn("hello"))
        await journal.finish(20.0)
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

    async with writing(redact) as (journal, written):
        for text in ("fine", "bad", "too"):
            journal.append(turn(text))
        await asyncio.wait_for(journal.finish(10.0), 20)
    assert [entry["text"] for entry in written] == ["FINE", FAILED, "TOO"]
    assert journal.failures == 1


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", "`redact` raised ValueError"),
        ("gives nothing", "`redact` gave NoneType, not a text"),
        ("hangs", "`redact` took longer than 0.02 s"),
    ],
)
async def test_why_it_fails_is_said_once_while_the_call_goes_on(
    caplog: pytest.LogCaptureFixture, how: str, said: str
) -> None:
    """Not at the call's end, when everything is a marker; and without the text."""
    release = threading.Event()

    def redact(text: str) -> Any:
        if how == "raises":
            raise ValueError(text)
        return release.wait(30) and None if how == "hangs" else None

    async with writing(redact, patience=0.02 if how == "hangs" else 30.0) as (journal, _):
        for _number in range(3):
            journal.append(turn("canary"))
        await asyncio.wait_for(journal.finish(20.0), 30)
        release.set()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"roark: {said}: a marker stands in such a text's place"]


async def test_an_entry_that_cannot_be_written_costs_that_entry_only(
    internal_errors: list[Exception],
) -> None:
    """Those behind it are written, and the end is not waited for in vain."""
    written: list[str] = []

    def write(entry: Mapping[str, Any]) -> None:
        if entry["text"] == "BAD":
            raise OSError
        written.append(entry["text"])

    journal = Journal(write, str.upper, Guard())
    task = asyncio.ensure_future(journal.run())
    for text in ("fine", "bad", "too"):
        journal.append(turn(text))
    await asyncio.wait_for(journal.finish(10.0), 20)
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

    async with writing(str.upper) as (journal, written):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            journal.append(turn("hello"))
            await journal.finish(10.0)
    assert [entry["text"] for entry in written] == [FAILED]


async def test_one_that_holds_the_interpreter_is_named_once_with_the_figure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A pattern that backtracks: no other thread runs meanwhile, the agent's neither."""
    pattern = re.compile("(a|aa)+$")

    def redact(text: str) -> str:
        began = time.thread_time()
        for more in range(12, 40):
            pattern.match("a" * more + "!")
            if time.thread_time() - began > 0.5:
                break
        return text.upper()

    async with writing(redact, patience=3600.0) as (journal, written):
        journal.append(metadata("one", "two"))
        await asyncio.wait_for(journal.finish(60.0), 60)
    assert [entry["values"]["all"] for entry in written] == [["ONE", "TWO"]]
    (said,) = re.findall(r"`redact` held the interpreter for (\d+) ms", caplog.text)
    assert int(said) >= 100


async def test_one_that_waits_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    """For a service, or another process: everybody else runs meanwhile."""

    def redact(text: str) -> str:
        time.sleep(0.3)
        return text.upper()

    async with writing(redact) as (journal, written):
        journal.append(turn("hello"))
        await asyncio.wait_for(journal.finish(60.0), 60)
    assert [entry["text"] for entry in written] == ["HELLO"]
    assert "held" not in caplog.text
