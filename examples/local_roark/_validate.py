"""Is it what the wire's contract says? `wire.schema.json` is the contract; this asks it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from ._errors import RefusedError
from ._records import JsonObject
from ._times import parse_time

_SCHEMA: JsonObject = json.loads(Path(__file__).with_name("wire.schema.json").read_text("utf-8"))
_EVENTS = ("call-started", "call-ended")

_formats = FormatChecker(formats=())


@_formats.checks("date-time", raises=ValueError)
def _is_utc(value: object) -> bool:
    if not isinstance(value, str):
        return True
    time = parse_time(value)
    return time is not None and time.utcoffset() == timedelta(0)


def _is_integer(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# JSON Schema counts 1.0 as an integer; a strict receiver does not.
_Strict = extend(  # type: ignore[no-untyped-call]  # jsonschema's stubs leave it without types
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def parse_object(body: bytes) -> JsonObject:
    """Reads a request's body.

    Raises:
        RefusedError: 400 for what is not one JSON object in UTF-8; NaN, Infinity and half a
            surrogate pair are not JSON.
    """
    try:
        value = json.loads(body.decode(), parse_constant=_not_json)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusedError(400, "the body is not a JSON object")
    return value


def validate_event(event: JsonObject) -> None:
    """Checks a call-started or call-ended event.

    Raises:
        RefusedError: 400, naming the first field that is not as the contract says.
    """
    kind = event.get("event")
    if kind not in _EVENTS:
        raise RefusedError(400, f"must be one of {', '.join(_EVENTS)}", "event")
    _check(event, kind)
    _check_results_have_calls(event.get("toolCalls", []))


def validate_upload_request(request: JsonObject) -> None:
    """Checks a request for a presigned URL.

    Raises:
        RefusedError: 400, naming the first field that is not as the contract says.
    """
    _check(request, "chunk-upload-url")


def _check(value: JsonObject, definition: str) -> None:
    schema = {**_SCHEMA["$defs"][definition], "$defs": _SCHEMA["$defs"]}
    error = next(_Strict(schema, format_checker=_formats).iter_errors(value), None)
    if error is not None:
        raise RefusedError(400, _message(error), _field(error))


def _check_results_have_calls(rows: list[JsonObject]) -> None:
    called = {row["toolCallId"] for row in rows if row["kind"] == "tool_call"}
    for index, row in enumerate(rows):
        if row["toolCallId"] not in called:
            message = "a tool_result without its tool_call"
            raise RefusedError(400, message, f"toolCalls[{index}].toolCallId")


def _message(error: ValidationError) -> str:
    match error.validator:
        case "required":
            return "is required"
        case "additionalProperties" if error.validator_value is False:
            return "is not in the contract"
        case "format":
            return "must be an ISO 8601 time in UTC"
    # Not the value itself: it may be long, and it may be what a caller said.
    return f"must be {_expectation(error)}"


def _expectation(error: ValidationError) -> str:
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            return " or ".join(wanted) if isinstance(wanted, list) else f"of type {wanted}"
        case "enum":
            return "one of " + ", ".join(map(str, wanted))
        case "minLength":
            return "a string that is not empty"
        case "minimum":
            return f"{wanted} or more"
        case "maximum":
            return f"{wanted} or less"
    return f"as the contract says ({error.validator}: {wanted})"


def _field(error: ValidationError) -> str:
    return json_path([*error.absolute_path, *_culprit(error)])


def _culprit(error: ValidationError) -> list[str]:
    """The key that a `required` or `additionalProperties` error is about."""
    wanted: Any = error.validator_value
    row: Any = error.instance
    schema: Any = error.schema
    if error.validator == "required":
        return [name for name in wanted if name not in row][:1]
    if error.validator == "additionalProperties" and wanted is False:
        return sorted(set(row) - set(schema["properties"]))[:1]
    return []


def json_path(parts: Iterable[str | int]) -> str:
    """A path as people write it.

    Example:
        >>> json_path(["transcript", 2, "audioOffsetMs"])
        'transcript[2].audioOffsetMs'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".")


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
