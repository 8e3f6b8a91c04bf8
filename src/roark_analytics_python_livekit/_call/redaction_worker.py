"""Writes a call's journal in order, each entry redacted before it is stored or sent."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .._diagnostics import Guard
from .redactor import FAILED, Redact, Redactor

PATIENCE = 10.0  # seconds for the redaction of one text, which may ask a service
MAX_WAITING = 2_000  # entries; with more, `redact` is slower than the call
MAX_HANGING = 3  # calls of `redact` that have not come back: each holds a thread

Entry = Mapping[str, Any]


class Scribe:
    """Hands entries on as they come, or, where there is something to redact, redacted and in order.

    `redact` runs on a thread of its own, so that however slow it is, sound and delivery go on. A
    text whose redaction does not come back in time has the marker in its place.

    Args:
        write: Stores an entry.
        redact: None writes everything as it is, at once.
        guard: Counts what cannot be written.
    """

    def __init__(self, write: Callable[[Entry], None], redact: Redact | None, guard: Guard) -> None:
        self._write = write
        self._asking = None if redact is None else _Asking(redact)
        self._redactor = None if self._asking is None else Redactor(self._asking)
        self._guard = guard
        self._waiting: asyncio.Queue[Entry] = asyncio.Queue()
        self._begun = asyncio.Event()
        self._is_late = False

    @property
    def failures(self) -> int:
        """How many texts could not be redacted, and were replaced by the marker."""
        return 0 if self._redactor is None else self._redactor.failures

    def begin(self, entry: Entry) -> None:
        """Takes the first entry, without which the others cannot be understood.

        It is written at once, with the marker in the place of its texts until they are redacted:
        the process may die meanwhile.
        """
        if self._redactor is not None:
            self._write(Redactor(lambda text: FAILED).entry(entry))
        self.note(entry)

    def note(self, entry: Entry) -> None:
        """Takes the next entry."""
        if self._redactor is None:
            self._write(entry)
            self._begun.set()
        else:
            self._waiting.put_nowait(entry)

    async def begun(self) -> None:
        """Waits until the first entry is written as it will be told."""
        await self._begun.wait()

    async def run(self) -> None:
        """Writes what was noted, for ever."""
        try:
            while True:
                entry = await self._waiting.get()
                try:
                    with self._guard("writing"):
                        self._write(await self._redacted(entry))
                finally:
                    self._begun.set()
                    self._waiting.task_done()
        finally:
            self._cut()

    async def finish(self, timeout: float) -> None:
        """Writes everything that was noted, in `timeout` seconds at most."""
        cut = asyncio.get_running_loop().call_later(timeout, self._cut)
        await self._waiting.join()
        cut.cancel()

    def _cut(self) -> None:
        """There is no time left: neither for what is being redacted, nor for the rest."""
        self._is_late = True
        if self._asking is not None:
            self._asking.stop()

    async def _redacted(self, entry: Entry) -> Entry:
        redactor = self._redactor
        if redactor is None or not redactor.concerns(entry):
            return entry
        if self._is_late or self._waiting.qsize() > MAX_WAITING:
            return redactor.withheld(entry)
        redacted = await _on_a_thread(lambda: redactor.entry(entry))
        return redacted if redacted is not None else redactor.withheld(entry)


class _Asking:
    """`redact` with an end to the patience with each text: then there is no answer.

    The thread that asks waits; another one answers, and is left alone if it takes too long.
    """

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._hanging: list[_Worker] = []
        self._is_over = False

    def __call__(self, text: str) -> Any:
        """What `redact` gives; None if it raises, takes too long, or cannot be asked any more."""
        with self._lock:
            self._hanging = [worker for worker in self._hanging if worker.is_alive()]
            if self._is_over or len(self._hanging) >= MAX_HANGING:
                return None
            worker = self._worker = self._worker or _Worker(self._redact)
            patience = PATIENCE
            worker.texts.put(text)
        try:
            return worker.answers.get(timeout=patience)
        except queue.Empty:
            with self._lock:
                worker.texts.put(None)
                self._hanging.append(worker)
                self._worker = None
            return None

    def stop(self) -> None:
        """Whoever waits for an answer has none; nor has anybody from now on."""
        with self._lock:
            self._is_over = True
            if self._worker is not None:
                self._worker.answers.put(None)
                self._worker.texts.put(None)


class _Worker:
    """A thread that answers one text after the other, until it is given None.

    Raises:
        RuntimeError: There can be no more threads.
    """

    def __init__(self, redact: Redact) -> None:
        self.texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._redact = redact
        self._thread = threading.Thread(target=self._run, name="roark-redact", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it is at work, or may be."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while (text := self.texts.get()) is not None:
            answer = None
            with contextlib.suppress(BaseException):  # on this thread it ends nothing by that
                answer = self._redact(text)
            self.answers.put(answer)


def _on_a_thread(work: Callable[[], Entry]) -> asyncio.Future[Entry | None]:
    """Gives the result of `work`, or None if it raised; its thread keeps no process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Entry | None] = loop.create_future()

    def settle(result: Entry | None) -> None:
        if not done.done():
            done.set_result(result)

    def run() -> None:
        result = None
        with contextlib.suppress(BaseException):
            result = work()
        with contextlib.suppress(RuntimeError):  # the loop is closed by now
            loop.call_soon_threadsafe(settle, result)

    try:
        threading.Thread(target=run, name="roark-redaction", daemon=True).start()
    except RuntimeError:  # there can be no more threads
        settle(None)
    return done
