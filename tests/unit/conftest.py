"""What the unit tests share: a local Roark in the process, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from local_roark import Faults
from roark_analytics_python_livekit import RoarkClient
from tests.support.claims import check_claims
from tests.support.fake_roark import BASE_URL, KEY, Roark

# The same examples each time, and no clock: a test either holds or does not, on any machine.
hypothesis.settings.register_profile("unit", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("unit")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home directory, as containers have them: an id that no file knows."""
    pwd = pytest.importorskip("pwd")

    def unknown(user: object) -> None:
        raise KeyError(user)

    for name in ("HOME", "XDG_STATE_HOME", "ROARK_SPOOL_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("getpwuid", "getpwnam"):
        monkeypatch.setattr(pwd, name, unknown)


@pytest.fixture(autouse=True)
def what_is_claimed_is_true(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Of every call that a test delivers, whatever the fault; unless its journal is `invented`."""
    yield
    if not request.node.get_closest_marker("invented"):
        check_claims(tmp_path / "calls")


@pytest.fixture
def roark(tmp_path: Path, faults: Faults) -> Roark:
    """A service of the test's own."""
    return Roark(tmp_path / "calls", faults)


@pytest.fixture
async def client(roark: Roark) -> AsyncIterator[RoarkClient]:
    """This library's client of that service."""
    async with RoarkClient(KEY, base_url=BASE_URL, transport=roark) as client:
        yield client
