"""Processes of a test, with what they say kept in a file."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOOPBACK = "127.0.0.1"

_LOOK_AGAIN = 0.05
"""Seconds between two looks at whether a process is ready."""

_LINE_LENGTH = 300
"""Characters shown of a line: some lines hold a whole session description."""


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process that imports what the tests import."""
    paths = [ROOT, ROOT / "src", ROOT / "examples"]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **more}


class LoggedProcess:
    """A process that leads a group of its own and writes to one log file."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def output(self) -> str:
        """Return what the process and its children have written so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Block until `ready()`.

        Raises:
            RuntimeError: The process ended before that.
            TimeoutError: It took longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.is_running:
                raise RuntimeError(f"{self.log.stem} ended early:\n{self.output()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.log.stem} was not ready in {seconds} s")
            time.sleep(_LOOK_AGAIN)

    def terminate(self) -> None:
        """Ask the process to end; its children hear of it from the process."""
        self._process.terminate()

    def wait(self, *, seconds: float) -> int:
        """Wait for the process to end by itself, and return its exit status."""
        return self._process.wait(seconds)

    def stop(self, *, grace: float) -> None:
        """End the process, and after `grace` seconds kill what is left of its group."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def running(process: LoggedProcess, *, grace: float) -> Iterator[LoggedProcess]:
    """Stop `process` at the end and print its log, which pytest shows if the test failed."""
    try:
        yield process
    finally:
        process.stop(grace=grace)
        print(f"--- {process.log.name}")
        print(*(line[:_LINE_LENGTH] for line in process.output().splitlines()), sep="\n")


def free_ports(count: int) -> list[int]:
    """Return different loopback ports that nobody listens on, neither by TCP nor by UDP."""
    with contextlib.ExitStack() as stack:
        return [_free_port(stack) for _ in range(count)]


def _free_port(stack: contextlib.ExitStack) -> int:
    while True:
        tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        tcp.bind((LOOPBACK, 0))
        port: int = tcp.getsockname()[1]
        with contextlib.suppress(OSError):
            udp.bind((LOOPBACK, port))
            return port
