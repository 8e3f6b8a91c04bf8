"""A livekit-server of one's own, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.processes import LOOPBACK, LoggedProcess, free_ports, running

READY_SECONDS = 20.0
STOP_SECONDS = 3.0


@dataclass(frozen=True)
class LiveKitServer:
    """How to reach a running livekit-server."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)


@contextlib.contextmanager
def livekit_server(binary: Path, directory: Path) -> Iterator[LiveKitServer]:
    """Run a livekit-server on free ports of loopback, with a secret made up for it."""
    port, rtc_tcp_port, rtc_udp_port = free_ports(3)
    server = LiveKitServer(f"ws://{LOOPBACK}:{port}", "devkey", secrets.token_hex(32))
    config = {
        "port": port,
        "bind_addresses": [LOOPBACK],
        "keys": {server.api_key: server.api_secret},
        "rtc": {
            "node_ip": LOOPBACK,
            "tcp_port": rtc_tcp_port,
            "udp_port": rtc_udp_port,
            "enable_loopback_candidate": True,
            "interfaces": {"includes": ["lo"]},
        },
        "logging": {"level": "info", "pion_level": "error"},
    }
    config_file = directory / "livekit-server.json"
    config_file.write_text(json.dumps(config))  # JSON is YAML, which is what the server reads
    command: list[str | Path] = [binary, "--config", config_file]
    process = LoggedProcess(command, directory / "livekit-server.log")
    with running(process, grace=STOP_SECONDS):
        process.wait_until(lambda: _answers(port), seconds=READY_SECONDS)
        yield server


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://{LOOPBACK}:{port}/", trust_env=False).is_success
    except httpx.TransportError:
        return False


def find_binary() -> Path | None:
    """Return the livekit-server named in LIVEKIT_SERVER_BIN, else one from the usual places."""
    named = os.environ.get("LIVEKIT_SERVER_BIN")
    if named:
        return Path(named)
    on_path = shutil.which("livekit-server")
    if on_path:
        return Path(on_path)
    return next((place for place in _usual_places() if os.access(place, os.X_OK)), None)


def _usual_places() -> Iterator[Path]:
    yield Path.home() / "go" / "bin" / "livekit-server"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # Where .ci/run keeps the ones that it built.
    yield from sorted((cache / "roark-ci" / "bin").glob("livekit-server-*"), reverse=True)
