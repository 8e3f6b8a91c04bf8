"""The table that `cost.py` prints: medians over the rounds, and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

NONE, OURS, OLD = "none", "this library", "old"
THEIRS = "published 0.1.0"


@dataclass(frozen=True)
class Case:
    """What is run: so many sessions, and how the service behaves."""

    livekit: str
    sessions: int
    service: str = "healthy"

    @property
    def name(self) -> str:
        """How many sessions, and the service where it is not healthy."""
        sessions = "1 session" if self.sessions == 1 else f"{self.sessions} sessions"
        return sessions + ("" if self.service == "healthy" else f", {self.service} service")


Figures = dict[str, float | None]


@dataclass(frozen=True)
class Result:
    """The figures of one process."""

    case: Case
    variant: str
    round: int
    figures: Figures


class Measure:
    """A row of the table for each case.

    Args:
        key: Of the figures.
        name: What the row says.
        digits: After the point.
        subtract: Whether what "none" took is taken away.
        healthy: None for any service; True only where it is healthy, False only where it is not.
    """

    def __init__(
        self,
        key: str,
        name: str,
        digits: int = 1,
        *,
        subtract: bool = False,
        healthy: bool | None = None,
    ) -> None:
        self.key, self.name, self.digits = key, name, digits
        self.subtract, self.healthy = subtract, healthy


MEASURES = (
    Measure("cpu", "CPU-s per call-minute", 3, subtract=True),
    Measure("stall", "worst stall, ms"),
    Measure("stall_attach", "– at attach, ms", healthy=True),
    Measure("stall_during", "– during, ms", healthy=True),
    Measure("stall_close", "– at close, ms", healthy=True),
    Measure("p999", "p99.9 of the loop, ms"),
    Measure("attach", "attach, the first, ms", 2, healthy=True),
    Measure("attach_later", "attach, later ones, ms", 2, healthy=True),
    Measure("close", "closed until call-ended accepted, worst, s", 2, healthy=True),
    Measure("over", "closed until the job may end, worst, s", 2, healthy=False),
    Measure("wakeups", "wake-ups/s of other threads", subtract=True, healthy=True),
    Measure("memory", "memory of all calls, MB", subtract=True),
    Measure("requests", "requests", 0),
    Measure("recorded", "recording delivered, %", 0),
    Measure("ended", "calls delivered", 0),
)


class Table:
    """Medians over the rounds of what was found."""

    def __init__(self, results: list[Result]) -> None:
        self._found = {(one.case, one.variant, one.round): one.figures for one in results}
        self._rounds = sorted({one.round for one in results})
        names = {one.variant for one in results}
        self.names = [name for name in (NONE, OURS, THEIRS, OLD) if name in names]
        self.cases = list(dict.fromkeys(one.case for one in results if one.case.sessions))

    def value(self, case: Case, variant: str, key: str, subtract: bool = False) -> float | None:
        """The median, without what "none" took in the same round where that is to be subtracted."""
        values = [
            value - bare
            for number in self._rounds
            if (value := self._figure(case, variant, number, key)) is not None
            and (bare := self._figure(case, NONE, number, key) if subtract else 0.0) is not None
        ]
        return statistics.median(values) if values else None

    def _figure(self, case: Case, variant: str, number: int, key: str) -> float | None:
        return self._found.get((case, variant, number), {}).get(key)

    def further(self, few: Case, many: Case, variant: str, subtract: bool) -> float | None:
        """MB of each call more than `few` up to `many`."""
        less, more = (self.value(case, variant, "memory", subtract) for case in (few, many))
        if less is None or more is None:
            return None
        return (more - less) / (many.sessions - few.sessions)

    def lines(self) -> Iterator[str]:
        yield f"| | {' | '.join(self.names)} | {OURS} / {THEIRS} |"
        yield f"|---|{'---|' * (len(self.names) + 1)}"
        for case in self.cases:
            for measure in MEASURES:
                if measure.healthy in (None, case.service == "healthy"):
                    yield self._line(case, measure)
        yield from self._memory()
        livekit = self.cases[0].livekit
        values = [self.value(Case(livekit, 0), name, "import") for name in self.names]
        yield self._row("import, ms", values, 1)

    def _line(self, case: Case, measure: Measure) -> str:
        values = [
            self.value(case, name, measure.key, measure.subtract and name != NONE)
            for name in self.names
        ]
        return self._row(f"{case.name}: {measure.name}", values, measure.digits)

    def _memory(self) -> Iterator[str]:
        counts = {case.sessions: case for case in self.cases if case.service == "healthy"}
        several = sorted(count for count in counts if count > 1)
        if 1 in counts:
            first = [self.value(counts[1], n, "memory", n != NONE) for n in self.names]
            yield self._row("memory, the first call, MB", first, 1)
        if len(several) > 1:
            few, many = counts[several[0]], counts[several[-1]]
            more = [self.further(few, many, name, name != NONE) for name in self.names]
            name = f"memory, each further call ({few.sessions} to {many.sessions}), MB"
            yield self._row(name, more, 2)

    def _row(self, name: str, values: list[float | None], digits: int) -> str:
        by_name = dict(zip(self.names, values, strict=True))
        ours, theirs = by_name.get(OURS), by_name.get(THEIRS)
        ratio = ours / theirs if ours and theirs and min(ours, theirs) > 0 else None
        cells = [_cell(value, digits) for value in values] + [_cell(ratio, 2)]
        return f"| {name} | {' | '.join(cells)} |"


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
