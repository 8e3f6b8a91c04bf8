"""`docs/events.md` names every field of the installed livekit-agents, and tells the truth."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import pytest

pytest.importorskip("livekit.agents")

from livekit import rtc
from livekit.agents import llm
from livekit.agents.llm import chat_context
from livekit.agents.metrics import base
from livekit.agents.voice import events
from pydantic import BaseModel
from typing_extensions import NotRequired, is_typeddict

from roark_analytics_python_livekit import _types
from roark_analytics_python_livekit._call.payloads import TimeLine, call_ended
from roark_analytics_python_livekit._call.records import EndRecord, Record, end_record
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._livekit import events as _events
from roark_analytics_python_livekit._livekit import metrics as _metrics
from roark_analytics_python_livekit._livekit.agents import agent_record
from roark_analytics_python_livekit._livekit.job import RoomWatch, participant_record
from roark_analytics_python_livekit._livekit.observer import end_of
from tests.support.simulated_call import facts_of

TABLE = Path(__file__).parents[2] / "docs" / "events.md"
CODE = re.compile(r"`([^`]+)`")
WALL = 1_764_000_000.0  # of the wall clock against the monotonic one
FACTS = facts_of(agent_id="support", started_at=datetime.fromtimestamp(WALL, timezone.utc))
NO_RECORDING: _types.Recording = {
    "status": "disabled",
    "chunkCount": 0,
    "byteCount": 0,
    "durationMs": 0,
    "gaps": [],
    "pauses": [],
}
NOT_HEARD = {"InterruptionMetrics", "AvatarMetrics", "DecisionMetrics"}  # by anybody but livekit


# The table


@dataclasses.dataclass(frozen=True)
class Row:
    """What is said of one field.

    Attributes:
        paths: Where it goes; empty if it is only used, or not sent.
        is_sent: False for a dash.
        said: The words of the remark that are written as code.
        always: Whether it is said to be in every livekit-agents.
    """

    paths: list[str]
    is_sent: bool
    said: list[str]
    always: bool


@cache
def text() -> str:
    """The page."""
    return TABLE.read_text("utf-8")


def lines_of(section: str) -> Iterator[list[str]]:
    """The cells of a section's tables, without their heads."""
    lines = section.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        is_head = not before.startswith("|")
        if line.startswith("|") and not is_head and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]


@cache
def table() -> dict[str, dict[str, Row]]:
    """Class → field → row."""
    found: dict[str, dict[str, Row]] = {}
    for section in re.split(r"^##+ ", text(), flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        rows = {
            field: Row(
                paths=CODE.findall(where),
                is_sent=where != "–",
                said=CODE.findall(remark),
                always=not since,
            )
            for fields, where, remark, since in (c for c in lines_of(body) if len(c) == 4)
            for field in CODE.findall(fields)
        }
        for name in CODE.findall(heading):
            assert name not in found, f"{name} is there twice"
            found[name] = rows
    return found


def section(heading: str) -> str:
    """What stands between a heading and the next one of its level."""
    return text().split(f"\n## {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]


# What is installed


def models_of(module: ModuleType) -> dict[str, list[str]]:
    """The fields of a module's public models, by class."""
    found: dict[str, list[str]] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or not inspect.isclass(value):
            continue
        if not value.__module__.startswith("livekit."):
            continue
        if issubclass(value, BaseModel) and value is not BaseModel:
            found[name] = list(value.model_fields)
            found |= {f"{name}.{inner}": fields for inner, fields in inner_models(value)}
        elif is_typeddict(value) or (dataclasses.is_dataclass(value) and name.endswith("Usage")):
            found[name] = list(value.__annotations__)
    return found


def inner_models(model: type[BaseModel]) -> Iterator[tuple[str, list[str]]]:
    """Those that are defined inside another."""
    for name, value in vars(model).items():
        if inspect.isclass(value) and issubclass(value, BaseModel):
            yield name, list(value.model_fields)


def installed() -> dict[str, list[str]]:
    """Every class and field that livekit tells something with."""
    found = models_of(events) | models_of(chat_context) | models_of(base)
    if importlib.util.find_spec("livekit.agents.metrics.usage"):
        found |= models_of(importlib.import_module("livekit.agents.metrics.usage"))
    participant = {**vars(rtc.Participant), **vars(rtc.RemoteParticipant)}
    found["RemoteParticipant"] = [n for n, v in participant.items() if isinstance(v, property)]
    found["SipDTMF"] = [field.name for field in dataclasses.fields(rtc.SipDTMF)]
    return found


class TestTheTableIsComplete:
    """A livekit-agents that tells more makes these fail."""

    def test_every_event_is_in_it(self) -> None:
        """By its name, with the class that it brings."""
        named = {CODE.findall(cells[0])[0] for cells in lines_of(section("Session events"))}
        missing = [event for event in get_args(events.EventTypes) if event not in named]
        assert not missing, f"add to 'Session events' of {TABLE.name}: {missing}"

    def test_every_event_has_its_class(self) -> None:
        """Whose `type` is the event's name."""
        rows = [cells for cells in lines_of(section("Session events")) if CODE.findall(cells[1])]
        assert len(rows) >= 14
        for cells in rows:
            model = getattr(events, CODE.findall(cells[1])[0], None)
            if model is not None:
                assert [model.model_fields["type"].default] == CODE.findall(cells[0])

    def test_every_class_is_in_it(self) -> None:
        """With a heading of its own."""
        missing = sorted(set(installed()) - set(table()))
        assert not missing, f"add a section to {TABLE.name} for: {missing}"

    def test_every_field_is_in_it(self) -> None:
        """Sent or not."""
        missing = [
            f"{name}.{field}"
            for name, fields in installed().items()
            for field in fields
            if field not in table().get(name, {})
        ]
        assert not missing, f"add to {TABLE.name}, with where it goes or why not: {missing}"

    def test_every_close_reason_is_in_it(self) -> None:
        """Where there are any (1.1)."""
        known = [reason.value for reason in getattr(events, "CloseReason", ())]
        named = [CODE.findall(cells[0]) for cells in lines_of(section("Close reasons"))]
        missing = [reason for reason in known if [reason] not in named]
        assert not missing, f"add to 'Close reasons' of {TABLE.name}: {missing}"

    def test_what_is_said_to_be_in_every_version_is(self) -> None:
        """Its column 'Since' is empty."""
        here = installed()
        wrong = [
            f"{name}.{field}"
            for name, rows in table().items()
            if name != "RemoteParticipant"  # of livekit's rtc, which has versions of its own
            for field, row in rows.items()
            if row.always and field not in here.get(name, ())
        ]
        assert not wrong, f"say since when: {wrong}"


# Places on the wire


def is_place(hint: Any, parts: Sequence[str]) -> bool:
    """Whether a path leads somewhere in the types of the wire."""
    if get_origin(hint) is NotRequired:
        hint = get_args(hint)[0]
    if not parts:
        return True
    if hint is Any or get_origin(hint) is dict or hint is _types.Usage:  # open
        return True
    options = [option for option in get_args(hint) or [hint] if is_typeddict(option)]
    name = parts[0].removesuffix("[]")
    for option in options:
        known = typing.get_type_hints(option, include_extras=True)
        if name in known:
            inner = known[name]
            if get_origin(inner) is NotRequired:
                inner = get_args(inner)[0]
            if parts[0].endswith("[]"):
                if get_origin(inner) is not list:
                    return False
                inner = get_args(inner)[0]
            return is_place(inner, parts[1:])
    return False


def test_every_path_is_a_place_on_the_wire() -> None:
    """As `_types.py` has them."""
    paths = {path for rows in table().values() for row in rows.values() for path in row.paths}
    for cells in (c for c in lines_of(section("Session events")) if len(c) == 5):
        paths |= set(CODE.findall(cells[2]))
    assert len(paths) > 90
    wrong = []
    for path in sorted(paths):
        head, _, rest = path.partition(".")
        if head == "call-started":
            known = is_place(_types.CallStarted, rest.split("."))
        else:
            known = is_place(_types.CallEnded, path.split("."))
        if not known:
            wrong.append(path)
    assert not wrong


def find(value: Any, path: str) -> list[Any]:
    """Everything that stands at a path."""
    found = [value]
    for part in path.split("."):
        name = part.removesuffix("[]")
        found = [item[name] for item in found if isinstance(item, dict) and name in item]
        if part.endswith("[]"):
            found = [item for items in found for item in items]
    return found


# Objects in which every field is another one


class Marked:
    """Makes livekit's models, no two fields alike, so that a value can be found again."""

    def __init__(self) -> None:
        self._count = 0

    def model(self, kind: Any, **given: Any) -> Any:
        """One with every field set, as far as it can be."""
        values = {
            name: self._value(kind, name, field.annotation)
            for name, field in kind.model_fields.items()
            if name not in given
        }
        known = {n: v for n, v in given.items() if n in kind.model_fields}
        return kind(**{n: v for n, v in values.items() if v is not None}, **known)

    def report(self, kind: Any) -> dict[str, Any]:
        """A TypedDict with every key."""
        hints = typing.get_type_hints(kind)
        return {name: self._value(kind, name, hint) for name, hint in hints.items()}

    def _value(self, owner: Any, name: str, hint: Any) -> Any:
        self._count += 1
        options = [option for option in get_args(hint) if option is not type(None)]
        if get_origin(hint) not in (Literal, list, dict) and options:
            hint = options[0]
        return self._of_type(owner, name, hint)

    def _of_type(self, owner: Any, name: str, hint: Any) -> Any:
        if get_origin(hint) is Literal:
            return get_args(hint)[0]
        if get_origin(hint) is list:
            return [f"{owner.__name__}.{name}"] if get_args(hint) == (str,) else None
        if is_typeddict(hint):
            return self.report(hint)
        if not inspect.isclass(hint):
            return None
        if issubclass(hint, BaseModel):
            return self.model(hint)
        if hint is float:
            is_time = name == "timestamp" or name.endswith("_at")
            return (WALL if is_time else 0) + self._count + 0.25
        if issubclass(hint, str):
            return f"{owner.__name__}.{name}" if hint is str else hint("de")
        return {bool: True, int: 70_000 + self._count}.get(hint)


def monotonic(wall: float | None) -> float:
    """The conversion that the events are given."""
    return 0.0 if wall is None else wall - WALL


def ended(records: Sequence[Record], end: EndRecord | None = None) -> dict[str, Any]:
    """The call-ended event of these records, as it goes over the wire."""
    event = call_ended(
        FACTS,
        end or end_record(900.0, "user_initiated"),
        records,
        TimeLine(lambda at: round(at * 1000)),
        NO_RECORDING,
        {"attempts": 0, "retries": 0, "dropped": {}, "recovered": False},
        {},
    )
    return typing.cast("dict[str, Any]", json.loads(json.dumps(event)))


def expected(value: Any, path: str, row: Row) -> list[Any]:
    """What may stand at a path for a value: the value, or what the path's name makes of it."""
    last = path.rpartition(".")[2]
    if last in ("timestamp", "endTimestamp"):
        return [FACTS.iso(monotonic(value))]
    if last in ("audioOffsetMs", "endAudioOffsetMs"):
        return [round(monotonic(value) * 1000)]
    if last == "isError":
        return [True]
    if last in ("kind", "type"):
        return [*row.said, value]
    if isinstance(value, BaseModel):
        return [value.model_dump()]
    if isinstance(value, Exception):
        return [str(value)]
    return [value, *(value if isinstance(value, list) else [])]


def check(thing: Any, event: dict[str, Any], *, name: str = "") -> int:
    """Compares an object's fields with the table and the event; gives the number found."""
    name = name or type(thing).__qualname__
    found = 0
    for field, row in table()[name].items():
        value = thing.get(field) if isinstance(thing, dict) else getattr(thing, field, None)
        if value is None:
            continue
        for path in row.paths:
            there = find(event, path)
            assert there, f"{name}.{field} is not at {path}"
            if not path.endswith("[]") and path != "transcript[].metrics":
                good = expected(value, path, row)
                assert any(item in good for item in there), f"{name}.{field} at {path}: {there}"
            found += 1
        if not row.is_sent:
            sent = [form for form in forms(value) if form in json.dumps(event)]
            assert not sent, f"{name}.{field} is sent"
    return found


def forms(value: Any) -> list[str]:
    """How a value that is like no other would look on the wire."""
    if isinstance(value, str):
        return [value] if "." in value else []
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return []
    moment = [FACTS.iso(monotonic(value))] if value >= WALL else []
    return [json.dumps(value), *moment]


# Every class through the library


def metrics_classes() -> list[str]:
    """Those that the installed livekit-agents has."""
    return [
        name
        for name, value in vars(base).items()
        if name.endswith("Metrics") and not name.startswith("_") and inspect.isclass(value)
    ]


@pytest.mark.parametrize("name", sorted(set(metrics_classes()) - NOT_HEARD))
def test_metrics_are_where_the_table_says(name: str) -> None:
    """Each field of each class, its details and metadata too."""
    marked, given = Marked(), {}
    if name == "RealtimeModelMetrics":
        cached = marked.model(base.RealtimeModelMetrics.CachedTokenDetails)
        details = base.RealtimeModelMetrics.InputTokenDetails
        given["input_token_details"] = marked.model(details, cached_tokens_details=cached)
    metric = marked.model(getattr(base, name), **given)
    if name == "VADMetrics":
        summary = _metrics.VadSummary()
        summary.add(metric)
        records = summary.records(9.0)
    else:
        records = _metrics.request_records(metric, monotonic)
    event = ended(records)
    assert check(metric, event) >= 5
    if getattr(metric, "metadata", None) is not None:
        assert check(metric.metadata, event) == 2
    if name == "RealtimeModelMetrics":
        assert check(metric.input_token_details, event) == 6
        assert check(cached, event) == 3
        assert check(metric.output_token_details, event) == 3


@pytest.mark.parametrize("name", sorted(NOT_HEARD))
def test_metrics_that_nobody_hears_are_said_to_be_missing(name: str) -> None:
    """They are emitted by objects that the session and the agent do not show."""
    assert not any(row.is_sent for row in table()[name].values())


def test_usage_is_where_the_table_says() -> None:
    """Each count of each kind of model."""
    usage = pytest.importorskip("livekit.agents.metrics.usage")
    kinds = [name for name in models_of(usage) if name.endswith("ModelUsage")]
    assert len(kinds) >= 4
    for name in kinds:
        row = Marked().model(getattr(usage, name))
        event = ended(_metrics.usage_records([row], 9.0))
        assert check(row, event) == len(type(row).model_fields)


def has(module: Any, name: str) -> Any:
    """A class of livekit's, or this is skipped."""
    if not hasattr(module, name):
        pytest.skip("this livekit-agents has none")
    return getattr(module, name)


Handler = Callable[[Any, _events.ToMonotonic], list[Record]]


@pytest.mark.parametrize(
    ("module", "name", "handler"),
    [
        (events, "UserTranscriptionTimeoutEvent", _events.transcription_timeout),
        (events, "AgentFalseInterruptionEvent", _events.false_interruption),
        (events, "OverlappingSpeechEvent", _events.overlapping_speech),
        (events, "UserInputTranscribedEvent", _events.transcribed),
    ],
)
def test_notes_and_transcripts_are_where_the_table_says(
    module: Any, name: str, handler: Handler
) -> None:
    """Events that stand for themselves."""
    event = Marked().model(has(module, name), message=None, speech_input=None, probabilities=None)
    told = SimpleNamespace(**{field: event.__dict__[field] for field in type(event).model_fields})
    assert check(told, ended(handler(event, monotonic)), name=name) >= 1


def test_a_caller_who_is_away_is_told() -> None:
    """And comes back."""
    times = {"created_at": WALL + 5.25}
    left = Marked().model(
        events.UserStateChangedEvent, old_state="listening", new_state="away", **times
    )
    back = Marked().model(
        events.UserStateChangedEvent, old_state="away", new_state="listening", **times
    )
    event = ended([*_events.user_away(left, monotonic), *_events.user_away(back, monotonic)])
    assert [row["kind"] for row in event["events"]] == ["user_away", "user_back"]
    rows = table()["UserStateChangedEvent"]
    assert rows["new_state"].said[0] == "user_away" and rows["old_state"].said[0] == "user_back"
    if "created_at" in events.UserStateChangedEvent.model_fields:
        assert find(event, rows["created_at"].paths[0])[0] == FACTS.iso(5.25)


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_message_is_where_the_table_says(role: str) -> None:
    """With every measure that it can carry."""
    marked = Marked()
    report = (
        marked.report(chat_context.MetricsReport) if hasattr(chat_context, "MetricsReport") else {}
    )
    if report:
        report["stopped_speaking_at"] = report["started_speaking_at"] + 2
    more = {"metrics": report} if report else {}
    message = marked.model(
        llm.ChatMessage,
        role=role,
        content=["what was said"],
        interrupted=True,
        extra={"key": "ChatMessage.extra"},
        hash=None,
        **more,
    )
    added = events.ConversationItemAddedEvent(item=message)
    event = ended(_events.conversation_item(added, monotonic, None))
    told = {field: message.__dict__[field] for field in llm.ChatMessage.model_fields}
    assert check(told, event, name="ChatMessage") >= 4
    assert "ChatMessage.extra" not in json.dumps(event)
    if not report:
        return
    if role == "assistant":  # delays of the caller's turns become metrics too
        delays = ("transcription_delay", "end_of_turn_delay", "on_user_turn_completed_delay")
        report = {name: value for name, value in report.items() if name not in delays}
    assert check(report, event, name="MetricsReport") >= 6
    if "llm_metadata" in report:
        for name in ("model_name", "model_provider"):
            (row,) = [table()["MetricsMetadata"][name]]
            for path, key in zip(row.paths, ("llm", "tts", "stt"), strict=True):
                assert find(event, path) == [report[f"{key}_metadata"][name]]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_what_nobody_says_is_not_sent(role: Any) -> None:
    """As the table says of the roles."""
    added = events.ConversationItemAddedEvent(item=llm.ChatMessage(role=role, content=["obey"]))
    assert _events.conversation_item(added, monotonic, None) == []


def test_a_handoff_is_where_the_table_says() -> None:
    """From whom to whom."""
    item = Marked().model(has(chat_context, "AgentHandoff"))
    told = SimpleNamespace(item=item, created_at=WALL + 3.25)
    event = ended(_events.conversation_item(told, monotonic, None))
    assert check(item, event) == 2
    assert find(event, "handoffs[].timestamp") == [FACTS.iso(3.25)]


def test_a_tools_call_and_result_are_where_the_table_says() -> None:
    """As they are known once both are there."""
    call = Marked().model(llm.FunctionCall, call_id="call_1")
    output = Marked().model(llm.FunctionCallOutput, call_id="call_1", is_error=True)
    done = events.FunctionToolsExecutedEvent(function_calls=[call], function_call_outputs=[output])
    event = ended(_events.tools_executed(done, monotonic))
    assert check(call, event) >= 5
    assert check(output, event) >= 5
    assert check(done, event) == 2


def test_a_tools_life_is_where_the_table_says() -> None:
    """It begins, reports and is cancelled."""
    kind = has(events, "ToolExecutionUpdatedEvent")
    marked = Marked()
    call = marked.model(llm.FunctionCall, call_id="call_1")
    updates = [
        events.ToolCallStarted(function_call=call),
        marked.model(events.ToolCallUpdated, call_id="call_1"),
        marked.model(events.ToolCallEnded, call_id="call_1", status="cancelled"),
        marked.model(events.ToolReplyUpdated),
    ]
    told = [kind(update=update, created_at=WALL + 7.25) for update in updates]
    event = ended([record for one in told for record in _events.tool_updated(one, monotonic)])
    assert check(told[0], event) == 3
    for update in updates:
        check(update, event)
    assert find(event, "toolCalls[].updates[].content") == [updates[1].message]


@pytest.mark.parametrize("name", ["LLMError", "STTError", "TTSError", "RealtimeModelError"])
def test_an_error_is_where_the_table_says(name: str) -> None:
    """Of a model, with the event that brings it."""
    error = Marked().model(getattr(events, name), error=RuntimeError("no route"), recoverable=False)
    event = ended([_events.failed(error, 4.25)])
    assert check(error, event) >= 6
    source = SimpleNamespace(label="the model")
    event = ended([_events.failed(error, 4.25, source)])
    assert find(event, table()["ErrorEvent"]["source"].paths[0]) == ["the model"]
    assert find(event, "events[].timestamp") == [FACTS.iso(4.25)]


def test_close_reasons_are_what_the_table_says() -> None:
    """Of every version: a reason is only a word."""
    rows = [cells for cells in lines_of(section("Close reasons")) if len(cells) == 4]
    assert len(rows) == 5
    for reason, sent, ended_by, _ in rows:
        (word,) = CODE.findall(reason)
        end = end_of(SimpleNamespace(reason=SimpleNamespace(value=word), error=None))
        event = ended([], end)
        assert [event["callEndedReason"]] == CODE.findall(sent)
        assert [event["endedBy"]] == CODE.findall(ended_by)


def test_a_session_that_closes_for_no_reason_is_what_the_table_says() -> None:
    """As 1.0 does it, with an error and without; and what ends a call beside the session."""
    rows = [cells for cells in lines_of(section("Close reasons")) if len(cells) == 3]
    reasons, ended_by = (CODE.findall(rows[0][column]) for column in (1, 2))
    for error, reason, by in zip((None, RuntimeError("x")), reasons, ended_by, strict=True):
        event = ended([], end_of(SimpleNamespace(error=error)))
        assert (event["callEndedReason"], event["endedBy"]) == (reason, by)
        if error is not None:
            paths = table()["CloseEvent"]["error"].paths
            assert [find(event, path) for path in paths] == [["RuntimeError"], ["x"]]
    shut_down = ended([], end_record(1.0, "user requested", ended_by="worker"))
    assert [shut_down["endedBy"]] == CODE.findall(rows[2][2])
    for row in rows[3:]:
        event = ended([], end_record(1.0, CODE.findall(row[1])[0]))
        assert [event["endedBy"]] == CODE.findall(row[2])


def test_the_caller_is_where_the_table_says() -> None:
    """Attributes of a telephone call, and no others."""
    caller = SimpleNamespace(
        identity="sip_1",
        sid="PA_1",
        name="Caller",
        kind=rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
        attributes={"sip.callStatus": "active", "plan": "RemoteParticipant.plan"},
        metadata="RemoteParticipant.metadata",
        disconnect_reason=rtc.DisconnectReason.SIP_TRUNK_FAILURE,
    )
    event = ended([participant_record(caller, 1.0)])
    rows = table()["RemoteParticipant"]
    for field, value in (("identity", "sip_1"), ("sid", "PA_1"), ("name", "Caller")):
        assert find(event, rows[field].paths[0]) == [value]
    assert find(event, rows["kind"].paths[0])[0] in rows["kind"].said
    reason = rows["disconnect_reason"]
    assert find(event, reason.paths[0])[0] in reason.said
    assert find(event, rows["attributes"].paths[0]) == [{"sip.callStatus": "active"}]
    assert "RemoteParticipant." not in json.dumps(event)


def test_a_key_that_is_pressed_is_where_the_table_says() -> None:
    """And only the key."""
    records: list[Record] = []
    room: Any = rtc.EventEmitter()
    room.remote_participants = {}
    RoomWatch(room, records.append, Guard()).begin()
    room.emit("sip_dtmf_received", rtc.SipDTMF(code=70_011, digit="#"))
    event = ended(records)
    assert find(event, table()["SipDTMF"]["digit"].paths[0]) == ["#"]
    assert "70011" not in json.dumps(event)


def test_an_agents_instructions_and_tools_are_where_the_table_says() -> None:
    """As they are, whatever told of their change."""
    agent = SimpleNamespace(id="desk", instructions="Be brief.", tools=[])
    event = ended([agent_record(agent, 1.0)])
    rows = table()["AgentConfigUpdate"]
    assert find(event, rows["instructions"].paths[0]) == ["Be brief."]
    assert find(event, rows["tools_added"].said[0]) == [[]]
