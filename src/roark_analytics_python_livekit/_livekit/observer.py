"""Observes a session: dispatches its events, looks for the rest, decides when the call is over."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .._call.records import EndRecord, Record, end_record
from .._diagnostics import Guard
from . import events
from .agents import AgentWatch
from .clock import WallClock
from .compat import is_running, probe, started
from .job import RoomWatch
from .models import ModelWatch
from .subscriptions import Handler, Subscriptions
from .taps import AudioTaps, Receiver

LOOK_EVERY = 0.1  # seconds; the audio of a replaced input is lost until the next look
LAST_MESSAGE = 1.0  # seconds to wait for the message of a speech that is cut off; some never come

ToRecords = Callable[[Any, events.ToMonotonic], list[Record]]


class Observation:
    """Observes a session until it closes; keeps nothing of livekit alive.

    The end of the call is the last record that it puts. The session alone has its observer: where
    nobody has the session any more, the call is over.
    """

    def __init__(
        self, session: Any, queue: Receiver, guard: Guard, *, audio: bool, room: Any = None
    ) -> None:
        self._queue = queue
        self._guard = guard
        self._over = asyncio.Event()
        self._is_over = False
        observer = SessionObserver(session, queue, guard, self._finish, audio=audio, room=room)
        self._observer = weakref.ref(observer)
        self._lost = weakref.finalize(session, self._lose, observer.model_subscriptions)
        self._lost.atexit = False
        self._unattached: SessionObserver | None = observer

    @property
    def is_over(self) -> bool:
        """Whether the call has ended; the session may begin another one."""
        return self._is_over

    def attach(self) -> None:
        """Subscribes to the session's events; the first of them brings the taps."""
        observer, self._unattached = self._unattached, None
        if observer is not None:
            observer.attach()

    async def end(self, reason: str, ended_by: str | None = None) -> None:
        """The call is over, whatever the session says.

        Waits only where the agent's last speech is cut off: its message comes any moment now.
        `ended_by` says who did it, where the reason does not.
        """
        observer = self._observer()
        with self._guard("the last message"), contextlib.suppress(asyncio.TimeoutError):
            if observer is not None and observer.is_cut_off(by_job=ended_by == "worker"):
                await asyncio.wait_for(self._over.wait(), LAST_MESSAGE)
        self._finish(end_record(time.monotonic(), reason, ended_by=ended_by))

    def _finish(self, end: EndRecord) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._unattached = None
        self._lost.detach()
        if (observer := self._observer()) is not None:
            observer.detach(end["at"])
        self._over.set()
        self._queue.put_last(end)

    def _lose(self, models: Subscriptions) -> None:
        """Nobody has the session any more; called on whatever thread finds that."""
        models.mute()
        self._finish(end_record(time.monotonic(), "session_lost"))


class SessionObserver:
    """Puts what a session does into the queue.

    `on_close` is called when the session has closed and its last speech is over.
    """

    def __init__(
        self,
        session: Any,
        queue: Receiver,
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
        self.model_subscriptions = Subscriptions(guard)
        self._room = RoomWatch(room, put, guard)
        self._agents = AgentWatch(session, put, records_handoffs=not can.handoff_items)
        self._models = ModelWatch(
            weakref.ref(session), put, self.model_subscriptions, clock, counts_usage=can.usage
        )
        taps = AudioTaps(session, queue, guard, can, clock) if audio else None
        closing = ClosingWatch(session, on_close)
        self._lookout = Lookout(taps, self._models, self._agents, clock, guard, closing)
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
        self.model_subscriptions.cancel()

    def is_cut_off(self, *, by_job: bool) -> bool:
        """Whether the message of a speech that does not reach its end is still to come.

        A job that shuts down (`by_job`) closes the session at the same time.
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
        speaker, is_as_played = self._agents.speaker(), self._lookout.is_as_played
        to_monotonic = self._clock.monotonic
        self._put_all(events.conversation_item(event, to_monotonic, speaker, is_as_played))

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


class ClosingWatch:
    """Notices that a session has closed without telling: livekit does not where closing fails."""

    def __init__(self, session: Any, on_close: Callable[[EndRecord], None]) -> None:
        self._session = session
        self._on_close = on_close
        self._has_run = False
        self._silent_looks = 0

    def look(self) -> None:
        """Ends the call at the second look at a session that has stopped."""
        is_started = started(self._session)
        self._has_run |= is_started is True
        self._silent_looks += self._has_run and is_started is False
        if self._silent_looks == 2:
            self._on_close(end_record(time.monotonic(), "session_closed"))


@dataclass
class Lookout:
    """Looks ten times a second for what has no event: replaced audio, models and agents.

    On a loop with a clock of its own, which need not wait for a timer, it looks at events only.
    """

    taps: AudioTaps | None
    models: ModelWatch
    agents: AgentWatch
    clock: WallClock
    guard: Guard
    closing: ClosingWatch
    _timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Looks now, because the session does something; the first time, looks regularly."""
        if self._timer is None:
            self._tick()
        else:
            self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def is_as_played(self, text: str) -> bool:
        """Whether this is known to be what was played of an interrupted speech, or all of one."""
        return self.taps is None or self.taps.is_as_played(text)

    def _tick(self) -> None:
        self.clock.look()
        loop, now = asyncio.get_running_loop(), time.monotonic()
        self._timer = loop.call_later(LOOK_EVERY, self._on_timer, weakref.ref(self), now)
        self._look()
        with self.guard("taps"):
            if self.taps is not None:
                self.taps.report_listening()
        with self.guard("the end"):
            self.closing.look()

    @staticmethod
    def _on_timer(known: weakref.ref[Lookout], begun: float) -> None:
        """The loop, which has the timer, must not keep the session alive."""
        lookout = known()
        if lookout is not None and time.monotonic() - begun < LOOK_EVERY / 2:
            lookout._timer = None
        elif lookout is not None:
            lookout._tick()

    def _look(self) -> None:
        with self.guard("taps"):
            if self.taps is not None:
                self.taps.install()
        with self.guard("metrics"):
            self.models.check_replaced()
        with self.guard("agents"):
            self.agents.check_replaced()


def end_of(event: Any) -> EndRecord:
    """The session's `close` event as the end of the call."""
    at = time.monotonic()
    reason, error = getattr(event, "reason", None), getattr(event, "error", None)
    closed = "session_closed" if error is None else "error"  # 1.0 gives no reason
    failed = None if error is None else events.failed(error, at)
    return end_record(at, str(getattr(reason, "value", reason) or closed), error=failed)
