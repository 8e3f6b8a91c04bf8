"""A stand-in for each test, reached without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from local_roark import Faults, create_app
from tests.support.wire_requests import Clock


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails a test in which the event loop is held."""
    with blockbuster_ctx("local_roark") as detector:
        yield detector


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the stand-in keeps calls."""
    return tmp_path / "calls"


@pytest.fixture
def clock() -> Clock:
    """The stand-in's time."""
    return Clock()


@pytest.fixture
def faults() -> Faults:
    """How the stand-in misbehaves: not at all, to begin with."""
    return Faults()


@pytest.fixture
async def client(root: Path, clock: Clock, faults: Faults) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a fresh stand-in."""
    app = create_app(root, faults=faults, clock=clock)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
        yield client
