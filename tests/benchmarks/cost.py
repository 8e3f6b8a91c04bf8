"""What observing costs, beside the published package.

    uv run python tests/benchmarks/cost.py                       # every case: some hours
    uv run python tests/benchmarks/cost.py --sessions 8 --service --livekit 1.5.17
    uv run python tests/benchmarks/cost.py --quick               # does it run at all?
    uv run python tests/benchmarks/cost.py --old PATH            # another checkout, in addition

Makes an environment for each livekit-agents, with this library's dependencies and with the
published package. In each round every variant runs once, in a process of its own
(`cost_process.py`), with the service in another (`cost_service.py`); "none" is the same calls
without observing. Of CPU, memory and wake-ups it is subtracted, round by round; stalls stand beside
it. Prints medians over the rounds, and JSON where asked.

CPU is that of the whole process from the first attach until all is delivered. Memory is the most
that was resident. A stall is how late the agent's loop was for something due every 5 ms. Wake-ups
are voluntary context switches of all threads but the agent's, in the tenths of a second in which
nobody speaks and no request is near; there are none such with many calls.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cost_table import NONE, OLD, OURS, THEIRS, Case, Figures, Result, Table
from services import service

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ENVIRONMENTS = ROOT / ".cache" / "cost"
PUBLISHED = "roark-analytics-python-livekit==0.1.0"
MANY = 40  # sessions for each kind of service
ENOUGH = 90.0  # seconds more than the calls take, after which a process hangs
IMPORTS = 5  # in each round
IMPORT = """
import livekit.agents, httpx, httpcore, anyio._backends._asyncio, numpy, time  # all of httpx
began = time.perf_counter()
import roark_analytics_python_livekit
print((time.perf_counter() - began) * 1e3)
"""


@dataclass(frozen=True)
class Variant:
    """Who observes, with which interpreter and sources."""

    name: str
    python: str
    source: Path | None = None


# Environments


def environment(name: str, *packages: str) -> str:
    """An interpreter with these packages, made where there is none yet."""
    folder = ENVIRONMENTS / name
    ready = folder / "ready"
    if not ready.exists():
        venv = ["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
        install = ["uv", "pip", "install", "--quiet", "--python", str(folder), *packages]
        subprocess.run(venv, check=True)
        subprocess.run(install, check=True, cwd=ROOT)
        ready.touch()
    return str(folder / "bin" / "python")


def version(python: str) -> str:
    say = "from livekit.agents import __version__; print(__version__)"
    return subprocess.run([python, "-c", say], capture_output=True, text=True).stdout.strip()


def variants(livekit: str, old: Path | None) -> list[Variant]:
    wanted = "livekit-agents" + ("" if livekit == "newest" else f"=={livekit}")
    python = environment(f"livekit-{livekit}", wanted, "-r", "pyproject.toml")
    found = [Variant(NONE, python), Variant(OURS, python, ROOT / "src")]
    if old is not None:
        found.append(Variant(OLD, python, old / "src"))
    same = version(python)  # for them to have exactly this one, or none
    with contextlib.suppress(subprocess.CalledProcessError):  # uv says why
        theirs = environment(f"published-{same}", f"livekit-agents=={same}", PUBLISHED)
        found.append(Variant(THEIRS, theirs))
    return found


def variables(variant: Variant, **more: str) -> dict[str, str]:
    """The environment of a process: nothing of this machine's that could change what it does."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().startswith(("roark_", "livekit_", "python"))
        and not name.lower().endswith("_proxy")
    }
    if variant.source is not None:
        kept["PYTHONPATH"] = str(variant.source)
    return kept | more


# Running


def run(case: Case, variant: Variant, seconds: float) -> Figures | None:
    """One process with its calls; None, and why on stderr, where that does not work."""
    with service(case.service) as url, tempfile.TemporaryDirectory() as spool:
        options = {
            "observed": variant.name != NONE,
            "sessions": case.sessions,
            "seconds": seconds,
            "service": url,
            "accepts": case.service in ("healthy", "slow"),
        }
        command = [variant.python, str(HERE / "cost_process.py"), json.dumps(options)]
        set_so = variables(variant, ROARK_BASE_URL=url, ROARK_SPOOL_DIR=spool)
        found: Figures | None = _last_json(command, set_so, seconds + ENOUGH)
    return found


def _last_json(command: list[str], set_so: dict[str, str], timeout: float) -> Any:
    try:
        done = subprocess.run(
            command, env=set_so, capture_output=True, text=True, timeout=timeout, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        print((error.stderr.splitlines() or ["failed"])[-1], file=sys.stderr)
    except subprocess.TimeoutExpired:
        print("it hangs", file=sys.stderr)
    return None


def import_time(variant: Variant) -> float | None:
    """Milliseconds that the library takes beside what is imported anyway: the best of some."""
    command = [variant.python, "-c", IMPORT]
    times = [_last_json(command, variables(variant), ENOUGH) for _ in range(IMPORTS)]
    return min((time for time in times if time is not None), default=None)


def rounds(livekit: str, options: argparse.Namespace) -> Iterator[Result]:
    """Every case in every variant, interleaved; the one that begins changes with the round."""
    cases = [Case(livekit, count) for count in options.sessions]
    cases += [Case(livekit, options.many, mode) for mode in options.service]
    found = variants(livekit, options.old)
    for number in range(options.rounds):
        turn = number % len(found)
        for variant in found:
            if variant.name != NONE and (took := import_time(variant)) is not None:
                yield Result(Case(livekit, 0), variant.name, number, {"import": took})
        for case in cases:
            for variant in found[turn:] + found[:turn]:
                print(f"round {number + 1}: {case.name}, {variant.name}", file=sys.stderr)
                if (figures := run(case, variant, options.seconds)) is not None:
                    yield Result(case, variant.name, number, figures)


def main() -> None:
    options = arguments()
    results: list[Result] = []
    for livekit in options.livekit:
        found = list(rounds(livekit, options))
        results += found
        if options.json:
            options.json.write_text(json.dumps([asdict(one) for one in results], indent=1))
        exact = version(environment(f"livekit-{livekit}"))
        print(f"\nlivekit-agents {exact}, {options.seconds:.0f} s a call\n")
        print("\n".join(Table(found).lines()), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    modes = ["healthy", "slow", "failing", "absent"]
    parser.add_argument("--sessions", nargs="*", type=int, default=[1, 8, 32], help="in a process")
    parser.add_argument("--service", nargs="*", choices=modes, default=modes, help="for --many")
    parser.add_argument("--many", type=int, default=MANY, help="sessions for each --service")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a call")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--livekit", nargs="+", default=["1.5.17", "newest"], help="versions")
    parser.add_argument("--old", type=Path, help="another checkout of this library")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    parser.add_argument("--quick", action="store_true", help="a smoke run of a minute")
    options = parser.parse_args()
    if options.quick:
        options.sessions, options.service, options.rounds = [1, 3], [], 1
        options.seconds, options.livekit = 8.0, options.livekit[:1]
    return options


if __name__ == "__main__":
    main()
