"""Looks ten times a second for what livekit has no event for: replaced audio, models and agents."""

from __future__ import annotations

import asyncio

from .._diagnostics import Guard
from .agents import AgentWatch
from .clock import WallClock
from .models import ModelWatch
from .taps import AudioTaps

LOOK_EVERY = 0.1  # seconds; the audio of a replaced input is lost until the next look


class Lookout:
    """Keeps taps and subscriptions where the session's audio, models and agent are now."""

    def __init__(
        self,
        taps: AudioTaps | None,
        models: ModelWatch,
        agents: AgentWatch,
        clock: WallClock,
        guard: Guard,
    ) -> None:
        self._taps = taps
        self._models = models
        self._agents = agents
        self._clock = clock
        self._guard = guard
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Looks now, because the session does something; the first time, looks regularly."""
        if self._timer is None:
            self._tick()
        else:
            self._look()

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._clock.look()
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._tick)
        self._look()
        with self._guard("taps"):
            if self._taps is not None:
                self._taps.report_listening()

    def _look(self) -> None:
        with self._guard("taps"):
            if self._taps is not None:
                self._taps.install()
        with self._guard("metrics"):
            self._models.check_replaced()
        with self._guard("agents"):
            self._agents.check_replaced()
