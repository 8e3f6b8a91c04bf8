"""livekit's events become records, on the shapes of every version: old, new, and odd."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from roark_analytics_python_livekit._call.records import Record
from roark_analytics_python_livekit._call.rows import eou_of_message, usage_of_metrics
from roark_analytics_python_livekit._livekit import events as _events
from roark_analytics_python_livekit._livekit import metrics as _metrics

OFFSET = 1_764_000_000.0  # of the wall clock against the monotonic one
NOW = 500.0


class Clocks:
    """Wall clock to monotonic, and how often it was asked for what."""

    def __init__(self) -> None:
        self.asked: list[float | None] = []

    def __call__(self, wall: float | None) -> float:
        self.asked.append(wall)
        return NOW if wall is None else wall - OFFSET


@pytest.fixture
def clocks() -> Clocks:
    """The conversion that the events are given."""
    return Clocks()


def at(seconds: float) -> float:
    """A moment of the monotonic clock as livekit writes it."""
    return OFFSET + seconds


def rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Records, to be looked into without asking for their type first."""
    return [dict(record) for record in records]


def message(role: str = "user", text: str | None = "hello", **more: Any) -> SimpleNamespace:
    """A `ChatMessage`."""
    fields = {"id": "item_1", "type": "message", "role": role, "text_content": text}
    return SimpleNamespace(**{**fields, **more})


class TestConversationItems:
    """`conversation_item_added`."""

    def test_a_message_of_1_0_is_a_turn(self, clocks: Clocks) -> None:
        """No time, no metrics: it was added now."""
        event = SimpleNamespace(item=message(interrupted=False))
        assert _events.conversation_item(event, clocks, "support") == [
            {"type": "turn", "role": "user", "text": "hello", "at": NOW, "id": "item_1"}
        ]

    def test_a_message_of_today_has_times_and_latencies(self, clocks: Clocks) -> None:
        """When it was spoken, and how long everything took."""
        item = message(
            "assistant",
            interrupted=True,
            transcript_confidence=None,
            metrics={
                "started_speaking_at": at(10),
                "stopped_speaking_at": at(12),
                "llm_node_ttft": 0.25,
                "tts_node_ttfb": 0.125,
                "e2e_latency": None,
            },
        )
        event = SimpleNamespace(item=item, created_at=at(13))
        assert _events.conversation_item(event, clocks, "support") == [
            {
                "type": "turn",
                "role": "assistant",
                "text": "hello",
                "at": 13.0,
                "start": 10.0,
                "end": 12.0,
                "id": "item_1",
                "interrupted": True,
                "agent": "support",
                "metrics": {"llmNodeTtft": 0.25, "ttsNodeTtfb": 0.125},
            }
        ]

    @pytest.mark.parametrize(
        ("given", "kept"),
        [(0.75, 0.75), (1, 1.0), (0.0, None), (None, None), (math.nan, None), ("high", None)],
    )
    def test_a_confidence_is_kept_where_there_is_one(
        self, clocks: Clocks, given: Any, kept: float | None
    ) -> None:
        """A recognizer that has none says 0.0, and one that is broken says NaN."""
        event = SimpleNamespace(item=message(transcript_confidence=given))
        (turn,) = rows(_events.conversation_item(event, clocks, None))
        assert turn.get("confidence") == kept

    def test_the_agent_is_noted_on_its_own_turns_only(self, clocks: Clocks) -> None:
        """The caller speaks to whoever is there."""
        said = [message("user"), message("assistant")]
        turns = [
            _events.conversation_item(SimpleNamespace(item=item), clocks, "support")[0]
            for item in said
        ]
        assert [turn.get("agent") for turn in turns] == [None, "support"]

    @pytest.mark.parametrize(
        "item",
        [
            message("system"),
            message("developer"),
            message("user", None),
            message("user", ""),
            SimpleNamespace(type="agent_config_update", id="item_2"),
            SimpleNamespace(type="function_call", id="item_3", name="x"),
        ],
    )
    def test_what_nobody_said_is_no_turn(self, clocks: Clocks, item: Any) -> None:
        """Instructions, images without a word, what a later version adds."""
        assert _events.conversation_item(SimpleNamespace(item=item), clocks, None) == []

    def test_a_handoff_names_both_agents(self, clocks: Clocks) -> None:
        """It has no role and no text (1.5)."""
        item = SimpleNamespace(type="agent_handoff", old_agent_id="triage", new_agent_id="sales")
        event = SimpleNamespace(item=item, created_at=at(7))
        assert _events.conversation_item(event, clocks, "triage") == [
            {"type": "handoff", "old": "triage", "new": "sales", "at": 7.0}
        ]

    def test_the_first_agent_takes_over_from_nobody(self, clocks: Clocks) -> None:
        """livekit says so at the start."""
        item = SimpleNamespace(type="agent_handoff", old_agent_id=None, new_agent_id="sales")
        (record,) = rows(_events.conversation_item(SimpleNamespace(item=item), clocks, None))
        assert record == {"type": "handoff", "old": None, "new": "sales", "at": NOW}

    def test_hostile_latencies_do_not_cost_the_turn(self, clocks: Clocks) -> None:
        """They come from plugins."""
        item = message(metrics={"end_of_turn_delay": math.nan, "odd": b"12", "deep": {"a": {1}}})
        (turn,) = rows(_events.conversation_item(SimpleNamespace(item=item), clocks, None))
        assert turn["metrics"] == {"endOfTurnDelay": "nan", "odd": "<2 bytes>", "deep": {"a": [1]}}
        assert eou_of_message(turn) is None


class TestTranscripts:
    """`user_input_transcribed`."""

    def test_a_final_one_tells_language_and_speaker(self, clocks: Clocks) -> None:
        """Which the turn that follows does not have."""
        event = SimpleNamespace(is_final=True, language="de", speaker_id="S1", created_at=at(3))
        assert _events.transcribed(event, clocks) == [
            {"type": "heard", "at": 3.0, "language": "de", "speaker": "S1"}
        ]

    def test_before_1_1_it_tells_that_something_was_heard(self, clocks: Clocks) -> None:
        """Neither attribute is there."""
        event = SimpleNamespace(is_final=True, transcript="hello")
        assert _events.transcribed(event, clocks) == [{"type": "heard", "at": NOW, "text": "hello"}]

    def test_a_language_with_a_type_of_its_own_becomes_text(self, clocks: Clocks) -> None:
        """`LanguageCode`, on newer versions."""

        class LanguageCode(str):
            pass

        event = SimpleNamespace(is_final=True, language=LanguageCode("en-US"), speaker_id=None)
        (record,) = rows(_events.transcribed(event, clocks))
        assert record == {"type": "heard", "at": NOW, "language": "en-US"}
        assert type(record["language"]) is str

    def test_interim_ones_are_left_out(self, clocks: Clocks) -> None:
        """They change ten times a second."""
        assert _events.transcribed(SimpleNamespace(is_final=False), clocks) == []


class TestStates:
    """`agent_state_changed`, `user_state_changed`."""

    @pytest.mark.parametrize(
        ("old", "new", "speaking"),
        [("listening", "speaking", True), ("speaking", "listening", False)],
    )
    @pytest.mark.parametrize(("of_agent", "who"), [(True, "assistant"), (False, "user")])
    def test_speaking_begins_and_ends(
        self, clocks: Clocks, old: str, new: str, speaking: bool, of_agent: bool, who: str
    ) -> None:
        """On either side."""
        event = SimpleNamespace(old_state=old, new_state=new, created_at=at(4))
        assert _events.state_changed(event, clocks, of_agent=of_agent) == [
            {"type": "state", "who": who, "speaking": speaking, "at": 4.0}
        ]

    def test_other_states_are_left_out(self, clocks: Clocks) -> None:
        """Thinking is nobody's turn."""
        event = SimpleNamespace(old_state="listening", new_state="thinking")
        assert _events.state_changed(event, clocks, of_agent=True) == []


def call(**more: Any) -> SimpleNamespace:
    """A `FunctionCall`."""
    fields = {"call_id": "call_1", "name": "lookup", "arguments": '{"order": 1}'}
    return SimpleNamespace(**{**fields, **more})


class ToolsExecuted:
    """A `FunctionToolsExecutedEvent`."""

    def __init__(self, *pairs: tuple[Any, Any], **more: Any) -> None:
        self._pairs = list(pairs)
        vars(self).update(more)

    def zipped(self) -> list[tuple[Any, Any]]:
        """Calls with their outputs."""
        return self._pairs


class TestTools:
    """`function_tools_executed`, `tool_execution_updated`."""

    def test_a_call_and_its_result(self, clocks: Clocks) -> None:
        """Each at its own time, where it has one."""
        output = SimpleNamespace(output="shipped", is_error=False, created_at=at(9))
        event = ToolsExecuted((call(created_at=at(8)), output), created_at=at(10))
        assert _events.tools_executed(event, clocks) == [
            {
                "type": "tool_call",
                "id": "call_1",
                "name": "lookup",
                "arguments": '{"order": 1}',
                "at": 8.0,
            },
            {
                "type": "tool_result",
                "id": "call_1",
                "content": "shipped",
                "error": False,
                "at": 9.0,
            },
        ]

    def test_livekits_own_id_of_the_call_stands_in_both(self, clocks: Clocks) -> None:
        """By that a call is known, where a model uses its ids again."""
        output = SimpleNamespace(output="shipped")
        executed = rows(_events.tools_executed(ToolsExecuted((call(id="item_7"), output)), clocks))
        update = SimpleNamespace(type="tool_call_started", function_call=call(id="item_7"))
        started = rows(_events.tool_updated(SimpleNamespace(update=update), clocks))
        assert [record["item"] for record in (*started, *executed)] == ["item_7"] * 3

    def test_an_output_may_be_missing(self, clocks: Clocks) -> None:
        """1.0.23 to 1.6: a tool that raised StopResponse; and there is no time."""
        _, result = rows(_events.tools_executed(ToolsExecuted((call(), None)), clocks))
        assert result == {
            "type": "tool_result",
            "id": "call_1",
            "content": "",
            "error": False,
            "at": NOW,
        }

    def test_a_failed_tool_is_told_from_one_that_returned(self, clocks: Clocks) -> None:
        """livekit hides the exception's text from the model, and so from here."""
        output = SimpleNamespace(output="An internal error occurred", is_error=True)
        _, result = rows(_events.tools_executed(ToolsExecuted((call(), output)), clocks))
        assert (result["error"], result["content"]) == (True, "An internal error occurred")

    def test_several_calls_at_once_are_several_pairs(self, clocks: Clocks) -> None:
        """In their order."""
        pairs = [(call(call_id=f"call_{n}"), SimpleNamespace(output=str(n))) for n in range(3)]
        records = rows(_events.tools_executed(ToolsExecuted(*pairs), clocks))
        assert [record["id"] for record in records] == [f"call_{n}" for n in (0, 0, 1, 1, 2, 2)]

    def test_odd_arguments_and_results_become_text(self, clocks: Clocks) -> None:
        """As JSON where they are no text."""
        output = SimpleNamespace(output={"found": [1, math.inf]}, is_error=False)
        odd = call(arguments={"a": b"xx"}, call_id=7)
        made, result = rows(_events.tools_executed(ToolsExecuted((odd, output)), clocks))
        assert (made["arguments"], made["id"]) == ('{"a":"<2 bytes>"}', "7")
        assert result["content"] == '{"found":[1,"inf"]}'

    @pytest.mark.parametrize(
        ("given", "text"),
        [(None, "null"), ("", ""), ("not { JSON", "not { JSON"), ("x" * 10_000_000, None)],
    )
    def test_whatever_a_tool_gives_is_text_of_bounded_length(
        self, clocks: Clocks, given: Any, text: str | None
    ) -> None:
        """Nothing, nothing that is JSON, or a whole book: cut, and says so."""
        output = SimpleNamespace(output=given, is_error=False)
        _, result = rows(_events.tools_executed(ToolsExecuted((call(), output)), clocks))
        assert len(result["content"]) < 70_000
        if text is None:
            assert result["content"].endswith("more characters]")
        else:
            assert result["content"] == text

    def test_a_call_that_begins_is_dated_by_the_event(self, clocks: Clocks) -> None:
        """1.6: the call itself was created when the model wrote it."""
        update = SimpleNamespace(type="tool_call_started", function_call=call(created_at=at(1)))
        (record,) = rows(
            _events.tool_updated(SimpleNamespace(update=update, created_at=at(2)), clocks)
        )
        assert (record["type"], record["id"], record["at"]) == ("tool_call", "call_1", 2.0)

    def test_a_tool_that_reports_its_progress_is_told_of(self, clocks: Clocks) -> None:
        """Under the id of its call."""
        update = SimpleNamespace(
            type="tool_call_updated", id="call_1_update_1", call_id="call_1", message="searching"
        )
        event = SimpleNamespace(update=update, created_at=at(2))
        assert _events.tool_updated(event, clocks) == [
            {"type": "tool_update", "id": "call_1", "content": "searching", "at": 2.0}
        ]

    @pytest.mark.parametrize("message", [None, "boom"])
    @pytest.mark.parametrize("entry", ["call_1", "call_1_final"])
    def test_the_end_of_a_call_is_told_of(
        self, clocks: Clocks, entry: str, message: str | None
    ) -> None:
        """With what it told, and whether its result was given before."""
        update = SimpleNamespace(
            type="tool_call_ended", id=entry, call_id="call_1", message=message, status="error"
        )
        (record,) = rows(
            _events.tool_updated(SimpleNamespace(update=update, created_at=at(2)), clocks)
        )
        content = {} if message is None else {"content": message}
        final = entry != "call_1"
        assert record == {
            "type": "tool_ended",
            "id": "call_1",
            "status": "error",
            "final": final,
            "at": 2.0,
            **content,
        }

    @pytest.mark.parametrize("kind", ["tool_reply_updated", "new_kind", None])
    def test_other_updates_are_left_out(self, clocks: Clocks, kind: str | None) -> None:
        """They are about the reply, which comes as a turn."""
        assert (
            _events.tool_updated(SimpleNamespace(update=SimpleNamespace(type=kind)), clocks) == []
        )


class Model:
    """A pydantic model, as far as it is needed."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def model_dump(self) -> dict[str, Any]:
        """Its fields."""
        return dict(self._fields)


@dataclass
class TTSMetrics:
    """A metrics object without a type name: the class has it."""

    label: str
    ttfb: float
    timestamp: float | None = None


def metric(model: Any, clocks: Clocks) -> tuple[str, dict[str, Any], dict[str, Any], float]:
    """kind, fields, extra and time of the one record that a metrics object becomes."""
    (record,) = rows(_metrics.request_records(model, clocks))
    return record["kind"], record["fields"], record["extra"], record["at"]


class TestMetrics:
    """The models' own metrics."""

    def test_llm(self, clocks: Clocks) -> None:
        """Latency and tokens; the rest is extra, None is nothing."""
        model = Model(
            type="llm_metrics",
            label="openai.LLM",
            request_id="req_1",
            timestamp=at(5),
            duration=1.5,
            ttft=0.5,
            cancelled=False,
            completion_tokens=20,
            prompt_tokens=100,
            prompt_cached_tokens=64,
            total_tokens=120,
            tokens_per_second=13.3,
            speech_id="speech_1",
            metadata={"model_name": "gpt", "model_provider": None},
            reasoning_tokens=None,
        )
        assert metric(model, clocks) == (
            "llm",
            {
                "ttft": 0.5,
                "duration": 1.5,
                "promptTokens": 100,
                "completionTokens": 20,
                "totalTokens": 120,
                "cachedTokens": 64,
                "tokensPerSecond": 13.3,
            },
            {
                "label": "openai.LLM",
                "requestId": "req_1",
                "cancelled": False,
                "speechId": "speech_1",
                "metadata": {"model_name": "gpt", "model_provider": None},
            },
            5.0,
        )

    def test_realtime_models_are_llms(self, clocks: Clocks) -> None:
        """Their tokens have other names."""
        model = Model(
            type="realtime_model_metrics",
            ttft=0.5,
            input_tokens=7,
            output_tokens=8,
            total_tokens=15,
            input_token_details={"audio_tokens": 5},
        )
        kind, fields, extra, moment = metric(model, clocks)
        assert (kind, moment) == ("llm", NOW)
        assert fields == {
            "ttft": 0.5,
            "promptTokens": 7,
            "completionTokens": 8,
            "totalTokens": 15,
        }
        assert extra == {"inputTokenDetails": {"audio_tokens": 5}}

    def test_stt(self, clocks: Clocks) -> None:
        """Tokens of a recognizer are extra: the wire has no place for them."""
        model = Model(
            type="stt_metrics",
            duration=0.0,
            audio_duration=2.5,
            streamed=True,
            input_tokens=3,
            connection_reused=True,
        )
        assert metric(model, clocks)[:3] == (
            "stt",
            {"duration": 0.0, "audioDuration": 2.5, "streamed": True},
            {"inputTokens": 3, "connectionReused": True},
        )

    def test_tts(self, clocks: Clocks) -> None:
        """Time to first byte."""
        model = Model(
            type="tts_metrics",
            ttfb=0.125,
            duration=1.0,
            audio_duration=3.0,
            streamed=False,
            characters_count=42,
            segment_id=None,
        )
        assert metric(model, clocks)[:3] == (
            "tts",
            {"ttfb": 0.125, "duration": 1.0, "audioDuration": 3.0, "streamed": False},
            {"charactersCount": 42},
        )

    def test_end_of_utterance(self, clocks: Clocks) -> None:
        """The three delays of a turn."""
        model = Model(
            type="eou_metrics",
            end_of_utterance_delay=0.5,
            transcription_delay=0.25,
            on_user_turn_completed_delay=0.0,
            speech_id="speech_1",
        )
        assert metric(model, clocks)[:3] == (
            "eou",
            {
                "endOfUtteranceDelay": 0.5,
                "transcriptionDelay": 0.25,
                "onConversationItemAddedDelay": 0.0,
            },
            {"speechId": "speech_1"},
        )

    def test_tokens_are_whole_numbers_whatever_a_plugin_gives(self, clocks: Clocks) -> None:
        """A strict receiver refuses 12.0 for a count; -1 means none, of counts and of latencies."""
        model = Model(
            type="llm_metrics",
            prompt_tokens=12.0,
            completion_tokens=3.0,
            total_tokens=15.0,
            prompt_cached_tokens=-1,
            tokens_per_second=7.5,
            ttft=-1.0,
            duration=2.0,
        )
        _, fields, extra, _ = metric(model, clocks)
        assert {name: repr(value) for name, value in fields.items()} == {
            "promptTokens": "12",
            "completionTokens": "3",
            "totalTokens": "15",
            "tokensPerSecond": "7.5",
            "duration": "2.0",
        }
        assert extra == {}

    def test_so_are_those_that_a_realtime_model_has_cached(self, clocks: Clocks) -> None:
        """They stand among the details."""
        details = {"cached_tokens": 4.0}
        model = Model(type="realtime_model_metrics", input_token_details=details)
        assert repr(metric(model, clocks)[1]["cachedTokens"]) == "4"

    def test_streamed_is_yes_or_no(self, clocks: Clocks) -> None:
        """A plugin may say 1."""
        assert metric(Model(type="stt_metrics", streamed=1), clocks)[1] == {"streamed": True}

    def test_usage_is_counted_in_whole_numbers(self, clocks: Clocks) -> None:
        """By livekit's sums and by our own; what is no number of JSON's is left out."""
        model = Model(
            type="llm_usage",
            provider="openai",
            model=None,
            input_tokens=12.0,
            output_tokens=math.nan,
            session_duration=1.5,
            audio_duration=math.inf,
            total_requests=0,
        )
        (record,) = rows(_metrics.usage_records([model], 1.0))
        expected = {"provider": "openai", "model": "", "inputTokens": 12, "sessionDuration": 1.5}
        assert record["models"] == [{"kind": "llm", **expected}]
        assert repr(record["models"][0]["inputTokens"]) == "12"
        spoken = Model(type="tts_metrics", label="voice", characters_count=7.0, audio_duration=2.5)
        records: Any = [
            *_metrics.request_records(spoken, clocks),
            *_metrics.request_records(spoken, clocks),
        ]
        (summed,) = usage_of_metrics(records)
        assert (repr(summed["charactersCount"]), summed["audioDuration"]) == ("14", 5.0)

    def test_voice_activity_is_left_out(self, clocks: Clocks) -> None:
        """Every second, and of no use afterwards."""
        assert _metrics.request_records(Model(type="vad_metrics", idle_time=1.0), clocks) == []

    def test_what_a_later_version_adds_is_kept(self, clocks: Clocks) -> None:
        """As the agent's, with its name."""
        model = Model(type="interruption_metrics", total_duration=0.5, ttft=0.1)
        assert metric(model, clocks)[:3] == (
            "agent",
            {},
            {"type": "interruption_metrics", "totalDuration": 0.5, "ttft": 0.1},
        )

    def test_a_data_class_is_known_by_its_name(self, clocks: Clocks) -> None:
        """Of plugins that make their own."""
        kind, fields, extra, moment = metric(TTSMetrics("mine", 0.25, at(2)), clocks)
        assert (kind, fields, extra, moment) == ("tts", {"ttfb": 0.25}, {"label": "mine"}, 2.0)

    @pytest.mark.parametrize("odd", [math.nan, math.inf, "fast", [1]])
    def test_what_is_no_number_is_extra(self, clocks: Clocks, odd: Any) -> None:
        """A number's place on the wire takes numbers: the event would be refused for it."""
        _, fields, extra, _ = metric(Model(type="llm_metrics", ttft=0.5, duration=odd), clocks)
        assert fields == {"ttft": 0.5}
        assert extra == {"duration": odd if isinstance(odd, (str, list)) else str(odd)}


class TestNotes:
    """`agent_false_interruption`, `overlapping_speech`, `user_transcription_timeout`."""

    def test_each_field_has_the_type_of_the_wire(self, clocks: Clocks) -> None:
        """Whatever is missing, or is no number that JSON has."""
        event = SimpleNamespace(
            is_interruption=True,
            detection_delay=math.nan,
            prediction_duration=math.inf,
            total_duration=1,
            probability="high",
            num_requests=3.0,
            created_at=at(4),
        )
        (note,) = rows(_events.overlapping_speech(event, clocks))
        assert note == {
            "type": "note",
            "kind": "overlapping_speech",
            "at": 4.0,
            "fields": {
                "isInterruption": True,
                "agentEnded": False,
                "detectionDelay": 0.0,
                "predictionDuration": 0.0,
                "totalDuration": 1.0,
                "probability": 0.0,
                "numRequests": 3,
            },
        }
        assert repr(note["fields"]["numRequests"]) == "3"

    def test_a_false_interruption_says_whether_the_agent_went_on(self, clocks: Clocks) -> None:
        """Since 1.2; what the agent had said is its turn's text."""
        event = SimpleNamespace(resumed=True, message="words", created_at=at(4))
        (note,) = rows(_events.false_interruption(event, clocks))
        assert (note["kind"], note["fields"]) == ("false_interruption", {"resumed": True})

    def test_a_caller_who_was_not_understood_is_told_of(self, clocks: Clocks) -> None:
        """For how long they spoke."""
        event = SimpleNamespace(speech_duration=2.5, created_at=at(4))
        (note,) = rows(_events.transcription_timeout(event, clocks))
        assert (note["kind"], note["fields"]) == ("transcription_timeout", {"speechDuration": 2.5})

    @pytest.mark.parametrize(
        ("old", "new", "kind"),
        [
            ("listening", "away", ["user_away"]),
            ("away", "listening", ["user_back"]),
            ("listening", "speaking", []),
        ],
    )
    def test_a_caller_who_is_away_is_told_of(
        self, clocks: Clocks, old: str, new: str, kind: list[str]
    ) -> None:
        """And that they came back."""
        event = SimpleNamespace(old_state=old, new_state=new, created_at=at(4))
        assert [note["kind"] for note in rows(_events.user_away(event, clocks))] == kind


class TestErrors:
    """`error`, and the error of a `close`."""

    def test_a_models_error_says_its_kind_and_cause(self) -> None:
        """`LLMError` wraps what was raised."""
        error = SimpleNamespace(type="llm_error", error=ConnectionError("refused"), label="x")
        assert _events.failed(error, 3.0) == {
            "type": "error",
            "kind": "llm_error",
            "message": "refused",
            "at": 3.0,
            "source": "x",
        }

    def test_an_exception_is_its_own_kind(self) -> None:
        """Where the session itself failed."""
        record = _events.failed(ValueError("bad"), 3.0)
        assert (record["kind"], record["message"]) == ("ValueError", "bad")

    def test_an_error_that_cannot_be_read_is_named(self) -> None:
        """It raises even there."""

        class MuteError(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        assert _events.failed(MuteError(), 3.0)["message"] == "MuteError"

    def test_a_long_message_is_cut(self) -> None:
        """A provider may answer with a page."""
        assert len(_events.failed(ValueError("x" * 10_000), 3.0)["message"]) < 2100


EVENTS: list[tuple[str, Callable[[Clocks], object], list[float | None]]] = [
    (
        "a turn",
        lambda clocks: _events.conversation_item(
            SimpleNamespace(
                item=message(metrics={"started_speaking_at": at(1), "stopped_speaking_at": at(2)}),
                created_at=at(3),
            ),
            clocks,
            None,
        ),
        [at(3), at(1), at(2)],
    ),
    (
        "a transcript",
        lambda clocks: _events.transcribed(
            SimpleNamespace(is_final=True, created_at=at(3)), clocks
        ),
        [at(3)],
    ),
    (
        "a state",
        lambda clocks: _events.state_changed(
            SimpleNamespace(old_state="speaking", new_state="listening", created_at=at(3)),
            clocks,
            of_agent=True,
        ),
        [at(3)],
    ),
    (
        "tools",
        lambda clocks: _events.tools_executed(
            ToolsExecuted(
                (call(created_at=at(1)), SimpleNamespace(output="", created_at=at(2))),
                created_at=at(3),
            ),
            clocks,
        ),
        [at(3), at(1), at(2)],
    ),
    (
        "a metric",
        lambda clocks: _metrics.request_records(Model(type="llm_metrics", timestamp=at(3)), clocks),
        [at(3)],
    ),
    (
        "a transcript of 1.0",
        lambda clocks: _events.transcribed(SimpleNamespace(is_final=True), clocks),
        [None],
    ),
]


@pytest.mark.parametrize(("make", "times"), [row[1:] for row in EVENTS], ids=[r[0] for r in EVENTS])
def test_each_time_is_taken_to_the_monotonic_clock_once(
    clocks: Clocks, make: Callable[[Clocks], object], times: list[float | None]
) -> None:
    """A clock that jumps afterwards moves nothing: the record holds no wall-clock time."""
    records = make(clocks)
    assert sorted(clocks.asked, key=str) == sorted(times, key=str)
    assert str(int(OFFSET))[:4] not in str(records)


@pytest.mark.parametrize(
    ("name", "snake"),
    [("LLMMetrics", "llm_metrics"), ("EOUMetrics", "eou_metrics"), ("RealtimeModelMetrics", None)],
)
def test_class_names_are_read_as_type_names(name: str, snake: str | None) -> None:
    """For metrics without a type of their own."""
    assert _metrics.snake(name) == (snake or "realtime_model_metrics")
