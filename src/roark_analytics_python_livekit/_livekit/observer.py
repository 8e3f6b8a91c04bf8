"""Subscribes to a session's events, and dispatches each to what makes records of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from .._call.records import EndRecord, Record, end_record
from .._diagnostics import Guard
from . import events
from .agents import AgentWatch
from .clock import WallClock
from .compat import is_running, probe
from .lookout import Lookout
from .models import ModelWatch
from .participants import RoomWatch
from .subscriptions import Handler, Subscriptions
from .taps import AudioTaps, EventQueue

ToRecords = Callable[[Any, events.ToMonotonic], list[Record]]


class SessionObserver:
    """Puts what a session does into the queue.

    `on_close` is called when the session has closed and its last speech is over.
    """

    def __init__(
        self,
        session: Any,
        queue: EventQueue,
        guard: Guard,
        on_close: Callable[[EndRecord], None],
        *,
        audio: bool,
        room: Any,
    ) -> None:
        can = probe()
        clock, put = WallClock(), queue.put_urgent
        self._session = session
        self._put = put
        self._guard = guard
        self._on_close = on_close
        self._events = can.events
        self._clock = clock
        self._subscriptions = Subscriptions(guard)
        self._room = RoomWatch(room, put, guard)
        self._agents = AgentWatch(session, put, records_handoffs=not can.handoff_items)
        self._models = ModelWatch(session, put, self._subscriptions, clock, counts_usage=can.usage)
        taps = AudioTaps(session, queue, guard, can, clock) if audio else None
        self._lookout = Lookout(taps, self._models, self._agents, clock, guard)
        self._last_speech: Any = None  # the one that went on when the session closed

    def attach(self) -> None:
        """Subscribes to the session's and the room's events."""
        for event, handler in self._handlers().items():
            if event in self._events:
                self._subscriptions.add(self._session, event, handler)
        self._models.begin()
        with self._guard("room"):
            self._room.begin()
        if is_running(self._session):
            self._lookout.wake()

    def detach(self, at: float) -> None:
        """Records what is known only at the end of the call, and ends the subscriptions."""
        with self._guard("the last look"):
            self._room.end()
            self._agents.check()
            self._models.end(at)
        self._lookout.stop()
        self._subscriptions.cancel()

    def is_cut_off(self, *, by_job: bool) -> bool:
        """Whether the message of a speech that does not reach its end is still to come.

        Args:
            by_job: The job shuts down, and closes the session at the same time.
        """
        if self._last_speech is not None:
            return bool(self._last_speech.interrupted)
        speech = self._session.current_speech
        return by_job and speech is not None and not speech.done()

    def _handlers(self) -> dict[str, Handler]:
        return {
            "speech_created": self._on_speech,
            "agent_state_changed": self._on_agent_state,
            "user_state_changed": self._on_user_state,
            "conversation_item_added": self._on_item,
            "user_input_transcribed": self._putting(events.transcribed),
            "function_tools_executed": self._putting(events.tools_executed),
            "tool_execution_updated": self._putting(events.tool_updated),
            "agent_false_interruption": self._putting(events.false_interruption),
            "overlapping_speech": self._putting(events.overlapping_speech),
            "user_transcription_timeout": self._putting(events.transcription_timeout),
            "error": self._on_error,
            "close": self._on_closed,
        }

    def _putting(self, to_records: ToRecords) -> Handler:
        return lambda event: self._put_all(to_records(event, self._clock.monotonic))

    # Speech and states are the first events of a session: its audio is set by then.

    def _on_speech(self, event: Any) -> None:
        self._lookout.wake()
        self._agents.check()
        self._agents.speech_begins(event.speech_handle)

    def _on_agent_state(self, event: Any) -> None:
        self._lookout.wake()
        self._put_all(events.state_changed(event, self._clock.monotonic, of_agent=True))

    def _on_user_state(self, event: Any) -> None:
        self._lookout.wake()
        self._put_all(events.state_changed(event, self._clock.monotonic, of_agent=False))
        self._put_all(events.user_away(event, self._clock.monotonic))

    def _on_item(self, event: Any) -> None:
        self._agents.check()
        speaker = self._agents.speaker()
        self._put_all(events.conversation_item(event, self._clock.monotonic, speaker))

    def _on_error(self, event: Any) -> None:
        at = self._clock.monotonic(getattr(event, "created_at", None))
        self._put(events.failed(event.error, at, getattr(event, "source", None)))

    def _on_closed(self, event: Any) -> None:
        # 1.0 closes the session before its last speech is over.
        speech = self._last_speech = self._session.current_speech
        if speech is None or speech.done():
            self._on_close(end_of(event))
        else:
            speech.add_done_callback(lambda _: self._on_close(end_of(event)))

    def _put_all(self, records: Iterable[Record]) -> None:
        for record in records:
            self._put(record)


def end_of(event: Any) -> EndRecord:
    """The session's `close` event as the end of the call."""
    at = time.monotonic()
    reason, error = getattr(event, "reason", None), getattr(event, "error", None)
    closed = "session_closed" if error is None else "error"  # 1.0 gives no reason
    failed = None if error is None else events.failed(error, at)
    return end_record(at, str(getattr(reason, "value", reason) or closed), error=failed)
