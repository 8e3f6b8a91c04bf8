"""One observed session from its first event to its end: decides when the call is over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from .._call.records import EndRecord, end_record
from .._diagnostics import Guard
from .observer import SessionObserver
from .taps import EventQueue

LAST_MESSAGE = 1.0  # seconds to wait for the message of a speech that is cut off; some never come


class Observation:
    """Observes a session until it closes; after that, it holds nothing of livekit.

    Args:
        session: The agent session.
        queue: Where records and audio go; the end of the call is the last record.
        guard: Keeps this package's errors from the agent.
        audio: Whether to tap the session's audio.
        room: Where the caller is.
    """

    def __init__(
        self,
        session: Any,
        queue: EventQueue,
        guard: Guard,
        *,
        audio: bool,
        room: Any = None,
    ) -> None:
        self._queue = queue
        self._over = asyncio.Event()
        self._observer: SessionObserver | None = SessionObserver(
            session, queue, guard, self._finish, audio=audio, room=room
        )

    def attach(self) -> None:
        """Subscribes to the session's events; the first of them brings the taps."""
        if self._observer is not None:
            self._observer.attach()

    async def end(self, reason: str, ended_by: str | None = None) -> None:
        """The call is over, whatever the session says.

        Waits only where the agent's last speech is cut off: its message comes any moment now.

        Args:
            reason: In a word.
            ended_by: Who did it, where the reason does not say.
        """
        if self._observer is None:
            return
        if self._observer.is_cut_off(by_job=ended_by == "worker"):
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._over.wait(), LAST_MESSAGE)
        self._finish(end_record(time.monotonic(), reason, ended_by=ended_by))

    def _finish(self, end: EndRecord) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.detach(end["at"])
            self._over.set()
            self._queue.put_urgent(end)
