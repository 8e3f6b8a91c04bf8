"""Handlers of livekit's events: none lets an error out, and all of them end at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from .._diagnostics import Guard

Handler = Callable[[Any], None]


class Subscriptions:
    """Subscribes handlers to emitters, until all are cancelled; keeps none of them alive."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._added: list[tuple[weakref.ref[Any], str, Handler]] = []
        self._active = True

    def add(self, emitter: Any, event: str, handler: Handler) -> None:
        guarded = self.guarded(event, handler)
        emitter.on(event, guarded)
        self._added.append((weakref.ref(emitter), event, guarded))

    def has(self, emitter: Any) -> bool:
        """Whether a handler is subscribed to any event of this emitter."""
        return any(emitter is known() for known, _, _ in self._added)

    def guarded(self, event: str, handler: Handler) -> Handler:
        """The handler as it may be called from livekit's code: it does nothing once cancelled."""

        def handle(argument: Any, *_: Any) -> None:
            if self._active:
                with self._guard(f"event {event}"):
                    handler(argument)

        return handle

    def mute(self) -> None:
        """The handlers do nothing from now on; safe on any thread."""
        self._active = False

    def cancel(self) -> None:
        """Ends all subscriptions, and forgets the emitters."""
        self._active = False
        for known, event, guarded in self._added:
            with self._guard("detaching"):
                if (emitter := known()) is not None:
                    emitter.off(event, guarded)
        self._added.clear()
