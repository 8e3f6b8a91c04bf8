"""A stand-in for each test, reached without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from local_roark import Faults, create_app


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1_764_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the stand-in keeps calls."""
    return tmp_path / "calls"


@pytest.fixture
def clock() -> Clock:
    """The stand-in's time."""
    return Clock()


@pytest.fixture
async def client(root: Path, clock: Clock, faults: Faults) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a fresh stand-in."""
    app = create_app(root, faults=faults, clock=clock)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
        yield client
