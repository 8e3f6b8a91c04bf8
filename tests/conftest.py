"""What holds in every test: nothing blocks the loop, no internal error goes unseen, and every
event is one that the service takes."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

import roark_analytics_python_livekit
from local_roark import Faults
from roark_analytics_python_livekit._call.state import CallState
from roark_analytics_python_livekit._diagnostics import Guard
from tests.support.wire import refusal


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails a test in which this package holds an event loop.

    The spool is left out: it is used on the shipping thread only, which is there to be blocked.
    """
    with blockbuster_ctx(["roark_analytics_python_livekit", "local_roark"]) as detector:
        for function in detector.functions.values():
            for file, names in _functions_of_the_spool().items():
                function.can_block_in(file, names)
        yield detector


@functools.cache
def _functions_of_the_spool() -> dict[str, frozenset[str]]:
    package = Path(roark_analytics_python_livekit.__file__).parent
    functions = {}
    for name in ("spool", "call_spool", "record_file"):
        file = package / "_delivery" / f"{name}.py"
        tree = ast.parse(file.read_text())
        names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        functions[f"{package.name}/_delivery/{name}.py"] = frozenset(names)
    return functions


@pytest.fixture(autouse=True)
def internal_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """The errors that the guard swallowed; a test that expects some clears the list."""
    errors: list[Exception] = []
    note = Guard.swallow

    def note_and_keep(self: Guard, where: str, error: Exception) -> None:
        errors.append(error)
        note(self, where, error)

    monkeypatch.setattr(Guard, "swallow", note_and_keep)
    yield errors
    if errors:
        pytest.fail(f"internal errors: {errors!r}", pytrace=False)


@pytest.fixture(autouse=True)
def refused_events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the wire's schema says against any event that this package makes of a call.

    Whatever becomes of it: also of those that a test's service never answers or never gets.
    """
    refused: list[str] = []

    def checked(make: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        @functools.wraps(make)
        def check(*args: Any, **options: Any) -> dict[str, Any]:
            event = make(*args, **options)
            if why := refusal(event):
                refused.append(why)
            return event

        return check

    for name in ("started_event", "ended_event"):
        monkeypatch.setattr(CallState, name, checked(getattr(CallState, name)))
    yield refused
    if refused:
        pytest.fail(f"the service would refuse: {sorted(set(refused))}", pytrace=False)


@pytest.fixture
def faults() -> Faults:
    """How the service misbehaves: not at all, to begin with."""
    return Faults()


@pytest.fixture(autouse=True, scope="session")
def no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A developer's own environment must not decide a test, nor a test touch their spool."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ROARK_API_KEY", "ROARK_BASE_URL", "ROARK_OBSERVABILITY_ENABLED"):
            patch.delenv(name, raising=False)
        patch.setenv("ROARK_SPOOL_DIR", str(tmp_path_factory.mktemp("spool")))
        yield
