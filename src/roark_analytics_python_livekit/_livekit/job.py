"""What a LiveKit job says: the call's id, its shutdown, who is in its room, which keys they press.

A console's job consists of mocks: any attribute may be there, and be anything.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

from livekit import rtc

from .._call.records import DtmfRecord, ParticipantRecord, Record
from .._diagnostics import Guard, logger
from .._serialize import clean_text
from .subscriptions import Subscriptions

SIP = "sip."  # the prefix of LiveKit's own attributes of a telephone call
_NOT_A_CALLER = frozenset({"agent", "egress", "ingress"})


def call_id(ctx: Any) -> str | None:
    """The room's session id, else the job's id, else None."""
    return (
        _text(ctx, "job", "room", "sid")
        or _result_at_hand(_attribute(ctx, "room", "sid"))
        or _text(ctx, "job", "id")
    )


def job_facts(ctx: Any) -> dict[str, str]:
    """jobId, roomName, roomSid and participantIdentity, as far as they are known by now."""
    callers = filter(_is_caller, _participants(room_of(ctx)))
    facts = {
        "jobId": _text(ctx, "job", "id"),
        "roomName": _text(ctx, "job", "room", "name") or _text(ctx, "room", "name"),
        "roomSid": _text(ctx, "job", "room", "sid"),
        "participantIdentity": _text(next(callers, None), "identity"),
    }
    return {name: value for name, value in facts.items() if value}


def room_of(ctx: Any) -> Any:
    return _attribute(ctx, "room")


def on_shutdown(ctx: Any, callback: Callable[[str], Any]) -> None:
    """Registers a coroutine function for the job's shutdown.

    livekit reads the callback's `__code__`: on some versions only plain functions will do.
    """

    async def at_shutdown(reason: str) -> None:
        await callback(reason or "job_shutdown")

    try:
        ctx.add_shutdown_callback(at_shutdown)
    except Exception as error:
        logger.warning("roark: no shutdown callback (%s); aflush() by hand", type(error).__name__)


def _attribute(value: Any, *path: str) -> Any:
    for name in path:
        try:
            value = getattr(value, name, None)
        except Exception:
            return None
    return value


def _text(value: Any, *path: str) -> str | None:
    found = _attribute(value, *path)
    return found if isinstance(found, str) and found.strip() else None


def _result_at_hand(value: Any) -> str | None:
    """The text that a coroutine returns without waiting; one that would wait is closed."""
    if isinstance(value, str):
        return value or None
    if not inspect.iscoroutine(value):
        return None
    try:
        value.send(None)
    except StopIteration as done:
        return done.value if isinstance(done.value, str) and done.value else None
    except Exception:
        return None
    value.close()
    return None


class RoomWatch:
    """Records the caller, whether already there or joining later, and DTMF.

    Only LiveKit's own room is listened to: a console has a mock in its place.
    """

    def __init__(self, room: Any, put: Callable[[Record], None], guard: Guard) -> None:
        self._room = room if isinstance(room, rtc.EventEmitter) else None
        self._put = put
        self._subscriptions = Subscriptions(guard)
        self._caller: Any = None
        self._recorded: dict[str, Any] = {}  # of the caller, but for the time

    def begin(self) -> None:
        """Subscribes to the room's events, and records a caller who is there."""
        if self._room is None:
            return
        self._subscriptions.add(self._room, "participant_connected", self._on_connected)
        self._subscriptions.add(self._room, "sip_dtmf_received", self._on_dtmf)
        for participant in _participants(self._room):
            self._on_connected(participant)

    def end(self) -> None:
        """Records what has become known of the caller since, and ends the subscriptions."""
        self._subscriptions.cancel()
        if self._caller is not None:
            self._record(self._caller)

    def _on_connected(self, participant: Any) -> None:
        if self._caller is None and _is_caller(participant):
            self._caller = participant
            self._record(participant)

    def _on_dtmf(self, event: Any) -> None:
        self._put(DtmfRecord(type="dtmf", digit=str(event.digit), at=time.monotonic()))

    def _record(self, participant: Any) -> None:
        record = participant_record(participant, time.monotonic())
        facts = {name: value for name, value in record.items() if name != "at"}
        if facts != self._recorded:
            self._recorded = facts
            self._put(record)


def _participants(room: Any) -> list[Any]:
    """Those in the room beside the agent itself."""
    known = getattr(room, "remote_participants", None)
    return list(known.values()) if isinstance(known, dict) else []


def participant_record(participant: Any, at: float) -> ParticipantRecord:
    """A participant's identity, kind, and LiveKit's attributes of the telephone call."""
    attributes = getattr(participant, "attributes", None)
    known = attributes if isinstance(attributes, Mapping) else {}
    left = getattr(participant, "disconnect_reason", None)
    return {
        "type": "participant",
        "identity": str(getattr(participant, "identity", "") or ""),
        "sid": str(getattr(participant, "sid", "") or ""),
        "name": str(getattr(participant, "name", "") or ""),
        "kind": _kind(participant),
        "left": _named(rtc.DisconnectReason, left),  # user_rejected, ...; "" while not known
        "attributes": {
            str(name): clean_text(str(value), 1000)
            for name, value in sorted(known.items())
            if str(name).startswith(SIP)
        },
        "at": at,
    }


def _is_caller(participant: Any) -> bool:
    """Whether this may be the one who talks to the agent."""
    return _kind(participant) not in _NOT_A_CALLER


def _kind(participant: Any) -> str:
    """standard, sip, agent, ... as LiveKit names it."""
    name = _named(rtc.ParticipantKind, getattr(participant, "kind", None))
    return name.removeprefix("participant_kind_") or "unknown"


def _named(enum: Any, number: object) -> str:
    """The name of a number in one of LiveKit's enums, or "" for anything else."""
    try:
        return str(enum.Name(number)).lower()
    except (TypeError, ValueError):
        return ""
