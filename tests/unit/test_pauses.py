"""`pause_recording(transcripts=False)`: what was said meanwhile is not kept."""

from __future__ import annotations

from typing import Any

import pytest

from roark_analytics_python_livekit._call.pauses import NOT_TRANSCRIBED, PauseLog, TranscriptFilter
from roark_analytics_python_livekit._call.tool_calls import ToolRows
from roark_analytics_python_livekit._types import Placed


def turn(role: str = "user", at: float = 0.0, **more: Any) -> dict[str, Any]:
    """Something that was said."""
    return {"type": "turn", "role": role, "text": "words", "at": at, **more}


def state(speaking: bool, at: float, who: str = "user") -> dict[str, Any]:
    """Somebody began or stopped to speak."""
    return {"type": "state", "who": who, "speaking": speaking, "at": at}


def withholding(*spans: tuple[float, float | None]) -> Any:
    """A filter in a call whose transcripts were paused in these spans; None is still open."""
    log = PauseLog()
    for start, end in spans:
        log.switch({"type": "switch", "at": start, "on": False, "transcripts": False})
        if end is not None:
            log.switch({"type": "switch", "at": end, "on": True})
    return TranscriptFilter(log)


def placed(at: float) -> Placed:
    """A moment as the rows have it."""
    return {"timestamp": str(at), "audioOffsetMs": round(at * 1000)}


@pytest.fixture
def withheld() -> Any:
    """A span from 10 to 20."""
    return withholding((10.0, 20.0))


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
    withheld: Any, start: float, end: float, kept: bool
) -> None:
    """Wherever its text came: a transcript is late."""
    record = turn(at=30.0, start=start, end=end)
    assert (withheld.filter(record) is not None) == kept


def test_without_measured_times_the_states_say_when_it_was_said(withheld: Any) -> None:
    """As before livekit-agents 1.3."""
    withheld.filter(state(True, 18.0))
    withheld.filter(state(False, 19.0))
    assert withheld.filter(turn(at=21.0)) is None
    withheld.filter(state(True, 22.0))
    withheld.filter(state(False, 23.0))
    assert withheld.filter(turn(at=24.0)) is not None


def test_a_span_that_is_still_open_withholds_everything() -> None:
    """Both roles, transcripts and keys."""
    withheld = withholding((10.0, None))
    assert withheld.filter(turn(at=11.0)) is None
    assert withheld.filter(turn("assistant", at=11.0)) is None
    assert withheld.filter({"type": "heard", "text": "words", "at": 11.0}) is None
    assert withheld.filter({"type": "dtmf", "digit": "4", "at": 11.0}) is None
    assert withheld.filter({"type": "metric", "at": 11.0}) is not None


def test_a_tool_that_was_called_in_the_span_is_left_out_with_its_result(
    withheld: Any,
) -> None:
    """Its arguments are what was said."""
    call = {"type": "tool_call", "id": "1", "arguments": "{}", "at": 15.0}
    result = {"type": "tool_result", "id": "1", "content": "done", "at": 25.0}
    assert withheld.filter(call) is None
    assert withheld.filter({"type": "tool_ended", "id": "1", "at": 24.0}) is None
    assert withheld.filter(result) is None


def test_a_tool_that_was_called_before_keeps_its_call_and_loses_what_it_told(
    withheld: Any,
) -> None:
    """The row says that it returned, and when."""
    call = {"type": "tool_call", "id": "1", "arguments": "{}", "at": 5.0}
    result = {"type": "tool_result", "id": "1", "content": "done", "error": False, "at": 12.0}
    assert withheld.filter(call) == call
    assert withheld.filter(result) == {**result, "content": NOT_TRANSCRIBED}


def test_without_a_span_nothing_is_withheld() -> None:
    """The usual case."""
    withheld = withholding()
    for record in (turn(at=1.0), {"type": "tool_call", "id": "1", "at": 1.0}):
        assert withheld.filter(record) == record


# Tools that run while nothing is transcribed


def tool(kind: str, at: float, call: str = "1", **more: Any) -> dict[str, Any]:
    """Something that a tool's call tells."""
    return {"type": f"tool_{kind}", "id": call, "at": at, **more}


def told(withheld: Any, *records: dict[str, Any]) -> list[Any]:
    """The contents that are kept; None for what is not."""
    return [kept and kept.get("content") for kept in map(withheld.filter, records)]


ENDED, RESULT = tool("ended", 30.0, content="4111", final=False), tool("result", 30.1, content="41")


@pytest.mark.parametrize("records", [(ENDED, RESULT), (RESULT, ENDED), (RESULT,)])
def test_a_tool_that_spans_the_pause_keeps_its_rows_and_tells_nothing(
    withheld: Any, records: tuple[dict[str, Any], ...]
) -> None:
    """As one that pauses, asks for the card, resumes and returns it; before 1.6 all at once."""
    call = tool("call", 9.9, arguments="{}")
    assert withheld.filter(call) == call
    assert told(withheld, *records) == [NOT_TRANSCRIBED] * len(records)


def test_so_it_is_while_the_pause_is_still_open() -> None:
    """The agent's code resumes only after its tool has returned."""
    log = PauseLog()
    withheld = TranscriptFilter(log)
    withheld.filter(tool("call", 9.9, arguments="{}"))
    log.switch({"type": "switch", "at": 10.0, "on": False, "transcripts": False})
    assert told(withheld, ENDED, RESULT) == [NOT_TRANSCRIBED, NOT_TRANSCRIBED]
    cancelled = tool("ended", 31.0, status="cancelled", final=True)
    assert withheld.filter(cancelled) == cancelled


def test_a_tool_that_ran_before_or_after_the_pause_tells_everything(withheld: Any) -> None:
    """Also if it is told late, and if livekit tells its call twice (1.6)."""
    before = tool("call", 5.0), tool("result", 9.0, content="before")
    after = tool("call", 21.0, "2"), tool("call", 20.9, "2"), tool("result", 25.0, "2", content="b")
    assert told(withheld, *before, *after) == [None, "before", None, None, "b"]


@pytest.mark.parametrize("at", [15.0, 25.0])
def test_progress_that_falls_into_the_pause_does_not_hide_that_the_tool_ended(
    withheld: Any, at: float
) -> None:
    """Its first report is its result, too, until it really ends."""
    rows = ToolRows(placed)
    for record in (
        tool("call", 9.0, name="collect", arguments="{}"),
        tool("update", at, content="half"),
        tool("result", at, content="half", error=False),
        tool("ended", 30.0, content="all", status="done", final=True),
    ):
        kept: Any = withheld.filter(record)
        rows.add(kept)
    call, result = rows.rows()
    assert "isRunning" not in call
    assert call["kind"] == "tool_call" and call["updates"][0]["content"] == NOT_TRANSCRIBED
    assert result["kind"] == "tool_result" and result["content"] == NOT_TRANSCRIBED


def test_a_tool_that_still_runs_is_told_to_be_running(withheld: Any) -> None:
    """Its first report is no end."""
    rows = ToolRows(placed)
    for record in (
        tool("call", 9.0, name="collect", arguments="{}"),
        tool("update", 15.0, content="half"),
        tool("result", 15.0, content="half", error=False),
    ):
        kept: Any = withheld.filter(record)
        rows.add(kept)
    (call,) = rows.rows()
    assert call["kind"] == "tool_call" and call["isRunning"]


def test_an_id_that_comes_again_is_another_call(withheld: Any) -> None:
    """Some models number their calls anew in each answer."""
    assert told(withheld, tool("call", 15.0), tool("result", 16.0, content="secret")) == [None] * 2
    assert withheld.filter(tool("call", 30.0)) is not None
    assert told(withheld, tool("result", 31.0, content="open")) == ["open"]
    assert told(withheld, tool("result", 32.0, "2", content="whose")) == ["whose"]
    assert withheld.filter(tool("call", 33.0, "2")) is not None


def test_one_call_that_two_clocks_tell_of_is_one_call() -> None:
    """It began in the pause by the one, and by the other long after it."""
    withheld = withholding((10.0, 20.0))
    assert withheld.filter(tool("call", 15.0, item="a")) is None
    assert withheld.filter(tool("ended", 16.0, content="secret", final=False)) is None
    assert withheld.filter(tool("call", 300.0, item="a", arguments="{}")) is None
    assert withheld.filter(tool("result", 300.0, item="a", content="secret")) is None
    assert withheld.filter(tool("call", 25.0, item="b")) is not None


# Transcripts that come late, and those of the rest of the call


def heard(at: float, text: str = "words") -> dict[str, Any]:
    """The recognizer has understood something."""
    return {"type": "heard", "text": text, "at": at}


def kept_of(withheld: Any, *records: dict[str, Any]) -> list[float]:
    """When what is kept was told."""
    return [
        record["at"]
        for record in records
        if withheld.filter(record) is not None and record["type"] != "state"
    ]


def said(begin: float, end: float, *records: dict[str, Any]) -> list[dict[str, Any]]:
    """Speech and what comes of it; a transcript if nothing else is given."""
    return [state(True, begin), state(False, end), *(records or (heard(end + 0.3),))]


LATE_ONES = {
    "the rest of a turn in the pause": said(17, 19, heard(19.1), turn(at=19.2), heard(20.4)),
    "its only transcript": said(17, 19, turn(at=19.2), heard(20.4)),
    "the rest of a turn after it": said(17, 19, turn(at=20.2), heard(20.4), heard(24.9)),
    "a measured turn": [turn(at=20.2, start=17.0, end=19.0), heard(20.4), heard(25.1)],
    "several, no turn": said(17, 19, heard(20.1), heard(20.4)),
    "the rest as a turn of its own": said(17, 19, turn(at=20.2), heard(20.4), turn(at=23.0)),
    "that, much later": said(17, 19, turn(at=20.2), heard(20.4), turn(at=29.0)),
    "speech that goes on": [state(True, 19), heard(20.1), heard(21.0)],
    "unseen speech": [heard(21.0)],
    "unseen speech, after noise": [*said(5, 5.3, state(False, 6)), heard(15.0), turn(at=16.0)],
    "times that miss half of a turn": said(
        17, 19, heard(19.3, "four one"), turn(at=25.0, text="four one and more", start=22.0, end=24)
    ),
}


@pytest.mark.parametrize("case", LATE_ONES)
def test_what_may_have_been_said_in_the_pause_stays_out_however_late(
    withheld: Any, case: str
) -> None:
    """A transcript comes after its turn, or in pieces, or without any sign of speech."""
    assert kept_of(withheld, *LATE_ONES[case]) == []


AFTERWARDS = [*said(30, 31), *said(600, 601), *said(3000, 3001), turn(at=3002.0)]
AFTERWARDS_AT = [31.3, 601.3, 3001.3, 3002.0]


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ([], []),
        (said(1, 2), [2.3]),
        (said(1, 2, state(False, 2)), []),
        ([*said(1, 2), *said(5, 5.3, state(False, 6))], [2.3]),
        (said(9, 9.9, heard(10.2)), [10.2]),
    ],
)
def test_one_pause_never_silences_the_rest_of_the_call(
    before: list[dict[str, Any]], kept: list[float]
) -> None:
    """Where nothing is answered, there are no turns between; noise has no words."""
    withheld = withholding((10.0, 20.0))
    assert kept_of(withheld, *before, *AFTERWARDS) == [*kept, *AFTERWARDS_AT]


def test_so_it_is_if_something_was_said_in_the_pause(withheld: Any) -> None:
    """The one turn that has it all, in the end, is what it costs."""
    assert kept_of(withheld, *said(12, 14), *AFTERWARDS) == AFTERWARDS_AT[:-1]
    assert kept_of(withheld, *said(3010, 3011, turn(at=3012.0))) == [3012.0]


def test_new_speech_after_the_pause_is_kept_at_once(withheld: Any) -> None:
    """A withheld turn takes late transcripts with it, and nothing else."""
    late = said(17, 19, turn(at=19.2), heard(20.3, "word"))
    new = said(20.5, 21, heard(21.1), heard(21.4), turn(at=22.0))
    assert kept_of(withheld, *late, *new) == [21.1, 21.4, 22.0]


def test_speech_that_never_seems_to_end_costs_seconds(withheld: Any) -> None:
    """As with a noisy line."""
    records = [state(True, 12.0), *(heard(float(at)) for at in range(14, 60, 4))]
    assert kept_of(withheld, *records) == [float(at) for at in range(34, 60, 4)]


@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize("later", [0.1, 1.5, 5.0, 300.0])
def test_a_turn_that_nobody_was_heard_to_say_is_judged_by_its_own_time(
    withheld: Any, role: str, later: float
) -> None:
    """It was typed, or is text only; whatever was said in the pause, and became a turn."""
    before = [turn(role, at=5.0), turn(role, at=10.5), *said(12, 14, turn(at=14.1))]
    then = turn(role, at=20.0 + later, created=20.05)
    assert kept_of(withheld, *before, then) == [5.0, 20.0 + later]
    assert withheld.left_out == 2


def test_one_that_livekit_began_to_make_in_the_pause_is_left_out(withheld: Any) -> None:
    """As a reply to what was said then, where nobody speaks it."""
    assert kept_of(withheld, turn("assistant", at=21.0, created=19.0)) == []
    assert kept_of(withheld, turn("assistant", at=22.0, created=21.5)) == [22.0]


def test_without_voice_activity_detection_a_transcript_says_that_it_was_spoken(
    withheld: Any,
) -> None:
    """Nobody knows since when; the next turn is whole."""
    assert kept_of(withheld, heard(5.0), turn(at=5.1), heard(21.0), turn(at=21.1)) == [5.0, 5.1]
    assert kept_of(withheld, heard(30.0), turn(at=30.1)) == [30.0, 30.1]


def test_what_is_left_out_is_counted_once(withheld: Any) -> None:
    """Two turns, of which one is told twice; a call, a key, and words that became no turn."""
    records = [
        *said(11, 12, heard(12.1), turn(at=12.2, id="t1"), turn(at=12.2, id="t1")),
        turn("assistant", at=13.0, id="t2"),
        *(tool("call", 14.0, item="a"), tool("ended", 14.5, final=False)),
        *(tool("call", 14.0, item="a"), tool("result", 14.5, item="a", content="secret")),
        {"type": "dtmf", "digit": "4", "at": 15.0},
        *said(16, 17),
    ]
    assert kept_of(withheld, *records) == []
    assert withheld.left_out == 5
    assert kept_of(withheld, turn(at=18.0, start=16.0, end=17.0, text="the words")) == []
    assert withheld.left_out == 5  # now they did become one
    kept = {"type": "withheld", "at": 18.0, "count": 5}
    assert withheld.withheld(turn("assistant", at=18.0)) == {**kept, "role": "assistant"}
    assert withheld.withheld({"type": "dtmf", "digit": "4", "at": 18.0}) == kept


def test_an_agent_that_falls_silent_after_its_turn_has_said_it_all(withheld: Any) -> None:
    """livekit tells the turn first, then that the agent listens."""
    first = [state(True, 17, "assistant"), turn("assistant", 19.0), state(False, 20, "assistant")]
    then = [state(True, 30, "assistant"), turn("assistant", 31.0)]
    assert kept_of(withheld, *first) == []
    assert kept_of(withheld, *then) == [31.0]


def test_what_was_withheld_is_in_no_repr(withheld: Any) -> None:
    """It is remembered for a while, to know it again."""
    withheld.filter(heard(15.0, "four one"))
    assert "four" not in repr(withheld)
