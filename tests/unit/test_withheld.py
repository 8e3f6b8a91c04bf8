"""`pause_recording(transcripts=False)`: what was said meanwhile is not kept."""

from __future__ import annotations

from typing import Any

import pytest

from roark_analytics_python_livekit._withheld import WITHHELD, Withheld


def turn(role: str = "user", at: float = 0.0, **more: Any) -> dict[str, Any]:
    """Something that was said."""
    return {"type": "turn", "role": role, "text": "words", "at": at, **more}


def state(speaking: bool, at: float, who: str = "user") -> dict[str, Any]:
    """Somebody began or stopped to speak."""
    return {"type": "state", "who": who, "speaking": speaking, "at": at}


@pytest.fixture
def withheld() -> Withheld:
    """A span from 10 to 20."""
    made = Withheld()
    made.begin(10.0)
    made.end(20.0)
    return made


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [
        (5.0, 9.9, True),
        (5.0, 10.0, False),
        (12.0, 15.0, False),
        (5.0, 25.0, False),
        (19.9, 25.0, False),
        (20.1, 25.0, True),
    ],
)
def test_a_turn_is_left_out_if_any_of_it_was_said_in_the_span(
    withheld: Withheld, start: float, end: float, kept: bool
) -> None:
    """Wherever its text came: a transcript is late."""
    record = turn(at=30.0, start=start, end=end)
    assert (withheld.filter(record) is not None) == kept


def test_without_measured_times_the_states_say_when_it_was_said(withheld: Withheld) -> None:
    """As before livekit-agents 1.3."""
    withheld.filter(state(True, 18.0))
    withheld.filter(state(False, 19.0))
    assert withheld.filter(turn(at=21.0)) is None
    withheld.filter(state(True, 22.0))
    withheld.filter(state(False, 23.0))
    assert withheld.filter(turn(at=24.0)) is not None


def test_a_span_that_is_still_open_withholds_everything() -> None:
    """Both roles, transcripts and keys."""
    withheld = Withheld()
    withheld.begin(10.0)
    assert withheld.filter(turn(at=11.0)) is None
    assert withheld.filter(turn("assistant", at=11.0)) is None
    assert withheld.filter({"type": "heard", "text": "words", "at": 11.0}) is None
    assert withheld.filter({"type": "dtmf", "digit": "4", "at": 11.0}) is None
    assert withheld.filter({"type": "metric", "at": 11.0}) is not None


def test_a_tool_that_was_called_in_the_span_is_left_out_with_its_result(
    withheld: Withheld,
) -> None:
    """Its arguments are what was said."""
    call = {"type": "tool_call", "id": "1", "arguments": "{}", "at": 15.0}
    result = {"type": "tool_result", "id": "1", "content": "done", "at": 25.0}
    assert withheld.filter(call) is None
    assert withheld.filter({"type": "tool_ended", "id": "1", "at": 24.0}) is None
    assert withheld.filter(result) is None


def test_a_tool_that_was_called_before_keeps_its_call_and_loses_what_it_told(
    withheld: Withheld,
) -> None:
    """The row says that it returned, and when."""
    call = {"type": "tool_call", "id": "1", "arguments": "{}", "at": 5.0}
    result = {"type": "tool_result", "id": "1", "content": "done", "error": False, "at": 12.0}
    assert withheld.filter(call) == call
    assert withheld.filter(result) == {**result, "content": WITHHELD}


def test_without_a_span_nothing_is_withheld() -> None:
    """The usual case."""
    withheld = Withheld()
    for record in (turn(at=1.0), {"type": "tool_call", "id": "1", "at": 1.0}):
        assert withheld.filter(record) == record
