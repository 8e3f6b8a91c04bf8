"""Misbehaviour on request: what goes wrong, where, how often. Decisions only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast, get_args

Endpoint: TypeAlias = Literal["events", "chunk-upload-url", "uploads", "*"]
Kind: TypeAlias = Literal["status", "delay", "hang", "drop", "drop-answer"]


@dataclass(frozen=True)
class Fault:
    """One way to misbehave.

    Attributes:
        endpoint: Where: `events`, `chunk-upload-url`, `uploads`, or `*` for all three. The pages
            always work.
        kind: How: `status` answers with that status; `delay` answers late; `hang` never answers;
            `drop` closes the connection before the request is looked at; `drop-answer` does the
            work and then closes the connection, so that a careful client sends it again.
        status: What `status` answers.
        seconds: How late `delay` answers.
        retry_after: The Retry-After header of `status`, sent as it stands.
        count: How many requests are hit; None hits all.
        after: How many requests pass before the first is hit.
    """

    endpoint: Endpoint
    kind: Kind
    status: int = 503
    seconds: float = 0.0
    retry_after: str | None = None
    count: int | None = None
    after: int = 0

    @classmethod
    def parse(cls, spec: str) -> Fault:
        """Reads a fault as it is written on a command line.

        Args:
            spec: `ENDPOINT:KIND[,option=value...]`, for example `events:status=503,count=2`,
                `events:status=429,retry-after=1`, `chunk-upload-url:delay=1.5`,
                `uploads:drop,count=1,after=2` or `*:hang`.

        Raises:
            ValueError: It says what is wrong, and shows how it is written right.
        """
        try:
            return _parse(spec)
        except ValueError as error:
            example = "'events:status=503,count=2'"
            raise ValueError(f"fault {spec!r}: {error}; write it like {example}") from error

    def hits(self, seen: int) -> bool:
        """Whether the request that comes after `seen` others is hit."""
        return self.after <= seen and (self.count is None or seen < self.after + self.count)


@dataclass
class Faults:
    """The faults in force, and how often each endpoint was hit so far.

    Faults are asked in the order in which they were added; the first that hits takes the request,
    and those behind it do not count it. So `events:status=503,count=2` and then
    `events:drop,count=1` make two 503s and one closed connection.

    Attributes:
        faults: Those in force.
        hits: Requests that were hit, by endpoint.
    """

    faults: list[Fault] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    _seen: Counter[int] = field(default_factory=Counter, repr=False)

    @classmethod
    def parse(cls, *specs: str) -> Faults:
        """Reads faults as `Fault.parse` does.

        Raises:
            ValueError: The first that is malformed.
        """
        return cls([Fault.parse(spec) for spec in specs])

    def add(self, fault: Fault | str) -> None:
        """Puts one more in force, also while the service runs."""
        self.faults.append(Fault.parse(fault) if isinstance(fault, str) else fault)

    def clear(self) -> None:
        """Ends the misbehaviour; what `hits` has counted stays."""
        self.faults.clear()
        self._seen.clear()

    def next(self, endpoint: str) -> Fault | None:
        """Decides about one request to `endpoint`, and counts it."""
        for position, fault in enumerate(self.faults):
            if fault.endpoint not in ("*", endpoint):
                continue
            seen = self._seen[position]
            self._seen[position] += 1
            if fault.hits(seen):
                self.hits[endpoint] += 1
                return fault
        return None


def _parse(spec: str) -> Fault:
    endpoint, _, rest = spec.strip().partition(":")
    if endpoint not in get_args(Endpoint):
        raise ValueError(f"{endpoint!r} is none of {', '.join(get_args(Endpoint))}")
    options: dict[str, Any] = {}
    for item in rest.split(","):
        for name, value in _option(item.strip()).items():
            if name in options:
                raise ValueError(f"it has two answers for {name}")
            options[name] = value
    if "kind" not in options:
        raise ValueError(f"it has none of {', '.join(get_args(Kind))}")
    if "retry_after" in options and options["kind"] != "status":
        raise ValueError("retry-after goes with status only")
    return Fault(cast(Endpoint, endpoint), **options)


def _option(item: str) -> dict[str, Any]:
    name, equals, text = item.partition("=")
    if name in ("hang", "drop", "drop-answer") and not equals:
        return {"kind": name}
    if name not in _VALUES:
        raise ValueError(f"{item!r} is no kind and no option")
    attribute, read, what = _VALUES[name]
    try:
        value = {attribute: read(text)}
    except ValueError:
        raise ValueError(f"{name} takes {what}, not {text!r}") from None
    return {"kind": name, **value} if name in get_args(Kind) else value


def _checked(read: Callable[[str], Any], low: float, high: float) -> Callable[[str], Any]:
    def value(text: str) -> Any:
        number = read(text)
        if not low <= number <= high:
            raise ValueError
        return number

    return value


_WHOLE = _checked(int, 0, math.inf)
_VALUES: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "status": ("status", _checked(int, 200, 599), "a status from 200 to 599"),
    "delay": ("seconds", _checked(float, 0, 86400), "seconds, up to a day"),
    "retry-after": ("retry_after", str, "seconds or a date"),
    "count": ("count", _WHOLE, "a whole number"),
    "after": ("after", _WHOLE, "a whole number"),
}
