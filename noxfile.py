"""Everything that is checked before a change lands, one session for each check.

    uv run nox                 all sessions, in order; the first that fails ends the run
    uv run nox -s lint types   only these
    uv run nox -l              their names, and what they do

On a machine that lacks uv or a C compiler, `.ci/run` installs them and calls this file.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nox

PACKAGE = "roark_analytics_python_livekit"
ROOT = Path(__file__).parent
# Environments of their own, so that a developer's .venv stays as it is.
ENVS = ROOT / ".cache" / "ci"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
LIBRARY_REQUIREMENTS = ("httpx", "numpy", "platformdirs", "typing-extensions")

nox.options.default_venv_backend = "none"
nox.options.stop_on_first_error = True

# Interpreters are never downloaded, and a lock file that does not fit pyproject.toml is an error.
os.environ.pop("VIRTUAL_ENV", None)
os.environ.update(UV_PYTHON_DOWNLOADS="never", UV_LOCKED="1")


@nox.session
def tests(session: nox.Session) -> None:
    """The default suite on the oldest Python that is here."""
    uv_run(session, "oldest-python", oldest_python(), "pytest")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, codespell, zizmor for the workflows, and the examples' lock file."""
    run_newest(session, "ruff", "check", ".")
    run_newest(session, "codespell")
    run_newest(session, "zizmor", "--offline", "--quiet", ".github")
    run_newest(session, "pre-commit", "validate-config")
    session.run("uv", "lock", "--check", "--quiet", "--directory", "examples")


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """ruff format, without changing anything."""
    run_newest(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy takes the language from its settings, and numpy's types from what is installed."""
    run_newest(session, "mypy", f"src/{PACKAGE}")


@nox.session(name="tests-newest-python")
def tests_newest_python(session: nox.Session) -> None:
    """The default suite on the newest Python that is here, and the branches of src it covers."""
    session.env["COVERAGE_FILE"] = str(ENVS / "coverage")
    run_newest(session, "pytest", "--cov", "--cov-report=", "--cov-fail-under=0")
    coverage = (f"{ENVS}/newest-python/bin/coverage", "report")
    total = session.run(*coverage, "--format=total", "--fail-under=0", silent=True)
    # nox prints its summary last; this line stands below it.
    atexit.register(print, f"coverage of src, with branches: {str(total).strip()} %", flush=True)
    session.run(*coverage, "--show-missing", "--skip-covered")


@nox.session(name="tests-without-livekit")
def tests_without_livekit(session: nox.Session) -> None:
    """The default suite where livekit-agents is not installed."""
    env = make_env("without-livekit", *LIBRARY_REQUIREMENTS)
    session.run(f"{env}/bin/python", "-m", "pytest", env={"PYTHONPATH": "src:examples"})


@nox.session
def demo(session: nox.Session) -> None:
    """A whole call that needs no keys and no network, in both ways of recording."""
    for recording in ("chunks", "wav"):
        command = ("run", "--directory", "examples", "demo.py", "--recording", recording)
        session.run("uv", *command, env=uv_env("examples", newest_python()))


@nox.session
def build(session: nox.Session) -> None:
    """The distributions, and what the wheel says of itself once it is installed."""
    dist = ENVS / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("uv", "build", "--quiet", "--out-dir", str(dist))
    (wheel,) = dist.glob("*.whl")
    session.log(", ".join(sorted(path.name for path in dist.glob("roark*"))))
    isolated = ("--quiet", "--isolated", "--no-project", "--python", newest_python())
    check = f"from importlib.metadata import version; import {PACKAGE} as package; "
    check += "assert package.__version__ == version('roark-analytics-python-livekit')"
    session.run("uv", "run", *isolated, "--with", str(wheel), "python", "-c", check)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation; a broken link fails the build."""
    env = uv_env("docs", newest_python()) | {"NO_MKDOCS_2_WARNING": "1"}
    command = ("run", "--quiet", "--only-group", "docs", "mkdocs", "build", "--strict")
    session.run("uv", *command, "--site-dir", str(ENVS / "site"), env=env)


@nox.session
def e2e(session: nox.Session) -> None:
    """A real livekit-server, worker and caller on loopback. Needs Go, or LIVEKIT_SERVER_BIN."""
    server = os.environ.get("LIVEKIT_SERVER_BIN") or output(".ci/livekit-server", newest_python())
    session.run(server, "--version")
    session.env["LIVEKIT_SERVER_BIN"] = server
    run_newest(session, "pytest", "-m", "e2e", "--numprocesses=0")


@nox.session
def faults(session: nox.Session) -> None:
    """Real sockets and processes that are killed; one at a time, for a child process's clock."""
    run_newest(session, "pytest", "-m", "faults", "--numprocesses=0")


@nox.session
def matrix(session: nox.Session) -> None:
    """tests/livekit on each version in .ci/matrix.txt, or on those in LIVEKIT_AGENTS.

    Two at a time: a call in real time leaves most of a processor idle. What fails beside another
    one has to pass alone.
    """
    pins = dict(read_matrix())
    versions = os.environ.get("LIVEKIT_AGENTS", "").split() or list(pins)
    with ThreadPoolExecutor(max_workers=2) as pool:
        runs = list(pool.map(lambda version: run_on_livekit(version, pins), versions))
    for run in runs:
        if run.status == 0:
            continue
        session.log(f"again, alone: {run.version}")
        if run_on_livekit(run.version, pins, only_failed=run.status == 1).status != 0:
            session.error(f"livekit-agents {run.version}")


# --- one version of livekit-agents -------------------------------------------------------------


class Run(NamedTuple):
    """How tests/livekit went; the status is 1 where tests failed, else not all of them ran."""

    version: str
    status: int


def read_matrix() -> list[tuple[str, list[str]]]:
    """Each version, and what else its environment is pinned to."""
    lines = (ROOT / ".ci" / "matrix.txt").read_text("utf-8").splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return [(version, pins) for version, *pins in words]


def run_on_livekit(version: str, pins: dict[str, list[str]], *, only_failed: bool = False) -> Run:
    """Runs tests/livekit; what is printed goes to a file, and its end to the screen."""
    started = time.monotonic()
    log = ENVS / f"livekit-{version}.log"
    try:
        status = _test_on_livekit(version, pins.get(version, []), log, only_failed)
    except RuntimeError as error:  # the installation
        log.write_text(str(error), "utf-8")
        status = 99
    lines = log.read_text("utf-8").splitlines() or [""]
    if status == 0:
        took = f"{time.monotonic() - started:.0f} s in all"
        print(f"livekit-agents {version}: {lines[-1]}, {took}", flush=True)
    else:
        print(*lines[-120:], f"livekit-agents {version}: FAILED", sep="\n", flush=True)
    return Run(version, status)


def _test_on_livekit(version: str, pins: Sequence[str], log: Path, only_failed: bool) -> int:
    env = ENVS / f"livekit-{version}"
    if not only_failed:
        requirement = "livekit-agents" if version == "newest" else f"livekit-agents=={version}"
        make_env(env.name, "--editable", ".", requirement, *pins)
    command = [f"{env}/bin/python", "-m", "pytest", "-q", "-n", "0"]
    command += ["-o", f"cache_dir={env}/pytest-cache", "tests/livekit"]
    command += ["--last-failed"] if only_failed else []
    with log.open("w", encoding="utf-8") as file:
        return subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        ).returncode


# --- environments ------------------------------------------------------------------------------


def uv_env(name: str, python: str) -> dict[str, str]:
    """What makes `uv run` use that Python, in an environment of that name."""
    return {"UV_PYTHON": python, "UV_PROJECT_ENVIRONMENT": str(ENVS / name)}


def uv_run(session: nox.Session, name: str, python: str, *command: str) -> None:
    """Runs a command in the project as its lock file has it."""
    env = uv_env(name, python)
    session.run("uv", "sync", "--quiet", "--all-extras", env=env)
    session.run("uv", "run", *command, env=env)


def run_newest(session: nox.Session, *command: str) -> None:
    """The same, on the newest Python."""
    uv_run(session, "newest-python", newest_python(), *command)


def make_env(name: str, *requirements: str) -> Path:
    """Makes an environment with the test tools and what is named, outside the lock file."""
    env = ENVS / name
    output("uv", "venv", "--quiet", "--clear", "--python", newest_python(), str(env))
    output("uv", "pip", "install", "--quiet", "--python", str(env), "--group", "dev", *requirements)
    return env


@cache
def oldest_python() -> str:
    """The path of the oldest supported Python that is here; UV_PYTHON goes before it."""
    return os.environ.get("UV_PYTHON") or find_python(PYTHONS)


@cache
def newest_python() -> str:
    """The path of the newest one."""
    return os.environ.get("UV_PYTHON") or find_python(PYTHONS[::-1])


def find_python(versions: Sequence[str]) -> str:
    """The first of these versions that is on this machine."""
    for version in versions:
        try:
            return output("uv", "python", "find", "--no-project", version)
        except RuntimeError:
            continue
    raise RuntimeError(f"none of these Pythons is here: {', '.join(versions)}")


def output(*command: str) -> str:
    """What a command prints.

    Raises:
        RuntimeError: It failed; the text is what it said.
    """
    run = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{run.stdout}{run.stderr}")
    return run.stdout.strip()
