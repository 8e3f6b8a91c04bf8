"""Writes a call's journal in order, each entry redacted before it is stored or sent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from ._redaction import Redactor

PATIENCE = 10.0  # seconds for the redaction of one entry, which may ask a service
MAX_WAITING = 2_000  # entries; with more, `redact` is slower than the call
MAX_HANGING = 3  # calls of `redact` that never came back: each holds a thread

Write = Callable[[Mapping[str, Any]], None]


class Scribe:
    """Hands entries on as they come, or, where there is something to redact, redacted and in order.

    `redact` runs on a thread of its own, so that however slow it is, sound and delivery go on. An
    entry whose redaction does not come back in time has the marker in the place of its texts.

    Args:
        write: Stores an entry.
        redactor: None writes everything as it is, at once.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        write: Write,
        redactor: Redactor | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._redactor = redactor
        self._clock = clock
        self._waiting: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self._hanging = 0
        self._deadline: float | None = None

    @property
    def failures(self) -> int:
        """How many texts could not be redacted, and were replaced by the marker."""
        return 0 if self._redactor is None else self._redactor.failures

    def note(self, entry: Mapping[str, Any]) -> None:
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
                self._write(await self._redacted(entry))
            finally:
                self._waiting.task_done()

    async def begin(self, entry: Mapping[str, Any]) -> None:
        """Writes the first entry, before anything else is noted."""
        self._write(await self._redacted(entry))

    async def finish(self, timeout: float) -> None:
        """Writes everything that was noted, in `timeout` seconds at most."""
        self._deadline = self._clock() + timeout
        await self._waiting.join()

    async def _redacted(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        redactor = self._redactor
        if redactor is None or not redactor.concerns(entry):
            return entry
        patience = self._patience()
        if patience <= 0:
            return redactor.withheld(entry)
        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(None, redactor.entry, entry)
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            redacted = await asyncio.wait_for(asyncio.shield(working), patience)
            self._hanging = 0
            return redacted
        self._hanging += 1
        working.add_done_callback(lambda late: late.cancelled() or late.exception())
        return redactor.withheld(entry)

    def _patience(self) -> float:
        if self._hanging >= MAX_HANGING or self._waiting.qsize() > MAX_WAITING:
            return 0.0
        if self._deadline is None:
            return PATIENCE
        return min(PATIENCE, self._deadline - self._clock())
