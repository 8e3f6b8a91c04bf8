"""What a LiveKit job says of itself: the call's id, facts of the room, and when it shuts down.

A console's job consists of mocks: any attribute may be there, and be anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .._diagnostics import logger
from .participants import is_caller, participants


def call_id(ctx: Any) -> str | None:
    """The room's session id, else the job's id, else None."""
    return (
        _text(ctx, "job", "room", "sid")
        or _result_at_hand(_attribute(ctx, "room", "sid"))
        or _text(ctx, "job", "id")
    )


def job_facts(ctx: Any) -> dict[str, str]:
    """jobId, roomName, roomSid and participantIdentity, as far as they are known by now."""
    callers = filter(is_caller, participants(room_of(ctx)))
    facts = {
        "jobId": _text(ctx, "job", "id"),
        "roomName": _text(ctx, "job", "room", "name") or _text(ctx, "room", "name"),
        "roomSid": _text(ctx, "job", "room", "sid"),
        "participantIdentity": _text(next(callers, None), "identity"),
    }
    return {name: value for name, value in facts.items() if value}


def room_of(ctx: Any) -> Any:
    """The job's room, or whatever stands in its place."""
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
