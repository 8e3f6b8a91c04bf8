"""What a call needs: a livekit-server, a local Roark and a worker, new for each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.livekit_server import LiveKitServer, find_binary, livekit_server
from tests.support.local_roark_server import RoarkServer, roark_server
from tests.support.processes import LoggedProcess, running

AGENT = Path(__file__).parents[2] / "examples" / "offline_agent.py"

REGISTERED_SECONDS = 60.0
"""How long a worker may take to start: it imports a lot, on machines that are busy."""

STOP_SECONDS = 2.0
"""How long a worker is given at the end of a test, before it is killed."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveKitServer]:
    """A livekit-server of this test's own."""
    binary = find_binary()
    assert binary is not None, "no livekit-server: `.ci/run e2e` builds one"
    with livekit_server(binary, tmp_path) as running_server:
        yield running_server


@pytest.fixture
def roark(tmp_path: Path) -> Iterator[RoarkServer]:
    """A local Roark of this test's own."""
    with roark_server(tmp_path / "calls") as running_server:
        yield running_server


@pytest.fixture
def worker(server: LiveKitServer, roark: RoarkServer, tmp_path: Path) -> Iterator[LoggedProcess]:
    """The offline agent as production runs it, registered and waiting for a call."""
    environment = {
        "LIVEKIT_URL": server.url,
        "LIVEKIT_API_KEY": server.api_key,
        "LIVEKIT_API_SECRET": server.api_secret,
        "ROARK_BASE_URL": roark.url,
        "ROARK_API_KEY": roark.api_key,
        "ROARK_SPOOL_DIR": str(tmp_path / "spool"),
    }
    command: list[str | Path] = [sys.executable, AGENT, "start"]
    process = LoggedProcess(command, tmp_path / "worker.log", environment)
    with running(process, grace=STOP_SECONDS):
        process.wait_until(
            lambda: "registered worker" in process.output(), seconds=REGISTERED_SECONDS
        )
        yield process
