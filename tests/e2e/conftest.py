"""What a call needs: a livekit-server, a local Roark and a worker, new for each test."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local_roark import create_app, serve_in_background
from tests.e2e.livekit_server import LiveKitServer, livekit_server
from tests.support.fake_roark import call_file
from tests.support.processes import ROOT, server


@dataclass(frozen=True)
class RoarkServer:
    """A running local Roark: where it listens, and the directory that it keeps calls in."""

    url: str
    api_key: str = field(repr=False)
    root: Path

    async def the_call(self, ready: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Waits until the one call is `ready`, and returns it."""
        while True:
            for path in self.root.glob("*/call.json"):
                if ready(call := call_file(self.root, path.parent.name)):
                    return call
            await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Worker:
    """The offline agent's process, and its log."""

    process: subprocess.Popen[bytes]
    log: Path


@pytest.fixture
def livekit(tmp_path: Path) -> Iterator[LiveKitServer]:
    """A livekit-server of this test's own."""
    with livekit_server(tmp_path) as running:
        yield running


@pytest.fixture
def roark(tmp_path: Path) -> Iterator[RoarkServer]:
    """A local Roark of this test's own, with the one key that it knows made up for it."""
    key, root = f"rk_test_{secrets.token_hex(16)}", tmp_path / "calls"
    with serve_in_background(create_app(root, api_keys={key})) as url:
        yield RoarkServer(url, key, root)


@pytest.fixture
def worker(livekit: LiveKitServer, roark: RoarkServer, tmp_path: Path) -> Iterator[Worker]:
    """The offline agent as production runs it, registered and waiting for a call."""
    settings = {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
        "ROARK_BASE_URL": roark.url,
        "ROARK_API_KEY": roark.api_key,
        "ROARK_SPOOL_DIR": str(tmp_path / "spool"),
    }
    log = tmp_path / "worker.log"
    command: list[str | Path] = [sys.executable, ROOT / "examples" / "offline_agent.py", "start"]
    with server(
        command, log, settings, lambda: b"registered worker" in log.read_bytes()
    ) as process:
        yield Worker(process, log)
