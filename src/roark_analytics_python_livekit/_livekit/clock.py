"""livekit's wall-clock times as monotonic ones, also when the wall clock is set in mid-call."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

SAME = 0.005  # seconds; a clock that is slewed, not set, stays within that for ten seconds
NOTICED_WITHIN = 0.3  # seconds after which a clock that was set has been looked at
AHEAD = 1.0  # seconds that a time may lie in the future, as the end of what is being played does
REMEMBERED = 64  # settings of the clock
FAR = 86_400.0  # seconds: what is further away is no time of this call, but milliseconds, say, or 0


class WallClock:
    """Remembers since when the wall clock was how far from the monotonic one.

    A time from before the clock was set is read on the clock as it was then.

    Args:
        wall: Seconds since the epoch.
        monotonic: Seconds that only pass.
    """

    def __init__(
        self,
        wall: Callable[[], float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall or time.time
        self._monotonic = monotonic
        self._settings: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)
        self.look()

    def look(self) -> float:
        """Notes whether the wall clock was set since the last look; returns the monotonic now."""
        now = self._monotonic()
        ahead = self._wall() - now
        if not self._settings or abs(ahead - self._settings[-1][1]) > SAME:
            self._settings.append((now, ahead))
        return now

    def monotonic(self, wall: object) -> float:
        """The monotonic moment of a wall-clock time; None is now, and so is what cannot be one."""
        now = self.look()
        seconds = _seconds(wall)
        moment = now if seconds is None else self._read(seconds, now)
        return moment if abs(moment - now) <= FAR else now

    def _read(self, wall: float, now: float) -> float:
        until = now
        for number, (since, ahead) in reversed(list(enumerate(self._settings))):
            moment = wall - ahead
            if moment <= until + AHEAD and (number == 0 or moment >= since - NOTICED_WITHIN):
                return moment
            until = since
        return wall - self._settings[-1][1]


def _seconds(wall: object) -> float | None:
    try:
        seconds = float(wall)  # type: ignore[arg-type]  # asked for: it may be anything
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None
