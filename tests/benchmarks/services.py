"""The service that benchmarks talk to, in a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


@contextlib.contextmanager
def service(mode: str) -> Iterator[str]:
    """The base URL of a service; of one that is absent, a port where nobody listens."""
    if mode == "absent":
        with socket.socket() as held:  # bound, so that nobody else takes the port
            held.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{held.getsockname()[1]}"
        return
    with subprocess.Popen(
        [sys.executable, HERE / "cost_service.py", mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
