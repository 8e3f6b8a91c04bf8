"""A process is killed at any step of spooling, delivery and recovery: nothing sealed is lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roark_analytics_python_livekit._delivery.spool import Spool
from tests.faults.kill_points import LIMITS, Job, run
from tests.faults.test_killed import recover
from tests.support.fake_roark import call_file, recording, taken_at
from tests.support.spool_ages import later_spool

SEED = int(os.environ.get("ROARK_TEST_SEED", "20251124"))
POINTS = 200  # processes that are killed, at the least
SIDE_BY_SIDE = 8

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def run_all(jobs: list[Job]) -> list[int | None]:
    """Runs jobs side by side, each in a fork of a clean process; their exit statuses."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", run.__module__])
    processes = [context.Process(target=run, args=(job,)) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


@dataclass
class Certain:
    """What processes wrote down of one call before they were killed.

    Attributes:
        appended: Bytes of sound that were surely spooled.
        turns: What was surely said.
        begun: The journal was opened.
        settled: When a process noted that a chunk was accepted, by index; each time.
    """

    appended: int = 0
    turns: list[str] = field(default_factory=list)
    begun: bool = False
    settled: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))


def read_ledger(folder: Path) -> tuple[dict[str, Certain], dict[str, int]]:
    """What is certain of each call, and the steps of the last process that lived."""
    certain: defaultdict[str, Certain] = defaultdict(Certain)
    steps: dict[str, int] = {}
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    for entry in map(json.loads, lines):
        call = certain[entry["of"]]
        call.appended += entry.get("appended", 0)
        call.turns += [entry["turn"]] if "turn" in entry else []
        call.begun = call.begun or "at" in entry
        if "chunk" in entry:
            call.settled[entry["chunk"]].append(entry["at"])
        if entry["of"] == "steps":
            steps = {kind: entry[kind] for kind in ("disk", "request") if kind in entry}
    certain.pop("steps", None)
    return dict(certain), steps


def plan(dice: random.Random, steps: dict[str, int], number: int, **where: Any) -> Job:
    """The next process, and where it dies: anywhere with the same probability."""
    at = dice.choices(["disk", "request", "delay"], [6, 3, 1])[0]
    last = {"delay": 500}.get(at) or steps[at]
    how = dice.choice(["before", "torn", "after"])
    only_recovers = number % 6 == 5
    return Job(
        call_id="" if only_recovers else f"RM_{number}",
        recording="wav" if number % 4 == 0 else "chunks",
        at=at,
        step=dice.randint(1, last),
        how=how,
        **where,
    )


async def test_every_sealed_record_and_all_sound_outlive_a_kill_at_any_step(
    service: str, calls: Path, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 kills, seeded, of calls in chunks or one WAV, of recoveries (fault 16, fault 17)."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # of the process that forks
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    dice, killed, number = random.Random(SEED), Counter[str](), 0
    where: dict[str, Any] = {"service": service, "spool": spool, "ledger": ledger}
    assert run_all([Job(call_id="RM_first", **where)]) == [0]
    certain, steps = read_ledger(ledger)
    whole = certain["RM_first"]
    assert whole.begun and len(whole.turns) == 8 and whole.settled, "the ledger saw nothing"
    while killed.total() < POINTS:
        jobs = [plan(dice, steps, number + offset, **where) for offset in range(SIDE_BY_SIDE)]
        number += len(jobs)
        for job, status in zip(jobs, run_all(jobs), strict=True):
            assert status in (0, -signal.SIGKILL), (SEED, job)
            killed[f"{job.at}, {job.how}"] += status != 0
        if number % (3 * SIDE_BY_SIDE) == 0:
            await recover(service, spool, LIMITS)
    await recover(service, spool, LIMITS)
    certain, _ = read_ledger(ledger)
    duplicates = sum(check(calls, ledger, name, known) for name, known in certain.items())
    assert list(Spool(spool).abandoned()) == []
    assert [path for path in spool.glob("*/journal") if path.stat().st_size] == []
    left = len(list(spool.iterdir()))  # killed while they were made or removed
    assert later_spool(spool, 7200).evict() == ["leftover"] * left
    assert list(spool.iterdir()) == []
    print(
        f"seed {SEED}: {killed.total()} of {number} processes killed {dict(killed)}; "
        f"{len(certain)} calls, {sum(len(one.turns) for one in certain.values())} turns, "
        f"{left} leftovers cleaned, "
        f"{sum(one.appended for one in certain.values())} bytes of sound surely spooled, "
        f"all of them delivered; "
        f"{duplicates} chunks came twice, the first time not noted before the kill"
    )


def check(calls: Path, ledger: Path, name: str, known: Certain) -> int:
    """One call is at the service as far as it was certain; how many chunks came again."""
    if not (calls / name / "call.json").exists():
        assert not known.begun, (SEED, name)
        return 0
    call = call_file(calls, name)
    assert call["started"] is not None and call["ended"] is not None, (SEED, name)
    turns = [row["content"] for row in call["ended"]["transcript"]]
    assert turns[: len(known.turns)] == known.turns, (SEED, name)
    check_events(call, name)
    if known.appended:
        check_sound(calls, ledger, name, known)
    return check_chunks(call, name, known)


def check_events(call: dict[str, Any], name: str) -> None:
    taken = [one for one in call["deliveries"] if one["endpoint"] == "events"]
    fresh = Counter(one["event"] for one in taken if not one["duplicate"])
    assert fresh["call-started"] == 1, (SEED, name)
    assert all(one["status"] == 200 for one in call["deliveries"]), (SEED, name)


def check_sound(calls: Path, ledger: Path, name: str, known: Certain) -> None:
    """The WAV is, byte for byte, the sound that was spooled."""
    told = call_file(calls, name)["ended"]["recording"]
    assert (told["status"], told["gaps"]) == ("complete", []), (SEED, name)
    sound = recording(calls, name)[1].tobytes()
    spooled = (ledger / f"{name}.pcm").read_bytes()
    assert known.appended <= len(sound), (SEED, name)
    assert sound == spooled[: len(sound)], (SEED, name)
    assert told["byteCount"] == len(sound), (SEED, name)


def check_chunks(call: dict[str, Any], name: str, known: Certain) -> int:
    """Each chunk once; again only where the process that sent it did not live to note it."""
    indices = sorted({one["chunkIndex"] for one in call["deliveries"] if "chunkIndex" in one})
    assert indices == list(range(len(indices))), (SEED, name)
    taken = [taken_at(call, endpoint="uploads", chunkIndex=index) for index in indices]
    for index, noted in known.settled.items():
        assert len(noted) == 1, (SEED, name)
        assert max(taken[index]) <= noted[0] + 0.001, (SEED, name)  # rounded to milliseconds
    return sum(len(moments) > 1 for moments in taken)
