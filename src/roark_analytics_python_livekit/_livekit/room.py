"""Who is in the room beside the agent, and which keys they press."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from livekit import rtc

from .._call.records import DtmfRecord, Record
from .._diagnostics import Guard
from . import participants as _snapshots


class RoomWatch:
    """Tells of the caller, whether there already or joining later, and of DTMF.

    Args:
        room: LiveKit's room; anything else (a console's mock) is left alone.
        put: Takes a record.
        guard: Keeps this package's errors from the agent.
    """

    def __init__(self, room: Any, put: Callable[[Record], None], guard: Guard) -> None:
        self._room = room if isinstance(room, rtc.EventEmitter) else None
        self._put = put
        self._guard = guard
        self._caller: Any = None
        self._told: dict[str, Any] = {}
        self._handlers = {
            "participant_connected": self._guarded(self._on_connected),
            "sip_dtmf_received": self._guarded(self._on_dtmf),
        }

    def begin(self) -> None:
        """Looks who is there, and listens."""
        if self._room is None:
            return
        for event, handler in self._handlers.items():
            self._room.on(event, handler)
        for participant in participants(self._room):
            self._on_connected(participant)

    def end(self) -> None:
        """Says what has become known of the caller since, and listens no more."""
        if self._room is None:
            return
        for event, handler in self._handlers.items():
            self._room.off(event, handler)
        if self._caller is not None:
            self._tell(self._caller)

    def _guarded(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        def handle(event: Any) -> None:
            with self._guard("room"):
                handler(event)

        return handle

    def _on_connected(self, participant: Any) -> None:
        if self._caller is None and _snapshots.is_caller(participant):
            self._caller = participant
            self._tell(participant)

    def _on_dtmf(self, event: Any) -> None:
        record: DtmfRecord = {"type": "dtmf", "digit": str(event.digit), "at": time.monotonic()}
        self._put(record)

    def _tell(self, participant: Any) -> None:
        record = _snapshots.participant(participant, time.monotonic())
        facts = {name: value for name, value in record.items() if name != "at"}
        if facts != self._told:
            self._told = facts
            self._put(record)


def participants(room: Any) -> Iterator[Any]:
    """Those in the room beside the agent itself."""
    known = getattr(room, "remote_participants", None)
    if isinstance(known, dict):
        yield from known.values()
