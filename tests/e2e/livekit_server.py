"""A livekit-server of a test's own, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.processes import server

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class LiveKitServer:
    """How to reach a running livekit-server."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)


@contextlib.contextmanager
def livekit_server(directory: Path) -> Iterator[LiveKitServer]:
    """Runs a livekit-server on free ports of loopback, with a secret made up for it."""
    binary = os.environ.get("LIVEKIT_SERVER_BIN") or shutil.which("livekit-server")
    assert binary is not None, "no livekit-server: `.ci/run e2e` builds one"
    port, tcp_port, udp_port = _free_ports(3)
    secret = secrets.token_hex(32)
    config = {
        "port": port,
        "bind_addresses": [LOOPBACK],
        "keys": {"devkey": secret},
        "rtc": {
            "node_ip": LOOPBACK,
            "tcp_port": tcp_port,
            "udp_port": udp_port,
            "enable_loopback_candidate": True,
            "interfaces": {"includes": ["lo"]},
        },
        "logging": {"level": "info", "pion_level": "error"},
    }
    config_file = directory / "livekit-server.json"
    config_file.write_text(json.dumps(config))  # JSON is YAML, which is what the server reads

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://{LOOPBACK}:{port}/", trust_env=False).is_success
        return False

    with server([binary, "--config", config_file], directory / "livekit-server.log", {}, answers):
        yield LiveKitServer(f"ws://{LOOPBACK}:{port}", "devkey", secret)


def _free_ports(count: int) -> list[int]:
    """Different loopback ports that nobody listens on, neither by TCP nor by UDP."""
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            tcp = stack.enter_context(socket.create_server((LOOPBACK, 0)))
            udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                ports.append(tcp.getsockname()[1])
    return ports
