"""livekit's wall-clock times → monotonic ones, also where the wall clock is set in mid-call."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

SAME = 0.005  # seconds; a slewed clock (at most 500 ppm) differs by that only after ten seconds
NOTICED_WITHIN = 0.3  # seconds from the clock's setting to the next look: looks are 0.1 s apart
AHEAD = 1.0  # seconds that a time may lie in the future: livekit gives ends of audio that plays
REMEMBERED = 64  # settings of the clock
FAR = 86_400.0  # seconds; a time further away is none of this call: milliseconds, say, or 0


class WallClock:
    """Remembers how far the wall clock was ahead of the monotonic one, and since when.

    So a time from before the clock was set is read by the clock as it was then.
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
        """Remembers a new setting of the wall clock, if there is one; returns the monotonic now."""
        now = self._monotonic()
        ahead = self._wall() - now
        if not self._settings or abs(ahead - self._settings[-1][1]) > SAME:
            self._settings.append((now, ahead))
        return now

    def monotonic(self, wall: object) -> float:
        """The monotonic moment of a wall-clock time; now for None and for what cannot be one."""
        now = self.look()
        try:
            moment = self._read(float(wall), now)  # type: ignore[arg-type]  # it may be anything
        except (TypeError, ValueError, OverflowError):
            return now
        return moment if abs(moment - now) <= FAR else now  # nor infinity, nor NaN

    def _read(self, wall: float, now: float) -> float:
        until = now
        for number, (since, ahead) in reversed(list(enumerate(self._settings))):
            moment = wall - ahead
            if moment <= until + AHEAD and (number == 0 or moment >= since - NOTICED_WITHIN):
                return moment
            until = since
        return wall - self._settings[-1][1]
