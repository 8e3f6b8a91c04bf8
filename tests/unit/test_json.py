"""Any Python value becomes plain JSON, and nothing raises on the way."""

from __future__ import annotations

import copy
import enum
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roark_analytics_python_livekit._serialize import (
    MAX_ALL_TEXT,
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_TEXT,
    CutText,
    JsonText,
    clean_text,
    json_digest,
    json_of_repr,
    json_pieces,
    json_safe,
    json_text,
)


def on_the_wire(value: object) -> str:
    """A value as JSON text that every receiver takes; raises where there is none."""
    text = json.dumps(json_safe(value), ensure_ascii=False, allow_nan=False)
    text.encode("utf-8")
    return text


class Hostile:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


class HostileText(str):
    """Text that does not want to be read."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


class HostileDict(dict[str, Any]):
    """A mapping that raises when it is read."""

    def items(self) -> Any:
        raise RuntimeError("no")


class Endless(list[int]):
    """A list that never ends."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1


class Changing(dict[str, int]):
    """A mapping that grows while it is read."""

    def items(self) -> Any:
        for key in self:
            yield key, 1
            self[key + "x"] = 1


class Plan(str, enum.Enum):
    """A word with a name."""

    GOLD = "gold"


class Level(enum.IntEnum):
    """A number with a name."""

    HIGH = 3


@dataclass
class Order:
    """A data class, as tools return them."""

    number: str
    items: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        ("text", "text"),
        ([1, (2, 3)], [1, [2, 3]]),
        ({"a": {"b": [None]}}, {"a": {"b": [None]}}),
        (
            {1: "int", None: "none", (1, 2): "tuple"},
            {"1": "int", "None": "none", "(1, 2)": "tuple"},
        ),
        (frozenset([1]), [1]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (-float("inf"), "-inf"),
        (b"secret", "<6 bytes>"),
        (bytearray(3), "<3 bytes>"),
        (memoryview(b"ab"), "<2 bytes>"),
        (2**63 - 1, 2**63 - 1),
        (2**63, "9223372036854775808"),
        (10**5000, "<int>"),
        ("\ud800", "?"),
        ({"\udfff": "a\ud800b"}, {"?": "a?b"}),
        ("😀", "😀"),
        (Plan.GOLD, "gold"),
        ({Plan.GOLD: Plan.GOLD}, {"gold": "gold"}),
        (Level.HIGH, 3),
        (Order("NW-4471"), "Order(number='NW-4471', items=[])"),
        (Hostile(), "<Hostile>"),
        ([Hostile(), 1], ["<Hostile>", 1]),
        ({Hostile(): 1}, "<dict>"),
        (HostileDict(a=1), "<HostileDict>"),
        ({"kept": 1, "lost": HostileDict()}, {"kept": 1, "lost": "<HostileDict>"}),
        (Changing(a=1), "<Changing>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_becomes_plain_json(value: object, plain: object) -> None:
    """The rules, one by one; what raises becomes its type's name, and only that part does."""
    assert json_safe(value) == plain
    on_the_wire(value)


def test_the_type_of_a_number_is_kept_plain() -> None:
    """An IntEnum is an int to Python and a name to some encoders."""
    assert type(json_safe(Level.HIGH)) is int
    assert type(json_safe(Plan.GOLD)) is str
    assert json_safe(True) is True


def test_hostile_text_is_read_as_it_is_stored() -> None:
    """A subclass's methods are not asked."""
    assert json_safe(HostileText("calm")) == "calm"
    assert json_text(HostileText("calm")) == "calm"
    assert json_safe({HostileText("key"): 1}) == {"key": 1}


def test_a_cycle_ends_where_it_would_begin_again() -> None:
    """The same value twice side by side is no cycle."""
    cyclic: dict[str, Any] = {"twice": [[1]] * 2}
    cyclic["self"] = cyclic
    assert json_safe(cyclic) == {"twice": [[1], [1]], "self": "..."}
    listed: list[Any] = []
    listed.append({"in": listed})
    assert json_safe(listed) == [{"in": "..."}]


def test_depth_is_bounded() -> None:
    """A nest of 5,000 lists would exhaust the stack of whoever reads it."""
    nest: list[Any] = []
    for _ in range(5000):
        nest = [nest]
    assert on_the_wire(nest).count("[") == MAX_DEPTH + 1


@pytest.mark.parametrize("make", [lambda n: list(range(n)), lambda n: dict.fromkeys(range(n))])
def test_size_is_bounded(make: Any) -> None:
    """A million rows are cut at 10,000."""
    assert MAX_ITEMS - 1 <= len(json_safe(make(1_000_000))) <= MAX_ITEMS


def test_an_endless_value_ends() -> None:
    """What is over the bound is not even looked at."""
    assert len(json_safe(Endless())) <= MAX_ITEMS


def test_long_text_is_cut_and_says_so() -> None:
    """A tool that returns a whole page."""
    assert clean_text("x" * (MAX_TEXT + 7)) == "x" * MAX_TEXT + "... [7 more characters]"
    assert clean_text("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert clean_text("abcdef", 2) == "ab... [4 more characters]"


def test_a_text_that_was_cut_knows_what_is_missing() -> None:
    """Whatever copies it; and it is not cut once more by that."""
    cut = clean_text("abcdef", 2)
    assert isinstance(cut, CutText) and (cut.kept, cut.missing) == ("ab", 4)
    for copied in (copy.deepcopy(cut), json_safe([cut])[0], clean_text(cut, 2)):
        assert copied == cut and (copied.kept, copied.missing) == ("ab", 4)
    again = clean_text(cut, 1)
    assert isinstance(again, CutText) and again.kept == "a"
    assert not isinstance(clean_text("ab... [4 more characters]"), CutText)


def test_json_text_knows_its_value() -> None:
    """What was cut inside it, too."""
    text = json_text({"a": "x" * (MAX_TEXT + 1)})
    assert isinstance(text, JsonText) and text == json.dumps(text.value, separators=(",", ":"))
    assert isinstance(text.value["a"], CutText) and copy.deepcopy(text).value == text.value
    assert not isinstance(json_text('{"a": 1}'), JsonText)


def test_all_text_of_a_value_together_is_bounded() -> None:
    """Each string alone may be within its bound: 10,000 of them would be 600 MB."""
    text = on_the_wire({f"{n}": "x" * MAX_TEXT for n in range(MAX_ITEMS)})
    assert len(text) < MAX_ALL_TEXT + MAX_ITEMS * 50


def test_json_text_leaves_text_alone_and_encodes_the_rest() -> None:
    """Tool arguments come as JSON text already."""
    assert json_text('{"a": 1}') == '{"a": 1}'
    assert json_text({"a": [1, "é"]}) == '{"a":[1,"é"]}'
    assert json_text(None) == "null"
    assert json_text(float("nan")) == '"nan"'
    assert json_text("a\ud800") == "a?"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"ok": True}, '{"ok": true}'),
        ([{"a": None}, 'it\'s "x"\n\\ \x00 é \U0001f600'], None),
        ({3: (1,), False: (1, 2), None: (), 1.5: [-2, 1e20, 1e-7]}, None),
        ({"n": [float("nan"), float("-inf")]}, '{"n": ["nan", "-inf"]}'),
        (["\ud800"], '["?"]'),
    ],
)
def test_what_python_writes_of_a_dict_or_list_becomes_json(value: Any, text: str | None) -> None:
    """Keys and values as `json` itself gives them."""
    told = json_of_repr(str(value))
    assert json.loads(told) == json.loads(text or json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        *("", "plain", "[laughs]", "{name}", "[1 2]", "['a' 'b']", "[01]", "{1, 2}", "[b'x']"),
        *("[object()]", "{'a': <Plan.GOLD: 1>}", "['\\d']", "['\\x4']", "['a\nb\\n']"),
        *('{"a": "It\'s JSON"}', "[1, true]", "['" + "\\" * 65_000 + "]", "[" * 30_000 + "]" * 9),
        *("[" * 30_000 + "()" + "]" * 30_000, "['" + "a" * 65_000 + "]", "True", "('a',)"),
    ],
)
def test_any_other_text_stays_as_it_is(text: str) -> None:
    """Also what only looks like it; nothing of it is run, and nothing raises."""
    assert json_of_repr(text) == text


def test_a_text_that_was_cut_stays_one() -> None:
    """It still says how much is missing."""
    cut = clean_text(str(["a"] * MAX_TEXT))
    assert json_of_repr(cut) is cut


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # half of a surrogate pair is replaced, as everywhere
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(plain) | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), plain))
def test_it_is_the_json_of_the_value(value: object) -> None:
    """Whatever the strings hold."""
    assert json.loads(json_of_repr(str(value))) == json.loads(json.dumps(value))


makers: list[Callable[[], Any]] = [
    Hostile,
    object,
    lambda: HostileText("x"),
    lambda: HostileDict(a=1),
    lambda: Changing(a=1),
    lambda: Plan.GOLD,
    lambda: Order("1"),
]
hostile = st.sampled_from(makers).map(lambda make: make())
anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.complex_numbers()
    | st.dates()
    | hostile,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=())) | st.integers() | st.none(), inner
        )
    ),
    max_leaves=20,
)


@given(anything)
@settings(max_examples=200)
def test_every_value_can_be_sent(value: object) -> None:
    """JSON without NaN, in UTF-8, whatever a tool or the agent's code hands over."""
    on_the_wire(value)
    json_text(value).encode("utf-8")


@given(st.text(st.characters(exclude_categories=()), max_size=50), st.integers(1, 60))
def test_clean_text_keeps_what_it_can(text: str, limit: int) -> None:
    """As many characters as there were, up to the limit; only surrogates change."""
    cleaned = clean_text(text, limit)
    kept = min(len(text), limit)
    assert len(cleaned[:kept]) == kept
    assert all(new == old or new == "?" for new, old in zip(cleaned, text[:kept], strict=False))


@pytest.mark.parametrize("key", [1, 1.5, True, None, "text", "\ud800"])
def test_keys_are_as_json_has_them(key: object) -> None:
    """Whatever stands behind them: what a user posts is not always made of texts."""
    value: Any = {"metadata": {key: {"a": 1}, "z": [1]}}
    at_once = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert b"".join(json_pieces(value)) == at_once.encode("utf-8", "replace")
    if isinstance(key, str):
        in_order = json.dumps(value, sort_keys=True)
        assert json_digest(value) == hashlib.sha256(in_order.encode()).hexdigest()


def test_a_key_that_json_does_not_have_is_refused() -> None:
    """As json refuses it."""
    odd: Any = {(1, 2): {"a": 1}}
    with pytest.raises(TypeError):
        list(json_pieces(odd))
