"""What holds in every test: nothing blocks the loop, and no internal error goes unseen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from roark_analytics_python_livekit._guard import Guard


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails a test in which this package holds an event loop.

    The store is left out: it is used on the shipping thread only, which is there to be blocked.
    """
    with blockbuster_ctx(["roark_analytics_python_livekit", "local_roark"]) as detector:
        for function in detector.functions.values():
            function.can_block_in("roark_analytics_python_livekit/_store.py", {"append", "_parts"})
            function.can_block_in("roark_analytics_python_livekit/_call.py", {"_open_store"})
        yield detector


@pytest.fixture(autouse=True)
def internal_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """The errors that the guard swallowed; a test that expects some clears the list."""
    errors: list[Exception] = []
    note = Guard.note

    def note_and_keep(self: Guard, where: str, error: Exception) -> None:
        errors.append(error)
        note(self, where, error)

    monkeypatch.setattr(Guard, "note", note_and_keep)
    yield errors
    if errors:
        pytest.fail(f"internal errors: {errors!r}", pytrace=False)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own environment must not decide a test."""
    for name in ("ROARK_API_KEY", "ROARK_BASE_URL", "ROARK_OBSERVABILITY_ENABLED"):
        monkeypatch.delenv(name, raising=False)
