"""The one place that says when something was said.

What is known, best first: the sink played it then; livekit measured it; livekit's speaking states
around it; the time of the event itself. `_recording.levels` then finds the voice in the sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from .records import StateRecord, TurnRecord

LATE = 5.0  # seconds that a transcript may come after the turn that it belongs to

Voiced = Callable[[float, float], tuple[float, float]]
"""[start, end] of a turn → where the user's voice really begins and ends in the recording."""


class Played(Protocol):
    """A stretch of the agent's speech that was played."""

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...


@dataclass
class Span:
    """A stretch of speech, in monotonic seconds; the end is infinite while it goes on."""

    start: float
    end: float = inf


class Speech:
    """When one role spoke since its last turn, as livekit's states say."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    @property
    def is_open(self) -> bool:
        """Whether somebody is speaking."""
        return bool(self.spans) and self.spans[-1].end == inf

    def observe(self, record: StateRecord) -> None:
        """Takes a state of this role."""
        if not record["speaking"]:
            if self.is_open:
                self.spans[-1].end = record["at"]
        elif not self.is_open:
            self.spans.append(Span(record["at"]))

    def split(self, at: float) -> list[Span]:
        """Takes out the speech that had begun by a moment."""
        before = [span for span in self.spans if span.start <= at]
        self.spans = [span for span in self.spans if span.start > at]
        return before

    def clear(self) -> None:
        """The turn is complete: what follows belongs to the next."""
        self.spans = []


def place_played(turn: TurnRecord, played: Iterable[Played]) -> None:
    """Gives the agent's turn the time at which it was played.

    livekit adds a turn once it was played. What was played before the turn began belongs to no
    turn: speech that was said with `add_to_chat_ctx=False`.
    """
    own = [one for one in played if one.end > turn.get("start", one.start)]
    if own:
        turn["start"], turn["end"] = own[0].start, own[-1].end


def place_turn(turn: TurnRecord, spans: list[Span], voiced: Voiced | None) -> None:
    """Gives a turn the start and end that it lacks, and the user's their place in the sound."""
    if "start" not in turn:
        turn["start"] = spans[0].start if spans else turn["at"]
    if "end" not in turn:
        turn["end"] = spans[-1].end if spans and spans[-1].end < inf else turn["at"]
    if turn["role"] == "user" and voiced is not None:
        turn["start"], turn["end"] = voiced(turn["start"], turn["end"])
    turn["end"] = max(turn["start"], turn["end"])


class Moments:
    """When that may have been said which livekit reports now: rather too wide than too narrow."""

    def __init__(self, *, goes_on: bool, silence: float = inf) -> None:
        self._goes_on = goes_on  # after a report; not so the agent, whose turn is all of it
        self._silence = silence  # seconds, then a report belongs to none of the speech seen
        self._speech = Speech()
        self._reported = -inf

    def observe(self, record: StateRecord) -> None:
        """Takes a state of this role."""
        self._speech.observe(record)

    def take(self, at: float) -> list[tuple[float, float]]:
        """The [start, end] in which it may have been said; any time since, if nobody saw it."""
        seen = self._speech.spans
        moments = [(span.start, min(span.end, at)) for span in seen]
        silent_since = moments[-1][1] if moments else self._reported
        if not moments or at - silent_since > self._silence:
            moments.append((silent_since, at))
        goes_on = self._goes_on and self._speech.is_open
        self._speech.spans = [Span(max(seen[-1].start, at - LATE))] if goes_on else []
        self._reported = at
        return moments
