"""A call of which there is a lot to tell: call-ended is built in proportion, and in steps."""

from __future__ import annotations

import gc
import hashlib
import inspect
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from roark_analytics_python_livekit._call.facts import call_record
from roark_analytics_python_livekit._call.state import CallState
from roark_analytics_python_livekit._serialize import json_digest, json_pieces
from tests.support.simulated_call import KEY, facts_of
from tests.support.steps import is_in_steps

Story = Callable[[int], Iterator[dict[str, Any]]]


def state_of(story: Iterator[dict[str, Any]]) -> CallState:
    """The state of a call in which this happened."""
    state = CallState()
    state.apply(call_record(facts_of(), {}, recording="off", base_url="https://x", api_key=KEY))
    for record in story:
        state.apply(record)
    return state


def event_of(state: CallState) -> dict[str, Any]:
    """Its call-ended."""
    counts: Any = {"attempts": 0, "retries": 0, "dropped": {}, "recovered": False}
    make = inspect.unwrap(CallState.ended_event)  # every test checks it against the schema
    return make(state, counts, [], None)


def said(at: float, text: str) -> Iterator[dict[str, Any]]:
    """The caller speaks, and is understood."""
    yield {"type": "state", "who": "user", "speaking": True, "at": at}
    yield {"type": "state", "who": "user", "speaking": False, "at": at + 1}
    yield {"type": "heard", "text": text, "at": at + 1.1}


def turns(count: int) -> Iterator[dict[str, Any]]:
    """Questions and answers."""
    for number in range(count):
        at = 4.0 * number
        yield from said(at, f"hello number {number}")
        text = f"hello number {number}"
        yield {"type": "turn", "role": "user", "text": text, "at": at + 1.2, "id": f"u{number}"}
        yield {"type": "turn", "role": "assistant", "text": "yes", "at": at + 3, "id": f"a{number}"}


def unanswered(count: int) -> Iterator[dict[str, Any]]:
    """Nothing that the caller says becomes a turn."""
    for number in range(count):
        yield from said(4.0 * number, f"hello number {number}")


def answered_late(count: int) -> Iterator[dict[str, Any]]:
    """All that the caller says becomes one turn, of other words."""
    yield from unanswered(count)
    yield {"type": "turn", "role": "user", "text": "something else", "at": 4.0 * count, "id": "u"}


def agent_only(count: int) -> Iterator[dict[str, Any]]:
    """The caller is heard, but only the agent has turns."""
    for number in range(count):
        at = 4.0 * number
        yield from said(at, f"hello number {number}")
        yield {"type": "turn", "role": "assistant", "text": "yes", "at": at + 3, "id": f"a{number}"}


def results(count: int) -> Iterator[dict[str, Any]]:
    """Tools that return whole pages."""
    for number in range(count):
        call = {"id": f"call{number}", "at": float(number)}
        yield {"type": "tool_call", "name": "page", "arguments": "{}", **call}
        yield {"type": "tool_result", "content": "x" * 65_536, "error": False, **call}


def seconds_for(state: CallState) -> float:
    """CPU time of this thread to build the event: the best of three."""
    taken = []
    for _ in range(3):
        began = time.thread_time()
        event_of(state)
        taken.append(time.thread_time() - began)
    return min(taken)


@pytest.mark.parametrize("story", [turns, unanswered, answered_late, agent_only])
def test_eight_times_as_much_takes_about_eight_times_as_long(story: Story) -> None:
    """Not 64 times (fault 38)."""
    gc.disable()
    try:
        few, many = (seconds_for(state_of(story(count))) for count in (400, 3200))
    finally:
        gc.enable()
    assert many / few < 20, (few, many)


@pytest.mark.parametrize(
    ("story", "count"), [(turns, 7500), (unanswered, 5000), (answered_late, 5000), (results, 200)]
)
def test_no_step_holds_the_interpreter(story: Story, count: int) -> None:
    """Neither where it is built nor where it is encoded."""
    state = state_of(story(count))
    event = event_of(state)
    works = (lambda: event_of(state), lambda: list(json_pieces(event)), lambda: json_digest(event))
    for work in works:
        assert is_in_steps(work, 0.01)


@pytest.mark.parametrize("story", [turns, results])
def test_what_is_encoded_in_steps_is_the_same(story: Story) -> None:
    """As json does it at once."""
    event = event_of(state_of(story(3)))
    at_once = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    assert b"".join(json_pieces(event)) == at_once.encode()
    in_order = json.dumps(event, sort_keys=True)  # idempotency keys come from it
    assert json_digest(event) == hashlib.sha256(in_order.encode()).hexdigest()


@pytest.mark.parametrize("odd", [float("nan"), object(), [float("inf")], {"a": [{1, 2}]}])
def test_what_is_no_json_is_refused(odd: object) -> None:
    """Wherever it stands."""
    with pytest.raises((TypeError, ValueError)):
        list(json_pieces({"event": [odd], "more": {"nested": {}}}))
