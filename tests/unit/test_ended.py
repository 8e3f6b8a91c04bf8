"""call-ended is kept as it was built, however much there is to tell, in records of bounded size."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._call.ended import ended_records
from roark_analytics_python_livekit._call.facts import call_record
from roark_analytics_python_livekit._call.state import CallState, read_state
from roark_analytics_python_livekit._delivery.call_spool import encode_record
from roark_analytics_python_livekit._delivery.limits import Limits, RetryPolicy
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._recovery import Recovered, recover_all
from tests.support.fake_roark import BASE_URL, KEY, Roark
from tests.support.simulated_call import facts_of

Records = list[dict[str, Any]]


def call_with(results: int, note: str = "x") -> Records:
    """The records of a call in which tools returned whole pages."""
    facts = facts_of("RM_1", started=100.0)
    opening = call_record(facts, {}, base_url=BASE_URL, api_key=KEY, recording="off")
    records: Records = [dict(opening)]
    for number in range(results):
        call = {"id": f"call{number}", "at": 101.0 + number}
        page = f"{number} {note * 40_000}"
        records.append({"type": "tool_call", "name": "page", "arguments": "{}", **call})
        records.append({"type": "tool_result", "content": page, "error": False, **call})
    return records


def state_of(records: Records) -> CallState:
    state = read_state(records)
    assert state is not None
    return state


def event_of(records: Records) -> dict[str, Any]:
    """The call-ended of a call in which all this happened."""
    counts: Any = {"attempts": 0, "retries": 0, "dropped": {}, "recovered": False}
    make = inspect.unwrap(CallState.ended_event)  # every test checks it against the schema
    return make(state_of(records), counts, [], None)


def kept(event: dict[str, Any]) -> Records:
    return [dict(record) for record in ended_records(event)]


@pytest.mark.parametrize("results", [0, 1, 2, 50])
def test_an_event_of_any_size_is_read_back_as_it_was(results: int) -> None:
    """From records that are read in a millisecond each; most calls need one."""
    records = call_with(results)
    event = event_of(records)
    pieces = kept(event)
    assert (len(pieces) == 1) == (results < 3)
    assert max(len(encode_record(piece)) for piece in pieces) < 200_000
    state = state_of(records + pieces)
    assert state.ended == event
    assert state_of(list(map(dict, state.records()))).ended == event  # for a disk that is back


def test_an_event_that_was_half_written_is_none() -> None:
    """Its process died meanwhile."""
    records = call_with(8)
    for cut in range(len(kept(event_of(records)))):
        assert state_of(records + kept(event_of(records))[:cut]).ended is None


def test_an_event_of_which_a_record_is_damaged_is_none() -> None:
    """It is built again."""
    records = call_with(8)
    pieces = kept(event_of(records))
    for lost in range(len(pieces)):
        assert state_of(records + pieces[:lost] + pieces[lost + 1 :]).ended is None


def test_a_later_event_takes_the_place_of_one_that_was_half_written() -> None:
    """And of one that was whole: whichever had more rows."""
    records = call_with(8)
    first, fewer, more = (event_of(call_with(count, "y")) for count in (8, 5, 20))
    for later in (first, fewer, more):
        for cut in (1, 2, None):
            entries = records + kept(event_of(records))[:cut] + kept(later)
            assert state_of(entries).ended == later


async def test_an_event_that_was_built_is_sent_as_it_was(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """With all its rows, by the next process."""
    records = call_with(30)
    event = event_of(records)
    call = Spool(tmp_path / "spool").begin("RM_1")
    end = {"type": "end", "at": 140.0, "reason": "done"}
    for record in [*records, end, *kept(event)]:
        call.append_record(record)
    call.release()
    found: list[Recovered] = []
    limits = Limits(retry=RetryPolicy(base=0.0, cap=0.0))
    await recover_all(
        Spool(tmp_path / "spool"), client, Guard(), limits=limits, on_call=found.append
    )
    assert [one.events for one in found] == [2]
    assert roark.call("RM_1")["ended"]["toolCalls"] == event["toolCalls"]
    assert roark.call("RM_1")["ended"]["delivery"]["recovered"] is False  # built before the kill
