"""Records become the two events of the wire, as the service takes them."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roark_analytics_python_livekit._call.payloads import TimeLine, call_ended, call_started
from roark_analytics_python_livekit._call.records import (
    EndRecord,
    ErrorRecord,
    HandoffRecord,
    HeardRecord,
    MetricRecord,
    Record,
    StateRecord,
    ToolCallRecord,
    ToolEndedRecord,
    ToolResultRecord,
    TurnRecord,
    WithheldRecord,
    end_record,
)
from roark_analytics_python_livekit._livekit import events as _events
from roark_analytics_python_livekit._livekit import metrics as _metrics
from roark_analytics_python_livekit._livekit.clock import WallClock
from roark_analytics_python_livekit._types import DeliveryCounts, Recording
from tests.support.simulated_call import facts_of
from tests.support.wire import received

START = 1000.0  # monotonic
FACTS = facts_of(
    agent_id="support",
    is_test=False,
    versions={"sdk": "0.2.0"},
    started_at=datetime(2025, 11, 24, 8, 19, 3, 412_000, tzinfo=timezone.utc),
    started=START,
)
SDK = {
    "name": "roark-analytics-python-livekit",
    "version": "0.2.0",
    "python": platform.python_version(),
}
DISABLED: Recording = {
    "status": "disabled",
    "reason": "recording is off",
    "chunkCount": 0,
    "byteCount": 0,
    "durationMs": 0,
    "gaps": [],
    "pauses": [],
}
NO_COUNTS: DeliveryCounts = {"attempts": 0, "retries": 0, "dropped": {}, "recovered": False}
END = end_record(START + 60, "participant_disconnected")


def offset_ms(at: float) -> int:
    """A recording that began with the call."""
    return max(0, round((at - START) * 1000))


TIME_LINE = TimeLine(offset_ms)


def ended(*records: Record, end: EndRecord = END, **changes: Any) -> dict[str, Any]:
    """The call-ended event of these records, as the service reads it."""
    recording = changes.pop("recording", DISABLED)
    time_line = replace(TIME_LINE, **changes.pop("time_line", {}))
    metadata = changes.pop("metadata", {})
    counts = changes.pop("delivery", NO_COUNTS)
    assert not changes
    return received(call_ended(FACTS, end, records, time_line, recording, counts, metadata))


def turn(role: str, text: str, at: float, **more: Any) -> TurnRecord:
    """Something that was said."""
    return cast(TurnRecord, {"type": "turn", "role": role, "text": text, "at": START + at, **more})


def state(who: str, speaking: bool, at: float) -> StateRecord:
    """Somebody began or stopped to speak."""
    return cast(StateRecord, {"type": "state", "who": who, "speaking": speaking, "at": START + at})


def withheld(who: Literal["assistant", "user"], at: float) -> WithheldRecord:
    """A turn that was left out."""
    return {"type": "withheld", "role": who, "at": at, "count": 1}


def heard(at: float = 0.0, **more: str) -> HeardRecord:
    """A final transcript."""
    return cast(HeardRecord, {"type": "heard", "at": START + at, **more})


def tool_call(at: float, id: str = "call_1") -> ToolCallRecord:
    """A tool was called."""
    return {"type": "tool_call", "id": id, "name": "lookup", "arguments": "{}", "at": START + at}


def tool_result(at: float, id: str = "call_1", error: bool = False) -> ToolResultRecord:
    """It returned."""
    return {
        "type": "tool_result",
        "id": id,
        "content": "shipped",
        "error": error,
        "at": START + at,
    }


def tool_ended(at: float, id: str = "call_1") -> ToolEndedRecord:
    """It is over."""
    return {"type": "tool_ended", "id": id, "status": "done", "final": False, "at": START + at}


def of_item(item: str, record: Record) -> Record:
    """A record with livekit's id of the call."""
    return cast(Record, {**record, "item": item})


def ids(event: dict[str, Any]) -> list[str]:
    """The calls that are told, one for each row."""
    return [row["toolCallId"] for row in event["toolCalls"]]


def metric(kind: str, at: float, extra: dict[str, Any] | None = None, **fields: Any) -> Record:
    """Latencies."""
    record = {
        "type": "metric",
        "kind": kind,
        "at": START + at,
        "fields": fields,
        "extra": extra or {},
    }
    return cast(MetricRecord, record)


def spoken(event: dict[str, Any]) -> list[tuple[str, int, int]]:
    """The transcript as (content, from, to)."""
    return [
        (row["content"], row["audioOffsetMs"], row["endAudioOffsetMs"])
        for row in event["transcript"]
    ]


class TestCallStarted:
    """The event that opens a call."""

    def test_it_says_what_is_known(self) -> None:
        """And nothing that is not."""
        assert received(call_started(FACTS, {})) == {
            "event": "call-started",
            "livekitCallId": "RM_1",
            "eventTimestamp": "2025-11-24T08:19:03.412+00:00",
            "agentId": "support",
            "isTest": False,
            "sdk": SDK,
        }

    def test_it_says_everything_that_is_known(self) -> None:
        """Names, the job, the versions, the agent's own metadata."""
        job = {
            "jobId": "AJ_1",
            "roomName": "room",
            "roomSid": "RM_1",
            "participantIdentity": "caller",
        }
        facts = replace(
            FACTS,
            agent_name="Support",
            agent_prompt="Be kind.",
            is_test=True,
            job=job,
            versions={"sdk": "0.2.0", "livekit-agents": "1.8.9"},
        )
        event = received(call_started(facts, {"plan": "gold", "odd": float("nan")}))
        assert event["agentName"] == "Support"
        assert event["agentPrompt"] == "Be kind."
        assert event["isTest"] is True
        assert {key: event[key] for key in job} == job
        assert event["sdk"] == {**SDK, "livekitAgentsVersion": "1.8.9"}
        assert event["metadata"] == {"plan": "gold", "odd": "nan"}

    def test_times_are_utc_wherever_the_agent_is(self) -> None:
        """The wall clock of the beginning may have another zone."""
        zone = timezone(timedelta(hours=5, minutes=30))
        facts = replace(FACTS, started_at=FACTS.started_at.astimezone(zone))
        assert call_started(facts, {}) == call_started(FACTS, {})


class TestCallEnded:
    """The event that closes a call."""

    def test_a_call_in_which_nothing_happened(self) -> None:
        """It is still a call."""
        assert ended() == {
            "event": "call-ended",
            "livekitCallId": "RM_1",
            "eventTimestamp": "2025-11-24T08:20:03.412+00:00",
            "callStartedAt": "2025-11-24T08:19:03.412+00:00",
            "callEndedAt": "2025-11-24T08:20:03.412+00:00",
            "callEndedReason": "participant_disconnected",
            "durationMs": 60_000,
            "transcript": [],
            "toolCalls": [],
            "metrics": [],
            "usage": [],
            "handoffs": [],
            "agents": [],
            "dtmf": [],
            "events": [],
            "endedBy": "caller",
            "recording": DISABLED,
            "delivery": NO_COUNTS,
            "sdk": SDK,
        }

    def test_a_call_in_which_everything_happened(self) -> None:
        """All kinds of records at once, in no particular order."""
        handoff: HandoffRecord = {"type": "handoff", "old": "a", "new": "b", "at": START + 9}
        event = ended(
            metric("llm", 4.0, {"label": "x"}, ttft=0.5),
            turn("assistant", "How can I help?", 2.0, start=START + 1, end=START + 2, id="item_1"),
            tool_call(5.0),
            tool_result(5.25),
            handoff,
            turn("user", "Where is my bike?", 4.0, start=START + 3, end=START + 4, id="item_2"),
            time_line={"sample_rate": 24_000},
            metadata={"plan": "gold"},
        )
        assert event["agentSpokeFirst"] is True
        assert (event["recordingSampleRate"], event["recordingNumChannels"]) == (24_000, 2)
        assert event["transcript"] == [
            {
                "role": "assistant",
                "content": "How can I help?",
                "timestamp": "2025-11-24T08:19:04.412+00:00",
                "endTimestamp": "2025-11-24T08:19:05.412+00:00",
                "audioOffsetMs": 1000,
                "endAudioOffsetMs": 2000,
                "id": "item_1",
            },
            {
                "role": "user",
                "content": "Where is my bike?",
                "timestamp": "2025-11-24T08:19:06.412+00:00",
                "endTimestamp": "2025-11-24T08:19:07.412+00:00",
                "audioOffsetMs": 3000,
                "endAudioOffsetMs": 4000,
                "id": "item_2",
            },
        ]
        assert event["toolCalls"] == [
            {
                "kind": "tool_call",
                "toolCallId": "call_1",
                "name": "lookup",
                "arguments": "{}",
                "timestamp": "2025-11-24T08:19:08.412+00:00",
                "audioOffsetMs": 5000,
            },
            {
                "kind": "tool_result",
                "toolCallId": "call_1",
                "content": "shipped",
                "timestamp": "2025-11-24T08:19:08.662+00:00",
                "audioOffsetMs": 5250,
                "durationMs": 250,
            },
        ]
        assert event["metrics"] == [
            {
                "kind": "llm",
                "timestamp": "2025-11-24T08:19:07.412+00:00",
                "audioOffsetMs": 4000,
                "ttft": 0.5,
                "extra": {"label": "x"},
            }
        ]
        assert event["handoffs"] == [
            {
                "fromAgentId": "a",
                "toAgentId": "b",
                "timestamp": "2025-11-24T08:19:12.412+00:00",
                "audioOffsetMs": 9000,
            }
        ]
        assert event["metadata"] == {"plan": "gold"}

    @pytest.mark.parametrize(
        ("reason", "ended_by"),
        [
            ("participant_disconnected", "caller"),
            ("user_initiated", "agent"),
            ("task_completed", "agent"),
            ("job_shutdown", "worker"),
            ("process_exit", "worker"),
            ("error", "error"),
            ("said goodbye", "agent"),
        ],
    )
    def test_who_ended_the_call_follows_from_the_reason(self, reason: str, ended_by: str) -> None:
        """livekit's close reasons, and the words given to `aflush`."""
        event = ended(end=end_record(START, reason))
        assert (event["callEndedReason"], event["endedBy"]) == (reason, ended_by)

    def test_the_error_that_ended_the_call_is_told(self) -> None:
        """Else the first that happened in it."""
        fatal: ErrorRecord = {"type": "error", "kind": "llm_error", "message": "gone", "at": START}
        early: ErrorRecord = {"type": "error", "kind": "tts_error", "message": "slow", "at": START}
        late: ErrorRecord = {**early, "kind": "stt_error"}
        event = ended(early, late, end=end_record(START, "error", error=fatal))
        assert event["error"] == {"type": "llm_error", "message": "gone"}
        assert ended(early, late)["error"] == {"type": "tts_error", "message": "slow"}
        assert "error" not in ended()

    @pytest.mark.parametrize("status", ["complete", "partial", "disabled", "failed"])
    def test_the_recordings_manifest_goes_along(self, status: Any) -> None:
        """Whatever became of it."""
        manifest: Recording = {
            "status": status,
            "reason": "status 503",
            "chunkCount": 3,
            "byteCount": 786_432,
            "durationMs": 8192,
            "sha256": "0" * 64,
            "gaps": [{"startMs": 0, "endMs": 2731}],
            "pauses": [{"startMs": 4000, "endMs": 5000}],
        }
        event = ended(recording=manifest, time_line={"sample_rate": 24_000})
        assert event["recording"] == manifest

    def test_so_do_the_counts_of_the_delivery(self) -> None:
        """What was dropped, by reason."""
        counts: DeliveryCounts = {
            "attempts": 9,
            "retries": 2,
            "dropped": {"refused": 1, "queue_full": 40},
            "recovered": False,
        }
        assert ended(delivery=counts)["delivery"] == counts


class TestTranscript:
    """The turns."""

    def test_turns_stand_in_the_order_in_which_they_were_spoken(self) -> None:
        """livekit adds an interrupted turn late."""
        event = ended(
            turn("user", "second", 9.0, start=START + 5, end=START + 6),
            turn("assistant", "first", 9.5, start=START + 1, end=START + 4),
            turn("user", "third", 12.0),
        )
        assert [content for content, *_ in spoken(event)] == ["first", "second", "third"]

    def test_the_same_item_is_one_turn(self) -> None:
        """Some versions add it twice; items without an id are all different."""
        event = ended(
            turn("user", "hello", 1.0, id="item_1"),
            turn("user", "hello", 1.0, id="item_1"),
            turn("user", "hello", 2.0),
            turn("user", "hello", 2.0),
        )
        assert len(event["transcript"]) == 3

    @pytest.mark.parametrize(("first", "agent"), [("assistant", True), ("user", False)])
    def test_who_spoke_first_is_told(self, first: str, agent: bool) -> None:
        """By when it was spoken, not by when it was added."""
        second = "user" if agent else "assistant"
        event = ended(
            turn(second, "later", 2.0, start=START + 2), turn(first, "first", 3.0, start=START + 1)
        )
        assert event["agentSpokeFirst"] is agent

    def test_if_nobody_spoke_nobody_spoke_first(self) -> None:
        """A key that is not known is not there."""
        assert "agentSpokeFirst" not in ended()

    def test_a_turn_takes_its_language_and_speaker_from_its_transcript(self) -> None:
        """The last one before it, once; the agent's turns take none."""
        event = ended(
            heard(language="fr"),
            turn("assistant", "Bonjour", 0.5),
            heard(language="de", speaker="S1"),
            turn("user", "Hallo", 1.0),
            turn("user", "again", 2.0),
        )
        rows = [(row.get("language"), row.get("userId")) for row in event["transcript"]]
        assert rows == [(None, None), ("de", "S1"), (None, None)]

    def test_everything_known_of_a_turn_goes_along(self) -> None:
        """Under the wire's names."""
        event = ended(
            turn(
                "assistant",
                "well",
                1.0,
                id="item_1",
                interrupted=True,
                confidence=0.5,
                agent="sales",
                metrics={"llmNodeTtft": 0.25},
            )
        )
        (row,) = event["transcript"]
        assert row["interrupted"] is True
        assert row["confidence"] == 0.5
        assert row["agentId"] == "sales"
        assert row["metrics"] == {"llmNodeTtft": 0.25}

    def test_a_turn_without_times_has_those_of_the_state(self) -> None:
        """Before 1.3: from the first "speaking" to the last "listening" before it."""
        event = ended(
            state("user", True, 1.0),
            state("user", False, 2.0),
            state("user", True, 2.5),
            state("user", False, 4.0),
            turn("user", "with a pause", 4.5),
            state("assistant", True, 5.0),
            turn("assistant", "still speaking", 7.0),
            turn("user", "unseen", 9.0),
        )
        assert spoken(event) == [
            ("with a pause", 1000, 4000),
            ("still speaking", 5000, 7000),
            ("unseen", 9000, 9000),
        ]

    def test_measured_times_go_before_states(self) -> None:
        """And a state is used up by the turn that it was about."""
        event = ended(
            state("user", True, 1.0),
            state("user", False, 2.0),
            turn("user", "measured", 2.5, start=START + 1.25, end=START + 1.75),
            turn("user", "not that one's", 3.0),
        )
        assert spoken(event) == [("measured", 1250, 1750), ("not that one's", 3000, 3000)]

    def test_a_state_that_ends_what_never_began_is_passed_over(self) -> None:
        """Observed after the session began."""
        event = ended(state("user", False, 1.0), turn("user", "hello", 2.0))
        assert spoken(event) == [("hello", 2000, 2000)]

    def test_the_callers_turn_is_fitted_to_the_audio(self) -> None:
        """The recording knows better than a voice detector; the agent's own times are exact."""

        def voiced(start: float, end: float) -> tuple[float, float]:
            return start - 0.25, end - 0.5

        event = ended(
            turn("user", "hello", 3.0, start=START + 1, end=START + 2),
            turn("assistant", "hi", 5.0, start=START + 3, end=START + 4),
            time_line={"voiced": voiced, "sample_rate": 24_000},
        )
        assert spoken(event) == [("hello", 750, 1500), ("hi", 3000, 4000)]

    def test_no_turn_ends_before_it_begins(self) -> None:
        """Whatever the clocks said."""
        event = ended(turn("user", "odd", 1.0, start=START + 3, end=START + 2))
        assert spoken(event) == [("odd", 3000, 3000)]

    def test_the_records_are_left_as_they_are(self) -> None:
        """The event may have to be made again."""
        record = turn("user", "hello", 1.0)
        before = dict(record)
        assert ended(heard(language="de"), record) == ended(heard(language="de"), record)
        assert record == before


class TestOrders:
    """Nothing twice, and in the order spoken, in whatever order livekit tells it."""

    def test_transcripts_after_their_turn_are_no_turns_of_their_own(self) -> None:
        """However many they are, and if one comes twice; the turn has their language."""
        event = ended(
            turn("user", "Hello there you", 2.0),
            heard(2.1, text="hello", language="de"),
            heard(2.2, text="there you", language="de", speaker="S1"),
            heard(2.3, text="there you", language="de"),
        )
        (row,) = event["transcript"]
        assert (row["content"], row["language"], row["userId"]) == ("Hello there you", "de", "S1")

    def test_a_transcript_that_comes_again_is_told_once(self) -> None:
        """Before its turn and after it."""
        event = ended(
            heard(1.9, text="hello", language="de"),
            turn("user", "hello", 2.0),
            heard(2.1, text="hello", language="de"),
        )
        assert [row["content"] for row in event["transcript"]] == ["hello"]

    def test_words_inside_of_others_are_words_of_their_own(self) -> None:
        """What was typed is followed by what was said, and nobody answered."""
        event = ended(
            turn("user", "I do not know", 2.0), heard(3.0, text="no"), heard(3.5, text="know.")
        )
        assert [row["content"] for row in event["transcript"]] == ["I do not know", "no"]

    def test_what_is_typed_later_takes_no_words_away(self) -> None:
        """The caller's last words, minutes before, were not answered."""
        event = ended(heard(200.0, text="three", language="de"), turn("user", "hello", 300.0))
        assert [row["content"] for row in event["transcript"]] == ["three", "hello"]
        assert "language" not in event["transcript"][1]

    def test_the_same_words_said_again_are_a_turn_of_their_own(self) -> None:
        """The caller has spoken since; nobody answered."""
        event = ended(
            heard(1.9, text="yes", language="de"),
            turn("user", "yes", 2.0),
            state("user", True, 3.0),
            state("user", False, 3.5),
            heard(3.6, text="yes", language="de"),
        )
        assert spoken(event) == [("yes", 2000, 2000), ("yes", 3000, 3500)]

    def test_a_turn_that_livekit_left_out_is_there(self) -> None:
        """`StopResponse`, a speech that may not be interrupted: no item, but it was said."""
        event = ended(
            state("user", True, 1.0),
            state("user", False, 2.0),
            heard(2.1, text="never", language="de"),
            heard(2.2, text="mind", speaker="S1"),
            state("user", True, 6.0),
            state("user", False, 7.0),
            heard(7.1, text="mind the gap", language="en"),
            turn("user", "mind the gap", 7.2),
        )
        assert spoken(event) == [("never mind", 1000, 2000), ("mind the gap", 6000, 7000)]
        assert [row["language"] for row in event["transcript"]] == ["de", "en"]
        assert [row.get("userId") for row in event["transcript"]] == ["S1", None]

    def test_what_is_withheld_takes_its_speech_along(self) -> None:
        """In a pause of transcripts: the next turns begin when they were said, not before."""
        event = ended(
            state("user", True, 1.0),
            withheld("user", 2.0),
            state("user", False, 2.1),
            state("assistant", True, 3.0),
            withheld("assistant", 4.0),
            state("assistant", False, 4.1),
            turn("user", "typed", 6.0),
            state("assistant", True, 7.0),
            turn("assistant", "answered", 8.0),
        )
        assert spoken(event) == [("typed", 6000, 6000), ("answered", 7000, 8000)]

    def test_what_was_understood_before_a_pause_keeps_its_speech(self) -> None:
        """It was told, and its turn withheld: it stands where it was said."""
        event = ended(
            state("user", True, 1.0),
            state("user", False, 1.5),
            heard(1.6, text="before"),
            state("user", True, 2.0),
            state("user", False, 3.0),
            withheld("user", 3.5),
            turn("user", "after", 9.0),
        )
        assert spoken(event) == [("before", 1000, 1500), ("after", 9000, 9000)]

    def test_without_states_it_is_known_by_its_words(self) -> None:
        """Whatever is not in the turn's text was said before it."""
        event = ended(
            heard(2.1, text="never mind"), heard(7.1, text="now then"), turn("user", "now then", 8)
        )
        assert [row["content"] for row in event["transcript"]] == ["never mind", "now then"]

    def test_a_turn_that_the_agents_code_has_changed_is_told_once(self) -> None:
        """`on_user_turn_completed` may write another text; its transcripts are still its own."""
        event = ended(
            state("user", True, 1.0),
            heard(2.1, text="uh"),
            heard(2.2, text="where is it", language="en"),
            state("user", False, 2.3),
            turn("user", "The caller asks for an order.", 2.4),
        )
        assert spoken(event) == [("The caller asks for an order.", 1000, 2300)]
        assert event["transcript"][0]["language"] == "en"

    def test_a_session_that_never_answers_has_every_utterance(self) -> None:
        """Without a model there are transcripts only: a row for what was said in a row."""
        event = ended(
            state("user", True, 1.0),
            heard(2.0, text="one"),
            state("user", False, 2.5),
            state("user", True, 3.0),
            state("user", False, 4.0),
            heard(4.1, text="two"),
            state("user", True, 9.0),
            state("user", False, 9.5),
            heard(9.6, text="three"),
        )
        assert spoken(event) == [("one two", 1000, 4000), ("three", 9000, 9500)]
        assert event["agentSpokeFirst"] is False

    def test_a_result_before_its_call_is_joined_with_it(self) -> None:
        """As is an end before its beginning."""
        event = ended(tool_result(2.0), tool_call(1.0))
        assert [row["kind"] for row in event["toolCalls"]] == ["tool_call", "tool_result"]
        assert event["toolCalls"][1]["durationMs"] == 1000

    def test_a_turn_in_mid_speech_ends_with_the_call(self) -> None:
        """Nobody said that the caller had finished."""
        event = ended(state("user", True, 1.0), heard(3.0, text="and then"))
        assert spoken(event) == [("and then", 1000, 3000)]


class TestTools:
    """Tool rows."""

    def test_calls_of_one_name_at_once_are_told_apart_by_their_ids(self) -> None:
        """Each with its own result."""
        results = [{**tool_result(2.0, id), "content": f"of {id}"} for id in ("b", "a")]
        event = ended(tool_call(1.0, "a"), tool_call(1.0, "b"), *cast("list[Record]", results))
        rows = [(r["kind"], r["toolCallId"], r.get("content")) for r in event["toolCalls"]]
        assert rows == [
            ("tool_call", "a", None),
            ("tool_result", "a", "of a"),
            ("tool_call", "b", None),
            ("tool_result", "b", "of b"),
        ]

    def test_an_id_that_comes_again_later_is_another_call(self) -> None:
        """Some models number the calls of each answer anew."""
        event = ended(
            *(tool_call(1.0), tool_call(0.9), tool_result(2.0)),
            *(tool_call(5.0), tool_call(4.9), tool_result(6.0, error=True)),
            *(tool_call(7.0),),
        )
        rows = [(r["toolCallId"], r["audioOffsetMs"]) for r in event["toolCalls"]]
        assert rows == [
            ("call_1", 1000),
            ("call_1", 2000),
            ("call_1-2", 5000),
            ("call_1-2", 6000),
            ("call_1-3", 7000),
        ]
        assert [row.get("isError") for row in event["toolCalls"]] == [None] * 3 + [True, None]

    def test_what_is_told_twice_of_a_call_is_one_call(self) -> None:
        """The very same event again."""
        told = [of_item("a", tool_call(1.0)), of_item("a", tool_result(2.0))]
        assert len(ended(*told, *told)["toolCalls"]) == 2

    @pytest.mark.parametrize("off", [-3600.0, 0.0, 3600.0])
    def test_one_call_told_by_two_clocks_is_one_call(self, off: float) -> None:
        """Its beginning and end by the time of the events, the call by that of its making."""
        event = ended(
            of_item("a", tool_call(1.0)),
            tool_ended(2.0),
            of_item("a", tool_call(1.0 + off)),
            of_item("a", tool_result(2.0 + off)),
        )
        assert ids(event) == ["call_1", "call_1"]

    @pytest.mark.parametrize("off", [-3600.0, 0.0, 3600.0])
    def test_an_id_that_comes_again_is_another_call_whatever_the_clocks_say(
        self, off: float
    ) -> None:
        """Also where the first never had a result: it was cancelled."""
        event = ended(
            of_item("a", tool_call(1.0)),
            {**tool_ended(2.0), "status": "cancelled"},
            of_item("b", tool_call(1.0)),
            tool_ended(2.0),
            of_item("b", tool_call(1.0 + off)),
            of_item("b", tool_result(2.0 + off)),
            of_item("c", tool_call(1.0)),
        )
        assert sorted(ids(event)) == ["call_1", "call_1", "call_1-2", "call_1-2", "call_1-3"]
        contents = {r["toolCallId"]: r.get("content") for r in event["toolCalls"]}
        assert contents == {"call_1": "cancelled", "call_1-2": "shipped", "call_1-3": None}

    def test_a_handoff_that_was_cancelled_is_told_once_and_as_such(self) -> None:
        """The tool returned; then the turn was cut, and nobody took over."""
        result = {**tool_result(0.5, error=True), "content": "did not happen"}
        event = ended(
            of_item("a", tool_call(1.0)),
            tool_ended(2.0),
            of_item("a", tool_call(5.0)),
            of_item("a", cast(Record, result)),
        )
        (_, row) = event["toolCalls"]
        assert (row["content"], row.get("isError")) == ("did not happen", True)

    @pytest.mark.parametrize("final", [False, True])
    def test_of_two_calls_with_one_id_the_end_belongs_to_the_one_that_it_fits(
        self, final: bool
    ) -> None:
        """The first reports how far it is, and goes on beside the other."""
        event = ended(
            of_item("a", tool_call(1.0)),
            {"type": "tool_update", "id": "call_1", "content": "half", "at": START + 1.5},
            of_item("a", tool_call(1.0)),
            of_item("a", tool_result(1.5)),
            of_item("b", tool_call(2.0)),
            {**tool_ended(3.0), "final": final},
        )
        over = [row["toolCallId"] for row in event["toolCalls"] if row["kind"] == "tool_result"]
        assert over == (["call_1"] if final else ["call_1-2"])

    def test_each_result_stands_behind_its_call(self) -> None:
        """Two that ran at the same time; in the order of the calls."""
        event = ended(
            tool_call(2.0, "b"),
            tool_call(1.0, "a"),
            tool_result(4.0, "b"),
            tool_result(3.0, "a", error=True),
        )
        rows = [(r["kind"], r["toolCallId"], r.get("durationMs")) for r in event["toolCalls"]]
        assert rows == [
            ("tool_call", "a", None),
            ("tool_result", "a", 2000),
            ("tool_call", "b", None),
            ("tool_result", "b", 2000),
        ]
        assert [row.get("isError") for row in event["toolCalls"]] == [None, True, None, None]

    def test_a_call_that_never_returned_stands_alone(self) -> None:
        """The caller hung up."""
        assert [row["kind"] for row in ended(tool_call(1.0))["toolCalls"]] == ["tool_call"]

    def test_a_result_without_a_call_is_left_out(self) -> None:
        """The service would not know where it belongs."""
        assert ended(tool_result(1.0))["toolCalls"] == []

    def test_a_call_begins_when_it_was_first_heard_of(self) -> None:
        """From 1.6 on it is told at its beginning, and again with its result."""
        event = ended(tool_call(1.0), tool_call(1.75), tool_result(2.0))
        assert [row["audioOffsetMs"] for row in event["toolCalls"]] == [1000, 2000]
        assert event["toolCalls"][1]["durationMs"] == 1000

    def test_no_tool_takes_less_than_no_time(self) -> None:
        """Older versions date the call with the whole batch."""
        assert ended(tool_call(2.0), tool_result(1.0))["toolCalls"][1]["durationMs"] == 0


class TestMetrics:
    """Metrics, and the end of an utterance."""

    def test_they_stand_in_order_of_time(self) -> None:
        """Whoever gave them."""
        event = ended(metric("tts", 3.0, ttfb=0.1), metric("stt", 1.0), metric("llm", 2.0))
        assert [row["kind"] for row in event["metrics"]] == ["stt", "llm", "tts"]

    def test_a_turns_own_delays_become_a_metric(self) -> None:
        """From 1.5 on nobody else gives them."""
        delays = {"endOfTurnDelay": 0.5, "transcriptionDelay": 0.25, "llmNodeTtft": 0.125}
        event = ended(turn("user", "hello", 2.0, metrics=delays))
        assert event["metrics"] == [
            {
                "kind": "eou",
                "timestamp": "2025-11-24T08:19:05.412+00:00",
                "audioOffsetMs": 2000,
                "endOfUtteranceDelay": 0.5,
                "transcriptionDelay": 0.25,
            }
        ]

    def test_delays_that_are_given_twice_are_told_once(self) -> None:
        """1.3 and 1.4: by the session's metrics and by the message."""
        event = ended(
            metric("eou", 1.9, endOfUtteranceDelay=0.5),
            turn("user", "hello", 2.0, metrics={"endOfTurnDelay": 0.5}),
        )
        assert [row["audioOffsetMs"] for row in event["metrics"]] == [1900]

    def test_a_turn_without_delays_makes_no_metric(self) -> None:
        """Nor do the agent's turns."""
        event = ended(
            turn("user", "hello", 2.0, metrics={"llmNodeTtft": 0.5}),
            turn("assistant", "hi", 3.0, metrics={"endOfTurnDelay": 0.5}),
        )
        assert event["metrics"] == []


class TestTimes:
    """Monotonic inside, UTC at the wire."""

    def test_a_clock_that_jumps_moves_nothing(self) -> None:
        """Only the beginning was ever read from the wall clock."""
        assert FACTS.iso(START + 1.5) == "2025-11-24T08:19:04.912+00:00"
        assert FACTS.iso(START - 1.5) == "2025-11-24T08:19:01.912+00:00"

    @pytest.mark.parametrize(
        "absurd", [0, -1.0, float("nan"), float("inf"), 1e300, 1_764_000_000_000.0, 10**400]
    )
    def test_a_time_that_cannot_be_one_costs_no_row(self, absurd: Any) -> None:
        """A plugin stamps milliseconds, or nothing: what it stamps is dated now."""
        clock = WallClock(wall=lambda: 1_764_000_000.0, monotonic=lambda: START + 5)
        measured = {"started_speaking_at": absurd, "stopped_speaking_at": absurd}
        item = SimpleNamespace(id="1", role="user", text_content="hello", metrics=measured)
        said = SimpleNamespace(item=item, created_at=absurd)
        call = SimpleNamespace(call_id="1", name="n", arguments="{}", created_at=absurd)
        output = SimpleNamespace(output="done", is_error=False, created_at=absurd)
        ran = SimpleNamespace(zipped=lambda: [(call, output)], created_at=absurd)
        model = SimpleNamespace(type="llm_metrics", timestamp=absurd, ttft=0.5)
        event = ended(
            *_events.conversation_item(said, clock.monotonic, None),
            *_events.tools_executed(ran, clock.monotonic),
            *_metrics.request_records(model, clock.monotonic),
        )
        rows = [*event["transcript"], *event["toolCalls"], *event["metrics"]]
        assert [row["audioOffsetMs"] for row in rows] == [5000] * 4

    @given(st.floats(-1e6, 1e6))
    def test_every_moment_is_a_time_of_the_wire(self, seconds: float) -> None:
        """To the millisecond."""
        moment = datetime.fromisoformat(FACTS.iso(START + seconds))
        assert moment.utcoffset() == timedelta(0)
        assert abs((moment - FACTS.started_at).total_seconds() - seconds) < 0.002


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
seconds_of_a_call = st.floats(0, 100)
records: dict[str, Callable[[Any], st.SearchStrategy[Any]]] = {
    "turn": lambda at: st.builds(turn, st.sampled_from(["user", "assistant"]), texts, at),
    "state": lambda at: st.builds(state, st.sampled_from(["user", "assistant"]), st.booleans(), at),
    "heard": lambda at: st.builds(heard, at, language=texts, speaker=texts),
    "call": lambda at: st.builds(tool_call, at, st.sampled_from("abc")),
    "result": lambda at: st.builds(tool_result, at, st.sampled_from("abc"), st.booleans()),
    "metric": lambda at: st.builds(metric, st.sampled_from(["eou", "stt", "llm", "tts"]), at),
}


@given(st.lists(st.one_of([make(seconds_of_a_call) for make in records.values()]), max_size=20))
def test_whatever_happened_the_service_takes_the_event(happened: list[Record]) -> None:
    """In any order; rows are sorted, and turns do not end before they begin."""
    event = ended(*happened)
    starts = [row["audioOffsetMs"] for row in event["transcript"]]
    assert starts == sorted(starts)
    assert all(row["audioOffsetMs"] <= row["endAudioOffsetMs"] for row in event["transcript"])
    offsets = [row["audioOffsetMs"] for row in event["metrics"]]
    assert offsets == sorted(offsets)
