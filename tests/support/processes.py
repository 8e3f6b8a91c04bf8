"""Processes of a test: short ones with pipes, and servers that log to a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(*arguments: object, **settings: str) -> subprocess.Popen[str]:
    """Starts a Python that imports what the tests import, with pipes for all it reads and says."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,  # which holds `tests`
        env={**os.environ, **settings},
    )


def run(*arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs such a Python to its end."""
    with start(*arguments, **settings) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextlib.contextmanager
def server(
    command: list[str | Path], log: Path, settings: Mapping[str, str], ready: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server once it is `ready`, in a group of its own; prints its log at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **settings},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60.0  # a worker imports a lot, on machines that are busy
        while not ready():
            assert process.poll() is None, f"{log.stem} ended early"
            assert time.monotonic() < deadline, f"{log.stem} was not ready in time"
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3.0)
        with contextlib.suppress(ProcessLookupError):  # what is left of its group
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"--- {log.name}", log.read_text(errors="replace"), sep="\n")
