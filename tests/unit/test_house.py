"""The house as the code has it: who imports whom, who knows livekit, how large things are, where
state is. Each rule is a function that returns what breaks it, and is tried on a line that does."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import roark_analytics_python_livekit

PACKAGE = Path(roark_analytics_python_livekit.__file__).parent
SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path.read_text("utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
}
ROOMS = {"_livekit", "_recording", "_call", "_delivery"}
MAY_IMPORT = {  # room, or module of no room → rooms and modules beside itself
    "_types": set(),
    "_version": set(),
    "_config": set(),
    "_serialize": set(),
    "_steps": set(),
    "_diagnostics": set(),
    "_process": set(),
    "_queue": set(),
    "redaction": set(),
    "_livekit": {"_call.records", "_recording.frames", "_diagnostics", "_serialize"},
    "_recording": set(),
    "_call": {"_config", "_diagnostics", "_serialize", "_steps", "_types", "redaction"},
    "_delivery": {
        *("_call.records", "_diagnostics", "_process", "_queue", "_serialize", "_steps"),
        *("_types", "client"),
    },
    "_metadata": {"_config", "_diagnostics", "_serialize"},
    "_http": {"_connections", "_delivery.stats"},
    "_connections": {"_process"},
    "_presigned": {"_config", "_delivery.stats", "_http"},
    "client": {
        *("_config", "_connections", "_delivery.stats", "_diagnostics", "_http", "_presigned"),
        *("_serialize", "_types"),
    },
    "audio": {"_recording"},
    "_recorder": {"_call.records", "_delivery", "_recording", "audio"},
    "_summary": {"_delivery", "_diagnostics"},
    "_recovery": {"_call", "_delivery", "_diagnostics", "_process", "_steps", "client"},
    "_pipeline": {
        *("_call", "_delivery", "_recording", "_recorder", "_recovery", "_summary"),
        *("_config", "_diagnostics", "_metadata", "_process", "_queue", "_serialize", "_steps"),
        "client",
    },
    "session": {
        *("_call", "_delivery", "_livekit", "_pipeline"),
        *("_config", "_diagnostics", "_metadata", "_process", "_serialize", "_version"),
        "client",
    },
    "__main__": {
        *("_call", "_delivery", "_recovery", "_config", "_diagnostics", "_summary", "_version"),
        "client",
    },
    "__init__": {"_version", "client", "session"},
}
STATEFUL = {"_process"}  # the modules that may have state of their own
NO_STATE = {  # names of modules that are neither constants nor state
    "logger",
    "_in_own_request",  # a context variable: its value is a task's
}

Rule = Callable[[str, str], list[str]]
"""A module's name and source → what breaks the rule in it."""


def room_of(module: str) -> str:
    """The room that a module is in; a module of no room is its own."""
    return module.split(".")[0]


# Who imports whom


def imports(module: str, source: str) -> Iterator[str]:
    """The package's modules that a module imports, anywhere in it."""
    home = [PACKAGE.name, *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            path = [*base, *(node.module or "").split(".")]
            targets = [[*path, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        else:
            continue
        for target in targets:
            parts = [part for part in target if part]
            if parts[0] == PACKAGE.name:
                yield known_module(parts[1:])


def known_module(parts: list[str]) -> str:
    """The module that a name is, or is in; the package itself for its own names."""
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in SOURCES:
            return name
        if f"{name}.__init__" in SOURCES:
            return f"{name}.__init__"
    return "__init__"


def wrong_imports(module: str, source: str) -> list[str]:
    """Imports of what the room may not know."""
    room = room_of(module)
    known = MAY_IMPORT[room] | {room}
    return sorted({to for to in imports(module, source) if not {to, room_of(to)} & known})


# Who knows livekit

VERSION = re.compile(r"\b1\.\d{1,2}\b(?! ?(s|ms|seconds|minutes)\b)")


def livekit_imports(module: str, source: str) -> list[str]:
    """Imports of livekit outside its room; `session` may name its types."""
    if room_of(module) == "_livekit":
        return []
    tree = ast.parse(source)
    typing_only = {
        node
        for block in ast.walk(tree)
        if module == "session" and isinstance(block, ast.If)
        if ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom)) and node not in typing_only
        if re.match(r"(import|from) livekit\b", ast.unparse(node))
    ]


# The middle of an f-string is a token of its own from Python 3.12 on.
TEXTS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def version_facts(module: str, source: str) -> list[str]:
    """Strings and comments outside the room that name a version of livekit's, or RoomIO."""
    if room_of(module) == "_livekit":
        return []
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    texts = (token.string for token in tokens if token.type in TEXTS)
    return [text for text in texts if "RoomIO" in text or VERSION.search(text)]


# How large things are


def too_large(module: str, source: str) -> list[str]:
    """A module over 350 lines; a class over 250 lines or 15 instance attributes."""
    length = len(source.splitlines())
    found = [f"{length} lines"] if length > 350 else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            attributes = len(instance_attributes(node))
            if lines > 250 or attributes > 15:
                found.append(f"{node.name}: {lines} lines, {attributes} attributes")
    return found


def instance_attributes(of_class: ast.ClassDef) -> set[str]:
    """Names that the class assigns on `self`."""
    return {
        node.attr
        for node in ast.walk(of_class)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }


# Where state is

CONSTANT = re.compile(r"_?[A-Z]\w*|__\w+__")  # or a type
MUTABLE = re.compile(
    r"list|dict|set|bytearray|deque|defaultdict|Counter|OrderedDict|Weak\w+|R?Lock|local|Event"
)
CHANGES = re.compile(
    r"append\w*|add|update|pop\w*|clear|setdefault|extend|remove|discard|insert|__setitem__"
)


def state(module: str, source: str) -> list[str]:
    """State of a module or a class that changes while the process runs."""
    if module in STATEFUL:
        return []
    tree = ast.parse(source)
    bodies = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    kept = [entry for body in bodies for entry in assignments(body)]
    found = [
        name
        for name, value, of_module in kept
        if is_mutable_call(value)
        or (of_module and not CONSTANT.fullmatch(name) and name not in NO_STATE)
        or (not of_module and is_mutable_literal(value) and not CONSTANT.fullmatch(name))
    ]
    tables = {name for name, value, _ in kept if is_mutable_literal(value)}
    return found + [text for node in ast.walk(tree) if (text := change(node, tables))]


def assignments(
    body: ast.Module | ast.ClassDef,
) -> Iterator[tuple[str, ast.expr | None, bool]]:
    """What a module or class binds while it is imported: name, value, whether it is a module."""
    statements: list[ast.stmt] = list(body.body)
    while statements:
        node = statements.pop()
        if isinstance(node, (ast.If, ast.Try)):
            statements += [s for s in ast.iter_child_nodes(node) if isinstance(s, ast.stmt)]
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        yield name.id, node.value, isinstance(body, ast.Module)
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield ast.unparse(node.target), node.value, isinstance(body, ast.Module)


def is_mutable_literal(value: ast.expr | None) -> bool:
    """A list, dict or set, or a comprehension that makes one."""
    kinds = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    return isinstance(value, kinds)


def is_mutable_call(value: ast.expr | None) -> bool:
    """A call that makes something to be changed."""
    if not isinstance(value, ast.Call):
        return False
    name = value.func.attr if isinstance(value.func, ast.Attribute) else ast.unparse(value.func)
    return MUTABLE.fullmatch(name) is not None


def change(node: ast.AST, tables: set[str]) -> str | None:
    """The node as text where it changes a table, rebinds a module's name, or remembers calls."""
    if isinstance(node, ast.Global):
        return ast.unparse(node)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        cached = [ast.unparse(d) for d in node.decorator_list]
        return next((d for d in cached if re.match(r"(functools\.)?(lru_)?cache\b", d)), None)
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        changed: Any = node.value
    elif isinstance(node, ast.Attribute) and CHANGES.fullmatch(node.attr):
        changed = node.value
    elif isinstance(node, ast.AugAssign):
        changed = node.target
    else:
        return None
    return ast.unparse(node) if isinstance(changed, ast.Name) and changed.id in tables else None


# The code


each_module = pytest.mark.parametrize("module", SOURCES)


def test_every_room_and_module_has_its_place() -> None:
    """A new one is entered in the table, with what it may know."""
    assert set(MAY_IMPORT) == {room_of(name) for name in SOURCES}
    assert {name.split(".")[0] for name in SOURCES if "." in name} == ROOMS


def test_a_room_knows_of_another_only_records_and_frames() -> None:
    """What is handed over between two rooms, and nothing of how it is made or used."""
    for room in ROOMS:
        others = {name for name in MAY_IMPORT[room] if room_of(name) in ROOMS - {room}}
        assert others <= {"_call.records", "_recording.frames"}


@each_module
def test_imports_go_one_way(module: str) -> None:
    """From the session over the pipeline to the rooms, as the table has it."""
    assert wrong_imports(module, SOURCES[module]) == []


def test_no_import_comes_back() -> None:
    """Taken away one by one, modules that import nothing that is left: none stays."""
    left = {name: set(imports(name, source)) - {name} for name, source in SOURCES.items()}
    while leaves := [name for name, to in left.items() if not to & set(left)]:
        for name in leaves:
            del left[name]
    assert left == {}


@each_module
def test_livekit_is_imported_in_its_room_only(module: str) -> None:
    """The rest works without it, and with every version."""
    assert livekit_imports(module, SOURCES[module]) == []


@each_module
def test_versions_of_livekit_are_known_in_its_room_only(module: str) -> None:
    """Also in what is said of the code: the other rooms are told what a sink or session can do."""
    assert version_facts(module, SOURCES[module]) == []


def test_versions_of_livekit_are_never_compared() -> None:
    """Capabilities are looked for; the version is only reported."""
    for name, source in SOURCES.items():
        if room_of(name) == "_livekit":
            uses = [n for n in ast.walk(ast.parse(source)) if "version" in getattr(n, "attr", "")]
            assert [ast.unparse(use) for use in uses] in ([], ["livekit_agents.__version__"])
            assert not re.search(r"import.*version|packaging", source)


@each_module
def test_modules_and_classes_stay_small(module: str) -> None:
    """One thing each: what is larger is two."""
    assert too_large(module, SOURCES[module]) == []


@each_module
def test_no_module_has_state(module: str) -> None:
    """State is in one named object a call; what belongs to the process is in one module."""
    assert state(module, SOURCES[module]) == []


# The rules themselves

MANY = "; ".join(f"self.a{number} = 1" for number in range(16))


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (wrong_imports, "_call.state", "from .._livekit import events"),
        (wrong_imports, "_call.state", "from .._delivery.outbox import Outbox"),
        (wrong_imports, "_call.state", f"import {PACKAGE.name}._pipeline"),
        (wrong_imports, "_recording.mixer", f"from {PACKAGE.name} import _serialize"),
        (wrong_imports, "_livekit.taps", "from .._recording.mixer import StereoMixer"),
        (wrong_imports, "_diagnostics", "def late():\n    from .session import CallHandle"),
        (livekit_imports, "_call.state", "from livekit import rtc"),
        (livekit_imports, "_pipeline", "if TYPE_CHECKING:\n    import livekit.agents"),
        (livekit_imports, "session", "try:\n    import livekit\nexcept ImportError:\n    pass"),
        (version_facts, "_call.state", "x = 1  # as RoomIO does"),
        (version_facts, "_call.state", '"""Before 1.6, nothing."""'),
        (version_facts, "_call.state", 'x = f"livekit-agents 1.10"'),
        (too_large, "a", "\n" * 351),
        (too_large, "a", "class A:\n" + "    x = 1\n" * 250),
        (too_large, "a", f"class A:\n def f(self):\n  {MANY}"),
        (state, "a", "CALLS = WeakSet()"),
        (state, "a", "calls: Final = weakref.WeakKeyDictionary()"),
        (state, "a", "calls = []"),
        (state, "a", "if True:\n    last = None"),
        (state, "a", "CALLS = {}\ndef f(x):\n    CALLS[x] = 1"),
        (state, "a", "CALLS = []\ndef f(x):\n    CALLS.append(x)"),
        (state, "a", "def f(x):\n    global last\n    last = x"),
        (state, "a", "@functools.lru_cache(maxsize=1)\ndef f(x): ..."),
        (state, "a", "class A:\n    known = {}"),
    ],
)  # fmt: skip
def test_each_rule_finds_what_breaks_it(rule: Rule, module: str, source: str) -> None:
    """A rule that finds nothing proves nothing."""
    assert rule(module, source)


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (wrong_imports, "_livekit.taps", "from .._recording.frames import Opened"),
        (wrong_imports, "_call.state", "import os, json\nfrom . import records"),
        (livekit_imports, "session", "if TYPE_CHECKING:\n    from livekit.agents import A"),
        (version_facts, "_call.state", "x = 1.6  # 1.5 s"),
        (version_facts, "_livekit.taps", "# RoomIO of 1.6"),
        (too_large, "a", "\n" * 350),
        (state, "a", "KINDS = {'a': 1}\nT = TypeVar('T')\ndef f(x):\n y = {}\n y[x] = KINDS[x]"),
        (state, "_process", "calls = WeakSet()"),
    ],
)  # fmt: skip
def test_no_rule_finds_what_does_not(rule: Rule, module: str, source: str) -> None:
    """One that finds everything is soon switched off."""
    assert rule(module, source) == []
