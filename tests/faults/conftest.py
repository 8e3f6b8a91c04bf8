"""Real sockets on loopback, real processes, and a secret that must show nowhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import enable_socket, socket_allow_hosts

from local_roark import Faults, create_app, serve_in_background
from tests.support.claims import check_claims
from tests.support.simulated_call import KEY


@pytest.fixture(autouse=True)
def loopback(request: pytest.FixtureRequest) -> Iterator[None]:
    """Sockets to this machine, for tests that are marked `faults`."""
    if request.node.get_closest_marker("faults"):
        enable_socket()
        socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)
    yield


@pytest.fixture(autouse=True)
def no_secret_shows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """The key and the signatures of presigned URLs: in no log, no output and no spooled file."""
    caplog.set_level(logging.DEBUG, logger="roark_analytics_python_livekit")
    yield
    out, err = capfd.readouterr()
    logged = "\n".join(record.getMessage() for record in caplog.records)
    spooled = [path.read_bytes() for path in tmp_path.glob("spool*/**/*") if path.is_file()]
    for secret in (KEY, "signature="):
        assert secret not in out + err + logged
        assert not any(secret.encode() in data for data in spooled)


@pytest.fixture(autouse=True)
def what_is_claimed_is_true(request: pytest.FixtureRequest, calls: Path) -> Iterator[None]:
    """Of every call that a test delivers, whatever the fault; unless its journal is `invented`."""
    yield
    if not request.node.get_closest_marker("invented"):
        check_claims(calls)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Where local Roark keeps calls."""
    return tmp_path / "calls"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where calls wait to be delivered."""
    return tmp_path / "spool"


@pytest.fixture
def service(loopback: None, calls: Path, faults: Faults) -> Iterator[str]:
    """The base URL of a service on loopback."""
    with serve_in_background(create_app(calls, faults=faults)) as base_url:
        yield base_url
