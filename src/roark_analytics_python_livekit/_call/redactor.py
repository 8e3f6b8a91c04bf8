"""Applies `redact` to the call's records on its worker, text by text, and writes them in order."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .._diagnostics import Guard, logger
from .._serialize import MAX_TEXT, CutText, clean_text
from .privacy import FAILED, Redact, is_private, redacted
from .records import Record

PATIENCE = 10.0  # seconds for the redaction of one text, which may ask a service
MAX_WAITING = 2_000  # records; with more, `redact` is slower than the call
MAX_HANGING = 3  # calls of `redact` that have not come back: each holds a thread
HELD = 0.1  # seconds without the interpreter after which it is said: a caller hears that
LOOK = 0.02  # seconds between two looks at whether the loop still runs
HALVED = 256  # characters at the end of a text that was cut: what is halved there is no longer

Write = Callable[[Record], None]
Tell = Callable[[object, float], None]
"""Told: what `redact` gave, and the seconds that it computed."""


class Journal:
    """Writes each record behind the one before it, once its private texts are redacted.

    However slow `redact` is, sound and delivery go on. A text whose redaction does not come back in
    time has the marker in its place. Without `redact`, each record is written as it comes.
    """

    def __init__(
        self,
        write: Write,
        redact: Redact | None,
        guard: Guard,
        *,
        patience: float = PATIENCE,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self.failures = 0
        self._write = write
        self._worker = None if redact is None else RedactionWorker(redact, patience)
        self._guard = guard
        self._max_waiting = max_waiting
        self._waiting: asyncio.Queue[Record] = asyncio.Queue()
        self._begun = asyncio.Event()

    def begin(self, record: Record) -> None:
        """Takes the first record, without which the others cannot be understood.

        The process may die while it is redacted: it is written at once, with the marker for texts.
        """
        if self._worker is not None:
            self._write(redacted(record, lambda text: FAILED))
        self.append(record)

    def append(self, record: Record) -> None:
        """Takes the next record."""
        if self._worker is None:
            self._write(record)
            self._begun.set()
        else:
            self._waiting.put_nowait(record)

    async def begun(self) -> None:
        """Waits until the first record is written as it will be sent."""
        await self._begun.wait()

    async def run(self) -> None:
        """Writes what was appended, until it is cancelled."""
        try:
            while True:
                record = await self._waiting.get()
                try:
                    with self._guard("writing"):
                        self._write(await self._redacted(record))
                finally:
                    self._begun.set()
                    self._waiting.task_done()
        finally:
            self._stop()

    async def finish(self, timeout: float) -> None:
        """Writes everything that was appended, in `timeout` seconds at most."""
        stopping = asyncio.get_running_loop().call_later(timeout, self._stop)
        await self._waiting.join()
        stopping.cancel()

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()

    async def _redacted(self, record: Record) -> Record:
        if self._worker is None or not is_private(record):
            return record
        answers: dict[str, str] = {}
        if self._waiting.qsize() <= self._max_waiting:
            for text in _private_texts(record):
                answer = await self._worker.redact(text)
                if answer is not None:
                    answers[text] = answer

        def answered(text: str) -> str:
            self.failures += text not in answers
            return answers.get(text, FAILED)

        return redacted(record, answered)


def _private_texts(record: Mapping[str, Any]) -> list[str]:
    """The texts that are to be redacted, each once."""
    texts: dict[str, None] = {}

    def collect(text: str) -> str:
        texts[text] = None
        return text

    redacted(record, collect)
    return list(texts)


def usable(text: str, answer: object) -> str | None:
    """What may be stored of what `redact` gave for a text; None where that is no text.

    Of a text that was cut, the end is left out: `redact` cannot recognise what is halved there.
    """
    if inspect.iscoroutine(answer):
        answer.close()
    if not isinstance(answer, str):
        return None
    if isinstance(text, CutText):
        whole = str.__str__(answer)
        kept = whole[: max(0, len(whole) - HALVED)]
        answer = CutText(kept, text.missing + len(whole) - len(kept))
    return clean_text(answer, 2 * MAX_TEXT)


class _Raised(NamedTuple):
    """What `redact` gave instead of an answer."""

    error: str


_NOT_IN_TIME = _Raised("")


class RedactionWorker:
    """Asks `redact` on a thread of its own, one text after the other.

    A thread that does not come back in time is left alone, and another one takes its place; not
    more than `MAX_HANGING` of them at a time.
    """

    def __init__(self, redact: Redact, patience: float) -> None:
        self.patience = patience  # seconds for one text
        self._redact = redact
        self._thread: _Thread | None = None
        self._hanging: list[_Thread] = []
        self._answer: asyncio.Future[Any] | None = None
        self._is_stopped = False
        self._has_complained = False
        self._has_failed = False

    async def redact(self, text: str) -> str | None:
        """The redacted text; None where `redact` raised, took too long, or gave no text."""
        answer = await self._ask(text.kept if isinstance(text, CutText) else text)
        if (redacted := usable(text, answer)) is None:
            self._say_failed(answer)
        return redacted

    def _say_failed(self, answer: object) -> None:
        """Says once why a marker stands in a text's place: while the call goes on."""
        if self._has_failed or self._is_stopped:
            return
        self._has_failed = True
        why = f"gave {type(answer).__name__}, not a text"
        if answer is _NOT_IN_TIME:
            why = f"took longer than {self.patience:g} s"
        elif isinstance(answer, _Raised):
            why = f"raised {answer.error}"
        logger.warning("roark: `redact` %s: a marker stands in such a text's place", why)

    def stop(self) -> None:
        """Nobody is asked any more, and whoever waits for an answer has none."""
        self._is_stopped = True
        self._settle(self._answer, None)
        if self._thread is not None:
            self._thread.texts.put(None)

    async def _ask(self, text: str) -> Any:
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if self._is_stopped or len(self._hanging) >= MAX_HANGING:
            return None
        loop = asyncio.get_running_loop()
        answer = self._answer = loop.create_future()
        lateness = Lateness(loop)

        def settle(given: object, computed: float) -> None:
            self._complain(min(lateness.stop(), computed), text)
            self._settle(answer, given)

        def tell(given: object, computed: float) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed by now
                loop.call_soon_threadsafe(settle, given, computed)

        try:
            thread = self._thread = self._thread or _Thread(self._redact)
        except RuntimeError:  # there can be no more threads
            return None
        thread.texts.put((text, tell))
        lateness.begin()
        try:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                return await asyncio.wait_for(answer, self.patience)
        finally:
            lateness.stop()
        thread.texts.put(None)
        self._hanging.append(thread)
        self._thread = None
        return _NOT_IN_TIME

    def _complain(self, held: float, text: str) -> None:
        """Says once that `redact` lets nobody else run: neither the loop, nor the agent."""
        if held >= HELD and not self._has_complained:
            self._has_complained = True
            logger.warning(
                "roark: `redact` held the interpreter for %d ms over a text of %d characters: the "
                "agent stood still meanwhile; it should run in another process",
                round(held * 1000),
                len(text),
            )

    @staticmethod
    def _settle(answer: asyncio.Future[Any] | None, given: object) -> None:
        if answer is not None and not answer.done():
            answer.set_result(given)


class Lateness:
    """How late a loop came to a timer at worst: so long another thread did not let it run.

    Together with the time that the other one computed: a busy machine makes both of them wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._worst = 0.0  # seconds
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Looks every now and then, from now on."""
        self._due = self._loop.time() + LOOK
        self._timer = self._loop.call_at(self._due, self._look)

    def stop(self) -> float:
        """Looks for the last time; seconds."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._note()
        return self._worst

    def _look(self) -> None:
        self._note()
        self.begin()

    def _note(self) -> None:
        self._worst = max(self._worst, self._loop.time() - self._due)


class _Thread(threading.Thread):
    """Answers one text after the other, until it is given None."""

    def __init__(self, redact: Redact) -> None:
        super().__init__(name="roark-redact", daemon=True)
        self.texts: queue.SimpleQueue[tuple[str, Tell] | None] = queue.SimpleQueue()
        self._redact = redact
        self.start()

    def run(self) -> None:
        """Asks for each text, and tells the answer; None where there is none."""
        while (asked := self.texts.get()) is not None:
            text, tell = asked
            answer: object = None
            began = time.thread_time()
            try:
                answer = self._redact(text)
            except BaseException as error:  # on this thread it ends nothing by that
                answer = _Raised(type(error).__name__)
            tell(answer, time.thread_time() - began)
