"""How long the agent's loop is late while the library does its heaviest work beside it.

    uv run python -m tests.benchmarks.stalls            # every case, three rounds: some minutes
    uv run python -m tests.benchmarks.stalls --case "13 MiB of zeros" --rounds 1

Each case runs in a process of its own, with the service in another: a call goes on, and beside it
the background thread reads a dead call, redacts, or builds call-ended. A stall is how late the loop
was for something due every 5 ms. "none" is the same loop for as long, without the library.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from roark_analytics_python_livekit._call.facts import call_record
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit.redaction import redact_pii
from tests.benchmarks.services import service
from tests.support.simulated_call import KEY, SimulatedCall, facts_of

MODULE = "tests.benchmarks.stalls"
MIB = 1024**2
DUE = 0.005  # seconds
LONGEST = 20.0  # seconds that a case may take
TEXT = 64 * 1024  # characters

Prepare = Callable[[Path, str], None]
Live = Callable[[SimulatedCall], None]


def nothing(*_: object) -> None:
    """Is all that happens."""


@dataclass(frozen=True)
class Case:
    """Something heavy."""

    name: str
    prepare: Prepare = nothing  # what is in the spool before
    live: Live = nothing  # what the call hands over at its end
    redacts: bool = False


def dead(root: Path, base_url: str, *records: dict[str, Any]) -> Path:
    """A call that died, with these records on top; its journal."""
    call = Spool(root).begin("RM_dead")
    facts = facts_of("RM_dead", started=100.0)
    first = call_record(facts, {}, base_url=base_url, api_key=KEY, recording="chunks")
    for record in (cast(dict[str, Any], first), *records):
        call.append_record(record)
    call.release()
    return call.path / "journal"


def turns(count: int, size: int = 100) -> list[dict[str, Any]]:
    """What was said, one after the other."""
    turn = {"type": "turn", "role": "user", "text": "word " * (size // 5)}
    return [{**turn, "at": 100.0 + number, "id": str(number)} for number in range(count)]


def tail(data: bytes) -> Prepare:
    """A journal that ends so."""

    def prepare(root: Path, base_url: str) -> None:
        with dead(root, base_url, *turns(10)).open("ab") as journal:
            journal.write(data)

    return prepare


def sparse(size: int) -> Prepare:
    """A journal of which the disk has nothing but the beginning."""

    def prepare(root: Path, base_url: str) -> None:
        os.truncate(dead(root, base_url, *turns(10)), size)

    return prepare


def long(size: int, *, flipped: bool = False) -> Prepare:
    """A journal of so many bytes; one bit in its middle may be wrong."""

    def prepare(root: Path, base_url: str) -> None:
        journal = dead(root, base_url, *turns(size // 1100, 1000))
        if flipped:
            data = bytearray(journal.read_bytes())
            data[len(data) // 2] ^= 1
            journal.write_bytes(data)

    return prepare


def absurd(root: Path, base_url: str) -> None:
    """A recording of 100 TB."""
    end = {"type": "end", "at": 200.0, "reason": "x", "pcm_bytes": 10**14, "sha256": "0" * 64}
    dead(root, base_url, {"type": "recording", "rate": 24_000, "origin": 100.0}, end)


def deep(root: Path, base_url: str) -> None:
    """A record that is nested a hundred thousand times."""
    call = Spool(root).begin("RM_deep")
    call.append_record({}, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    call.release()


def pipe(root: Path, base_url: str) -> None:
    """No file at all."""
    journal = dead(root, base_url)
    (journal.parent / "000000.pcm").touch()
    journal.unlink()
    os.mkfifo(journal)


def says(part: str) -> Live:
    """Somebody says a text of 64 KiB, made of this."""

    def live(call: SimulatedCall) -> None:
        turn = {"type": "turn", "role": "user", "at": call.start + 1, "id": "long"}
        call.queue.put_urgent({**turn, "text": part * (TEXT // len(part))})

    return live


def has(records: list[dict[str, Any]]) -> Live:
    """All of this happened."""

    def live(call: SimulatedCall) -> None:
        for record in records:
            call.queue.put_urgent({**record, "at": call.start + 1})

    return live


def results(count: int) -> list[dict[str, Any]]:
    """Tools that gave 64 KiB each."""
    return [
        record
        for number in range(count)
        for record in (
            {"type": "tool_call", "id": str(number), "name": "look", "arguments": "{}"},
            {"type": "tool_result", "id": str(number), "content": "x" * TEXT, "error": False},
        )
    ]


CASES = [
    Case("nothing"),
    Case("1 MiB of zeros at a journal's end", tail(bytes(MIB))),
    Case("13 MiB of zeros", tail(bytes(13 * MIB))),
    Case("one flipped bit in 13 MiB", long(13 * MIB, flipped=True)),
    Case("26 MiB intact", long(26 * MIB)),
    Case("900 MiB of zeros", sparse(900 * MIB)),
    Case("1 MiB of braces", tail(b"{" * MIB)),
    Case("a recording of 10**14 bytes", absurd),
    Case("deep JSON", deep),
    Case("a pipe", pipe),
    Case("redact_pii, prose", live=says("It was about three on the 4th of May. "), redacts=True),
    Case("redact_pii, JSON", live=says('{"id": 12, "price": 12.5}, '), redacts=True),
    Case("redact_pii, 01 22 33", live=says("01 22 33 "), redacts=True),
    Case("15,000 turns", live=has(turns(15_000))),
    Case("200 results of 64 KiB", live=has(results(200))),
]


async def worst_while(goes_on: Callable[[], bool]) -> float:
    """Milliseconds that the loop was late at most."""
    worst, due = 0.0, time.perf_counter()
    while goes_on():
        due += DUE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late = time.perf_counter() - due
        worst = max(worst, late)
        if late > DUE:
            due = time.perf_counter()
    return worst * 1e3


def one(case: Case, base_url: str, root: Path) -> dict[str, float]:
    """The worst stall with the library, the worst without it for as long, and how long."""
    case.prepare(root, base_url)
    began = time.monotonic()
    call = SimulatedCall(
        base_url, root, tick=0.1, redact=redact_pii if case.redacts else None, budget=LONGEST
    )
    case.live(call)

    def goes_on() -> bool:
        left = [path for path in root.glob("RM_d*") if not (path / "unreadable").exists()]
        if time.monotonic() - began > LONGEST / 2 or (not left and time.monotonic() - began > 1.0):
            call.end()
        return not call.worker.done and time.monotonic() - began < 2 * LONGEST

    observed = asyncio.run(worst_while(goes_on))
    took = time.monotonic() - began
    end = time.monotonic() + took
    return {"stall": observed, "none": asyncio.run(worst_while(lambda: time.monotonic() < end))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", help="only this one")
    parser.add_argument("--here", nargs=2, metavar=("URL", "SPOOL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    cases = [case for case in CASES if options.case in (None, case.name)]
    if options.here:
        print(json.dumps(one(cases[0], options.here[0], Path(options.here[1]))))
        return
    print("| beside the call | worst stall, ms | none | more |\n|---|---|---|---|")
    for case in cases:
        found = []
        for _ in range(options.rounds):
            with service("healthy") as url, tempfile.TemporaryDirectory() as spool:
                command = [sys.executable, "-m", MODULE, "--case", case.name, "--here", url, spool]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found.append(json.loads(done.stdout.splitlines()[-1]))
        stall, none = (statistics.median(one[key] for one in found) for key in ("stall", "none"))
        print(f"| {case.name} | {stall:.1f} | {none:.1f} | {stall - none:.1f} |", flush=True)


if __name__ == "__main__":
    main()
