"""Any Python value becomes plain JSON that every receiver accepts; pure, and raises nothing."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Set
from itertools import takewhile
from typing import Any, TypeGuard

MAX_TEXT = 65_536  # characters of one string; a tool that returns a whole page is cut, and says so
MAX_ALL_TEXT = 1_048_576  # characters of all strings of one value
MAX_DEPTH = 32
MAX_ITEMS = 10_000  # nodes of one value
_PIECE = 65_536  # bytes of JSON
_ESCAPE = r"\\(?:[\\'nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})"
_LITERAL = re.compile(  # a piece of what `repr` makes of a dict or list; strings may hold anything
    rf"(?P<text>'[^'\\\x00-\x1f]*(?:{_ESCAPE}[^'\\\x00-\x1f]*)*'"
    rf'|"[^"\\\x00-\x1f]*(?:{_ESCAPE}[^"\\\x00-\x1f]*)*")'
    r"|(?P<word>True|False|None|-?nan|-?inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?P<is_key>(?=:))?"
    r"|(?P<end>,?\))|(?P<mark>[\s\[\]{},:(])"
)
_WORDS = {"True": "true", "False": "false", "None": "null"}
_COUNT = re.compile(r"(?i).*(tokens|count)$")  # whole numbers on the wire, whatever a plugin gives


class CutText(str):
    """A text that was too long, and says at its end how much of it is missing."""

    kept: str  # its beginning, without that note
    missing: int  # characters

    def __new__(cls, kept: str, missing: int) -> CutText:
        made = super().__new__(cls, f"{kept}... [{missing} more characters]")
        made.kept, made.missing = kept, missing
        return made

    def __reduce__(self) -> tuple[type[CutText], tuple[str, int]]:
        return CutText, (self.kept, self.missing)


class JsonText(str):
    """JSON text that also knows its value."""

    value: Any  # made of plain JSON types

    def __new__(cls, value: object) -> JsonText:
        plain = json_safe(value)
        text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
        made = super().__new__(cls, text)
        made.value = plain
        return made

    def __reduce__(self) -> tuple[type[JsonText], tuple[object]]:
        return JsonText, (self.value,)


def json_safe(value: object) -> Any:
    """A copy of `value` made of dict, list, str, int, float, bool and None only.

    NaN and infinities become their names, lone surrogates are replaced, bytes become a note of
    their length, cycles and depths beyond 32 become "...", other objects their `str()`, and what
    raises even there its type's name.
    """
    return _Copy().value(value, 0)


def json_text(value: object) -> str:
    """`value` as compact JSON text; a string is taken as the text that it is."""
    return clean_text(value) if isinstance(value, str) else JsonText(value)


def json_of_repr(text: str) -> str:
    """JSON text for what `str()` makes of a dict or list; any other text as it is.

    livekit gives a tool's result as such a text. It is not evaluated: each of its pieces has an
    equal in JSON, or nothing is changed.
    """
    if text[:1] + text[-1:] not in ("{}", "[]") or _is_json(text):
        return text
    pieces, at = [], 0
    while at < len(text):
        if (piece := _LITERAL.match(text, at)) is None:
            return text
        pieces.append(_piece_in_json(piece))
        at = piece.end()
    changed = "".join(pieces)
    return changed if _is_json(changed) else text


def _piece_in_json(piece: re.Match[str]) -> str:
    written = piece.group()
    if piece.lastgroup == "text":
        is_plain = "\\" not in written
        value = written[1:-1] if is_plain else clean_text(ast.literal_eval(written))
        return json.dumps(value, ensure_ascii=False)
    if piece["word"] is not None:
        word = _WORDS.get(written, f'"{written}"' if written[-1] in "nf" else written)
        return word if piece["is_key"] is None or word[0] == '"' else f'"{word}"'
    return {"(": "[", ")": "]", ",)": "]"}.get(written, written)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def json_pieces(value: Mapping[str, Any]) -> Iterator[bytes]:
    """`value` as compact JSON; TypeError, ValueError or RecursionError if it is not JSON.

    In pieces of 64 KiB or one text more: json itself holds the interpreter until all of a call's
    rows are encoded, and one text of them all is made page by page. Lone surrogates, which have no
    place in UTF-8, are replaced.
    """
    parts, size = list[bytes](), 0
    for part in _json_parts(value, _COMPACT):
        parts.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def json_digest(value: Mapping[str, Any]) -> str:
    """The SHA-256 of `json.dumps(value, sort_keys=True)`, made in steps too."""
    digest = hashlib.sha256()
    for part in _json_parts(value, _SORTED):
        digest.update(part)
    return digest.hexdigest()


_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_SORTED = json.JSONEncoder(sort_keys=True)


def _json_parts(value: object, encoder: json.JSONEncoder) -> Iterator[bytes]:
    """What holds nothing but texts and numbers is one part."""
    if isinstance(value, Mapping) and any(
        isinstance(item, (dict, list)) for item in value.values()
    ):
        separator = "{"
        for key, item in sorted(value.items()) if encoder.sort_keys else value.items():
            yield _utf8(separator + encoder.encode({key: 0})[1:-2])
            yield from _json_parts(item, encoder)
            separator = encoder.item_separator
        yield b"}"
    elif isinstance(value, list) and value:
        separator = "["
        for item in value:
            yield _utf8(separator)
            yield from _json_parts(item, encoder)
            separator = encoder.item_separator
        yield b"]"
    else:
        yield _utf8(encoder.encode(value))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """`text` without lone surrogates, cut to `limit` characters where it is longer."""
    if isinstance(text, CutText) and len(text.kept) <= limit:
        return text
    text = str.__str__(text)  # the text itself, whatever a subclass makes of it
    kept = text[:limit].encode("utf-8", "replace").decode("utf-8")
    return CutText(kept, len(text) - limit) if len(text) > limit else kept


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a number that JSON has."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def is_count(name: str) -> bool:
    """Whether numbers of this name on the wire count something: they are whole."""
    return _COUNT.fullmatch(name) is not None


def wire_number(wire: str, value: float) -> float:
    """A number as the wire has it under this name."""
    return round(value) if is_count(wire) else value


def camel(name: str) -> str:
    """A Python name as the wire has it."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


class _Copy:
    def __init__(self) -> None:
        self._parents: set[int] = set()
        self._left = MAX_ITEMS
        self._text_left = MAX_ALL_TEXT

    def value(self, value: object, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH or id(value) in self._parents:
            return "..."
        try:
            return self._copy(value, depth)
        except KeyboardInterrupt:
            raise
        except BaseException:  # a `__str__` may raise anything
            return f"<{type(value).__name__}>"

    def _copy(self, value: object, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if abs(value) < 2**63 else str(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(float(value))
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{len(value)} bytes>"
        return self._container(value, depth)

    def _container(self, value: object, depth: int) -> Any:
        self._parents.add(id(value))
        try:
            if isinstance(value, Mapping):
                items = takewhile(self._has_room, value.items())
                return {self._key(key): self.value(item, depth + 1) for key, item in items}
            if isinstance(value, (list, tuple, Set)):
                return [self.value(item, depth + 1) for item in takewhile(self._has_room, value)]
            return self._text(str(value))
        finally:
            self._parents.discard(id(value))

    def _has_room(self, _: object) -> bool:
        return self._left > 0

    def _key(self, key: object) -> str:
        return self._text(key if isinstance(key, str) else str(key))

    def _text(self, text: str) -> str:
        kept = clean_text(text, max(0, min(MAX_TEXT, self._text_left)))
        self._text_left -= len(kept)
        return kept
