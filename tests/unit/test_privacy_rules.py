"""What of a journal's entry is redacted, before it is stored or sent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any, cast, get_args, get_type_hints

import pytest

from roark_analytics_python_livekit._call import privacy
from roark_analytics_python_livekit._call.pauses import PauseLog, TranscriptFilter
from roark_analytics_python_livekit._call.privacy import FAILED, check_redact, is_private
from roark_analytics_python_livekit._call.records import Happened, Record
from roark_analytics_python_livekit._call.redactor import usable
from roark_analytics_python_livekit._call.rows import Rows
from roark_analytics_python_livekit._call.state import CallState
from roark_analytics_python_livekit._config import SettingsError
from roark_analytics_python_livekit._livekit import events as _events
from roark_analytics_python_livekit._serialize import (
    MAX_TEXT,
    CutText,
    clean_text,
    json_safe,
    json_text,
)

SECRET = "+15105550100"


def without_secret(text: str) -> str:
    """Redacts that one number, however it stands in a text."""
    return text.replace(SECRET, "[x]").replace(SECRET[1:], "[x]")


class Redactor:
    """`redact` as the journal applies it, without its worker."""

    def __init__(self, redact: Callable[[str], Any]) -> None:
        self.failures = 0
        self._redact = redact

    def text(self, text: str) -> str:
        """One text."""
        answer = None
        with contextlib.suppress(ValueError):
            answer = self._redact(text.kept if isinstance(text, CutText) else text)
        after = usable(text, answer)
        self.failures += after is None
        return FAILED if after is None else after

    def entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        """One record."""
        return cast("dict[str, Any]", privacy.redacted(entry, self.text))


def redacted(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry as it is stored."""
    return Redactor(without_secret).entry(entry)


ENTRIES: list[dict[str, Any]] = [
    {"type": "turn", "role": "user", "text": f"i am {SECRET}", "at": 1.0},
    {"type": "heard", "text": f"i am {SECRET}", "at": 1.0},
    {"type": "tool_call", "id": "1", "name": "n", "arguments": json.dumps({"to": SECRET}), "at": 1},
    {"type": "tool_call", "id": "1", "name": "n", "arguments": '{"to": 15105550100}', "at": 1.0},
    {"type": "tool_call", "id": "1", "name": "n", "arguments": f"not JSON {SECRET}", "at": 1.0},
    {"type": "tool_result", "id": "1", "content": f"called {SECRET}", "error": False, "at": 1.0},
    {"type": "tool_result", "id": "1", "content": json.dumps([{SECRET: [SECRET]}]), "at": 1.0},
    {"type": "tool_update", "id": "1", "content": f"calling {SECRET}", "at": 1.0},
    {"type": "tool_ended", "id": "1", "status": "error", "content": f"no {SECRET}", "at": 1.0},
    {"type": "error", "kind": "llm_error", "message": f"refused {SECRET}", "at": 1.0},
    {"type": "agent", "id": "a", "instructions": f"call {SECRET}", "tools": [], "at": 1.0},
    {"type": "metadata", "values": {"phone": SECRET, "all": [{"of": SECRET}], "n": 15105550100}},
    {
        "type": "participant",
        "identity": f"sip_{SECRET}",
        "name": f"Phone {SECRET}",
        "attributes": {"sip.phoneNumber": SECRET},
        "at": 1.0,
    },
    {"type": "heard", "speaker": f"caller {SECRET}", "at": 1.0},
    {"type": "metric", "kind": "agent", "extra": {"type": "odd", "text": SECRET}, "at": 1.0},
    {"type": "end", "at": 1.0, "reason": f"{SECRET} hung up"},
    {"type": "end", "at": 1.0, "reason": "error", "error": {"kind": "e", "message": SECRET}},
    {
        "type": "call",
        "facts": {
            "agent_prompt": f"never call {SECRET}",
            "job": {"participantIdentity": f"sip_{SECRET}", "roomName": f"call-_{SECRET}_x"},
        },
        "metadata": {"phone": SECRET},
    },
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry["type"]))
def test_nothing_private_is_left_in_an_entry(entry: dict[str, Any]) -> None:
    """Wherever it stands, and the entry that came in is as it was."""
    before = json.dumps(entry)
    after = json.dumps(redacted(entry))
    assert SECRET[1:] in before and SECRET[1:] not in after and "[x]" in after
    assert json.dumps(entry) == before


def test_what_was_json_is_json_still() -> None:
    """Numbers that are redacted become text; names that the agent's code gave stay."""
    entry = {"type": "tool_call", "arguments": '{"to": 15105550100, "times": 2, "now": true}'}
    assert json.loads(redacted(entry)["arguments"]) == {"to": "[x]", "times": 2, "now": True}


def test_what_holds_nothing_private_is_as_it_was_to_the_letter() -> None:
    """White space of JSON text included."""
    entry = {"type": "tool_call", "arguments": '{"order":  "427", "for": 12.50}'}
    assert redacted(entry) == entry
    other = {"type": "metric", "kind": "llm", "extra": {"requestId": SECRET}}
    assert redacted(other) == other and not is_private(other)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"note": "{SECRET}", "note": "ok"}}',
        f'{{"in": [{{"note": ["{SECRET}"], "note": "ok"}}]}}',
        f'{{"{SECRET}": 1, "{SECRET}": 1, "a": {{}}}}',
        '{"n": 0.000000000000000000015105550100, "n": 2}',
        '{"n": 1.00000000000000000000015105550100}',
    ],
)
@pytest.mark.parametrize("kind", ["tool_call", "tool_result"])
def test_what_reading_json_leaves_out_is_left_out(kind: str, text: str) -> None:
    """The first of two equal keys, and digits that a number cannot hold: `redact` saw neither."""
    name = "arguments" if kind == "tool_call" else "content"
    after = redacted({"type": kind, name: text})[name]
    assert SECRET[1:] not in after and json.loads(after)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("to", "TO"),
        ("größe", "GRÖSSE"),
        ("jane@example.com", "JANE@EXAMPLE.COM"),
        ("Jane Doe", "JANE DOE"),
        ("", ""),
        ("card_4111111111111111", "CARD_4111111111111111"),
    ],
)
def test_names_of_arguments_stay_if_they_can_be_names(key: str, expected: str) -> None:
    """The model writes them; a parameter's name is an identifier without a number in it."""
    arguments = json.dumps({key: {key: 1}})
    after = Redactor(str.upper).entry({"type": "tool_call", "arguments": arguments})["arguments"]
    is_name = key in ("to", "größe")
    assert json.loads(after) == {key if is_name else expected: {expected: 1}}


def test_names_of_metadata_stay() -> None:
    """The agent's code gave them, whatever they look like."""
    entry = {"type": "metadata", "values": {"order-id": "x"}}
    assert Redactor(str.upper).entry(entry)["values"] == {"order-id": "X"}


BARE = "447911123456"


@pytest.mark.parametrize(
    ("redact", "expected"),
    [
        (lambda text: text, "sip_[phone]"),
        (lambda text: text.replace("44", "*"), "sip_*[phone]"),
        (lambda text: text.replace(BARE, "0123456789abcdef"), "sip_0123456789abcdef"),
        (lambda text: text.replace(BARE, "*3456"), "sip_*3456"),
    ],
    ids=["kept", "in part", "hashed", "its end"],
)
def test_a_callers_number_goes_from_names_whatever_redact_makes_of_it(
    redact: Callable[[str], str], expected: str
) -> None:
    """LiveKit makes names of it, without a plus where the trunk sends none."""
    redactor, name = Redactor(redact), f"sip_{BARE}"
    ids = {"sip.callID": f"SCL_{BARE}"}
    participant = redactor.entry(
        {
            "type": "participant",
            "identity": name,
            "name": name,
            "attributes": {"sip.phoneNumber": name, "sip.h.x-caller-id": name, **ids},
        }
    )
    assert (participant["identity"], participant["name"]) == (expected, expected)
    assert participant["attributes"] == {
        "sip.phoneNumber": expected,
        "sip.h.x-caller-id": expected,
        "sip.callID": redact(ids["sip.callID"]),
    }
    job = {"participantIdentity": name, "roomName": name, "jobId": name}
    call = redactor.entry({"type": "call", "facts": {"job": job}, "metadata": {"id": BARE}})
    assert call["facts"]["job"] == {**job, "participantIdentity": expected, "roomName": expected}
    assert call["metadata"] == {"id": redact(BARE)}


def cut_at(limit: int, place: int) -> str:
    """A text that is longer than `limit`, with the secret beginning at a place before it."""
    words = "word " * (limit // 5 + 1)
    return f"{words[: limit - place]}{SECRET}" + 100 * " and more"


def cut_entries(place: int) -> dict[str, dict[str, Any]]:
    """The secret beginning so many characters before the cut, wherever texts are cut."""
    long = cut_at(MAX_TEXT, place)
    deep = {"a": [{"b": long}], "c": long}
    sip = {"sip.h.x": clean_text(cut_at(1000, place), 1000)}
    facts = {"agent_prompt": long}
    return {
        "turn": {"type": "turn", "text": clean_text(long)},
        "tool_call": {"type": "tool_call", "arguments": json_text(deep)},
        "tool_result": {"type": "tool_result", "content": json_text(deep)},
        "text": {"type": "tool_result", "content": json_text(long)},
        "json": {"type": "tool_result", "content": json_text(json.dumps({"a": long}))},
        "error": {**_events.failed(ValueError(cut_at(2000, place)), 1.0)},
        "participant": {"type": "participant", "attributes": sip},
        "metadata": {"type": "metadata", "values": json_safe(deep)},
        "call": {"type": "call", "facts": json_safe(facts), "metadata": json_safe(deep)},
    }


@pytest.mark.parametrize("kind", cut_entries(0))
def test_a_text_that_was_cut_ends_before_what_the_cut_has_halved(kind: str) -> None:
    """A number of which the last digits are missing is none that could be recognized."""
    for place in range(len(SECRET) + 3):
        entry = cut_entries(place)[kind]
        assert "more characters]" in json.dumps(entry)
        after = json.dumps(redacted(entry))
        assert "more characters]" in after and "word word" in after
        assert "+1" not in after


def test_what_stands_well_before_the_cut_is_there_still() -> None:
    """Redacted as a whole, and the note says how much is missing by now."""
    entry = cut_entries(300)["turn"]
    text = redacted(entry)["text"]
    assert "[x]" in text and text.endswith("... [868 more characters]")
    assert Redactor(lambda text: "gone").text(entry["text"]).startswith("... [")


def test_keys_of_a_telephone_are_masked() -> None:
    """One alone says nothing, and a card number comes key by key."""
    assert redacted({"type": "dtmf", "digit": "4", "at": 1.0})["digit"] == "*"


def test_livekits_own_close_reasons_stay_what_they_are() -> None:
    """Who ended the call follows from them."""
    entry = {"type": "end", "at": 1.0, "reason": "job_shutdown"}
    assert Redactor(str.upper).entry(entry) == entry


@pytest.mark.parametrize("answer", [None, 7, b"text"])
def test_what_gives_no_text_is_replaced_by_the_marker_and_counted(answer: Any) -> None:
    """As is what raises."""
    redactor = Redactor(lambda text: answer)
    assert redactor.entry({"type": "turn", "text": "hello"})["text"] == FAILED
    assert redactor.failures == 1


def test_what_raises_is_replaced_by_the_marker_and_counted() -> None:
    """Field by field: the others are redacted."""

    def picky(text: str) -> str:
        if "bad" in text:
            raise ValueError(text)
        return text.upper()

    redactor = Redactor(picky)
    values = {"one": "fine", "two": "bad", "three": ["bad", "fine"]}
    assert redactor.entry({"type": "metadata", "values": values})["values"] == {
        "one": "FINE",
        "two": FAILED,
        "three": [FAILED, "FINE"],
    }
    assert redactor.failures == 2


async def test_a_coroutine_is_no_text() -> None:
    """Of a function that hides that it is one; nothing is left to be awaited."""

    async def later(text: str) -> str:
        return text

    redactor = Redactor(lambda text: later(text))
    assert redactor.entry({"type": "turn", "text": "hello"})["text"] == FAILED


def test_what_it_gives_is_made_fit_for_the_wire() -> None:
    """Half a surrogate pair would cost the event, a text without end the memory."""

    class Text(str):
        def __str__(self) -> str:
            raise RuntimeError

    assert Redactor(lambda text: Text("a\ud800")).text("x") == "a?"
    assert len(Redactor(lambda text: "x" * 10_000_000).text("x")) < 200_000


def test_an_answer_that_is_missing_is_the_marker_everywhere() -> None:
    """Where there is no time to ask."""
    redactor = Redactor(lambda text: None)
    entry = redactor.entry({"type": "tool_call", "arguments": '{"to": "anyone", "n": 1}'})
    assert json.loads(entry["arguments"]) == {"to": FAILED, "n": FAILED}
    assert redactor.failures == 2


def kinds_of(union: Any) -> set[str]:
    """The `type` strings of a union of record types."""
    return {get_args(get_type_hints(each)["type"])[0] for each in get_args(union)}


def test_each_type_of_record_has_its_rule_and_its_place() -> None:
    """What is private of a new one is decided, and something is made of it."""
    assert set(privacy.RULES) == kinds_of(Record)
    assert set(TranscriptFilter(PauseLog())._rules) == kinds_of(Happened)
    assert set(Rows(lambda at: {"timestamp": "", "audioOffsetMs": 0})._add) == kinds_of(Happened)


@pytest.mark.parametrize("kind", sorted(kinds_of(Record)))
def test_what_livekit_said_is_kept_apart_from_what_the_library_says(kind: str) -> None:
    """A record about the call or its delivery is never a row of call-ended."""
    state = CallState()
    with contextlib.suppress(KeyError):  # nothing but its type and moment
        state.apply({"type": kind, "at": 1.0})
    assert bool(state.happened) == (kind in kinds_of(Happened))


def test_only_plain_functions_are_taken() -> None:
    """Anything else would be a promise that is not kept."""

    async def later(text: str) -> str:
        return text

    check_redact(None)
    check_redact(str.upper)
    for wrong in ("redact", later, 7):
        with pytest.raises(SettingsError, match="redact"):
            check_redact(wrong)
