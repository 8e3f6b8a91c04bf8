"""Writes a call's journal in order, each entry redacted before it is stored or sent."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ._guard import Guard
from ._redaction import Redactor

PATIENCE = 10.0  # seconds for the redaction of one entry, which may ask a service
MAX_WAITING = 2_000  # entries; with more, `redact` is slower than the call
MAX_HANGING = 3  # calls of `redact` that never came back: each holds a thread

Entry = Mapping[str, Any]


class Scribe:
    """Hands entries on as they come, or, where there is something to redact, redacted and in order.

    `redact` runs on a thread of its own, so that however slow it is, sound and delivery go on. An
    entry whose redaction does not come back in time has the marker in the place of its texts.

    Args:
        write: Stores an entry.
        redactor: None writes everything as it is, at once.
        guard: Counts what cannot be written.
    """

    def __init__(
        self, write: Callable[[Entry], None], redactor: Redactor | None, guard: Guard
    ) -> None:
        self._write = write
        self._redactor = redactor
        self._guard = guard
        self._waiting: asyncio.Queue[Entry] = asyncio.Queue()
        self._working: asyncio.Future[Entry | None] | None = None
        self._hanging = 0
        self._is_late = False

    @property
    def failures(self) -> int:
        """How many texts could not be redacted, and were replaced by the marker."""
        return 0 if self._redactor is None else self._redactor.failures

    def note(self, entry: Entry) -> None:
        """Takes the next entry."""
        if self._redactor is None:
            self._write(entry)
        else:
            self._waiting.put_nowait(entry)

    async def run(self) -> None:
        """Writes what was noted, for ever."""
        while True:
            entry = await self._waiting.get()
            try:
                with self._guard("writing"):
                    self._write(await self._redacted(entry, PATIENCE))
            finally:
                self._waiting.task_done()

    async def begin(self, entry: Entry, timeout: float) -> None:
        """Writes the first entry, before anything else is noted, after `timeout` s at most."""
        self._write(await self._redacted(entry, min(PATIENCE, timeout)))

    async def finish(self, timeout: float) -> None:
        """Writes everything that was noted, in `timeout` seconds at most."""
        cut = asyncio.get_running_loop().call_later(timeout, self._cut)
        await self._waiting.join()
        cut.cancel()

    def _cut(self) -> None:
        """There is no time left: neither for what is being redacted, nor for the rest."""
        self._is_late = True
        if self._working is not None and not self._working.done():
            self._working.set_result(None)

    async def _redacted(self, entry: Entry, patience: float) -> Entry:
        redactor = self._redactor
        if redactor is None or not redactor.concerns(entry):
            return entry
        if self._is_late or self._hanging >= MAX_HANGING or self._waiting.qsize() > MAX_WAITING:
            return redactor.withheld(entry)
        self._working = working = _on_a_thread(lambda: redactor.entry(entry))
        await asyncio.wait({working}, timeout=patience)
        if working.done() and (redacted := working.result()) is not None:
            self._hanging = 0
            return redacted
        self._hanging += not working.done()
        return redactor.withheld(entry)


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
        threading.Thread(target=run, name="roark-redact", daemon=True).start()
    except RuntimeError:  # there can be no more threads
        settle(None)
    return done
