"""The one place that says what of a record is private; pure, `redact` is applied elsewhere."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from .._config import SettingsError
from .._serialize import JsonText, json_safe
from ..redaction import PHONE
from .payloads import ENDED_BY
from .records import Record

FAILED = "[redaction failed]"
MASKED_KEY = "*"  # a pressed key: alone it says nothing, and a card number comes key by key
METRICS_OF_LIVEKIT = frozenset(  # names, ids and numbers, beside those of the wire
    """
    type label metadata requestId speechId segmentId cancelled streamed acquireTime connectionReused
    inputTokens outputTokens totalTokens inputAudioTokens cacheCreationTokens reasoningTokens
    inputTokenDetails outputTokenDetails charactersCount sessionDuration ttft ttfb duration
    audioDuration reports inferenceCount inferenceDurationTotal idleTime longestIdleTime
    totalDuration predictionDuration detectionDelay numRequests numInterruptions numBackchannels
    playbackLatency sessionStartedTime
    """.split()
)
REASONS = {*ENDED_BY, "flushed", "session_closed"}  # that are not the words of anybody
LONG_NUMBER = re.compile(r"\d{7,}")  # as telephone numbers and those of cards are
IDS = frozenset(  # of a telephone call: SIP attributes that are no number of anybody
    """
    sip.callID sip.callIDFull sip.ruleID sip.trunkID sip.twilio.accountSid sip.twilio.callSid
    """.split()
)
MAX_DEPTH = 40  # deeper than `json_safe` leaves anything

Redact = Callable[[str], str]
Fields = dict[str, Any]
Rule = Callable[[Fields, Redact], None]
"""Replaces the private fields of a record's copy."""


def check_redact(redact: object) -> None:
    """Refuses what cannot redact, so that nothing goes out as it is.

    Raises:
        SettingsError: With a message that is fit for a log.
    """
    if redact is not None and (not callable(redact) or inspect.iscoroutinefunction(redact)):
        raise SettingsError("redact must be a plain function of a text, or None")


def is_private(record: Mapping[str, Any]) -> bool:
    """Whether there can be anything private in a record."""
    kind = record.get("type")
    return bool(_unknown(record)) if kind == "metric" else RULES.get(str(kind)) is not None


def redacted(record: Mapping[str, Any], redact: Redact) -> Record:
    """A copy of a record in which `redact` was applied to every private text, number and key."""
    copy = dict(record)
    rule = RULES.get(str(record.get("type")))
    if rule is not None:
        rule(copy, redact)
    return cast(Record, copy)


def _value(
    value: object, redact: Redact, depth: int = 0, *, is_name: Callable[[str], bool] | None = None
) -> Any:
    """A JSON value whose every text, number and key is redacted.

    Args:
        value: Plain JSON, as `json_safe` makes it.
        redact: Redacts one text.
        depth: How deep it lies.
        is_name: Tells which keys of an object are names that the agent's code has given.
    """
    if depth > MAX_DEPTH:
        return FAILED
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        written = str(value)
        after = redact(written)
        return value if after == written else after
    if isinstance(value, dict):
        return {
            key if is_name is not None and is_name(key) else redact(key): _value(
                item, redact, depth + 1
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_value(item, redact, depth + 1) for item in value]
    return value


def _texts(*names: str) -> Rule:
    def rule(fields: Fields, redact: Redact) -> None:
        for name in names:
            if isinstance(fields.get(name), str):
                fields[name] = redact(fields[name])

    return rule


def _callers(fields: Fields, redact: Redact, *names: str) -> None:
    for name in names:
        if isinstance(fields.get(name), str):
            fields[name] = _caller(fields[name], redact)


def _caller(text: str, redact: Redact) -> str:
    """A name that LiveKit makes of a caller's number, without any number of such a length.

    It has no `+` where the trunk sends none, so that `redact` may not know it for a number. Numbers
    that were not there before are those of `redact`, of a hash for example.
    """

    def masked(number: re.Match[str]) -> str:
        return PHONE if number.group() in text else number.group()

    return LONG_NUMBER.sub(masked, redact(text))


def _json(name: str, *, is_name: Callable[[str], bool] | None = None) -> Rule:
    """Text that may be JSON: it is redacted inside its values, so that it stays JSON."""

    def rule(fields: Fields, redact: Redact) -> None:
        text = fields.get(name)
        if not isinstance(text, str):
            return
        value, is_all = _parsed(text)
        if isinstance(value, (dict, list)):
            after = _value(value, redact, is_name=is_name)
            unchanged = is_all and after == value
            fields[name] = text if unchanged else json.dumps(after, ensure_ascii=False)
        else:
            fields[name] = redact(text)

    return rule


def _call(fields: Fields, redact: Redact) -> None:
    facts = fields["facts"] = dict(fields.get("facts") or {})
    _texts("agent_prompt")(facts, redact)
    job = facts["job"] = dict(facts.get("job") or {})
    _callers(job, redact, "participantIdentity", "roomName")
    _metadata("metadata")(fields, redact)


def _metadata(name: str) -> Rule:
    def rule(fields: Fields, redact: Redact) -> None:
        values = json_safe(fields.get(name) or {})
        fields[name] = _value(values, redact, is_name=lambda key: True)

    return rule


def _participant(fields: Fields, redact: Redact) -> None:
    _callers(fields, redact, "identity", "name")
    fields["attributes"] = {
        name: _value(value, redact) if name in IDS else _caller(value, redact)
        for name, value in (fields.get("attributes") or {}).items()
    }


def _metric(fields: Fields, redact: Redact) -> None:
    extra = {name: _value(value, redact) for name, value in _unknown(fields).items()}
    fields["extra"] = {**fields["extra"], **extra}


def _dtmf(fields: Fields, redact: Redact) -> None:
    fields["digit"] = MASKED_KEY


def _end(fields: Fields, redact: Redact) -> None:
    if fields.get("reason") not in REASONS:
        _texts("reason")(fields, redact)
    if fields.get("error"):
        error = fields["error"] = dict(fields["error"])
        _texts("message")(error, redact)


def _is_parameter(key: str) -> bool:
    """Whether a key can be the name of a tool's parameter: the model writes it, and may err."""
    return key.isidentifier() and not LONG_NUMBER.search(key)


RULES: Mapping[str, Rule | None] = {
    "call": _call,
    "metadata": _metadata("values"),
    "turn": _texts("text"),
    "heard": _texts("text", "speaker"),
    "tool_call": _json("arguments", is_name=_is_parameter),
    "tool_result": _json("content"),
    "tool_update": _json("content"),
    "tool_ended": _json("content"),
    "metric": _metric,
    "error": _texts("message"),
    "agent": _texts("instructions"),
    "participant": _participant,
    "dtmf": _dtmf,
    "end": _end,
    "state": None,
    "handoff": None,
    "note": None,
    "usage": None,
    "recording": None,
    "switch": None,
    "chunk": None,
    "gap": None,
    "sent": None,
    "ended": None,  # it is made of records that are redacted already
}
"""For each type of record, what of it is private; None where nothing is."""


def _parsed(text: str) -> tuple[Any, bool]:
    """The value of JSON text, or None; and whether it holds everything that the text does."""
    if isinstance(text, JsonText):
        return text.value, True
    lost: list[object] = []

    def to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        lost.extend(pairs[len(value) :])  # of two equal keys the last one counts
        return value

    def to_float(written: str) -> float:
        lost.extend(written[16:])  # 15 digits and a point are kept to the letter
        return float(written)

    try:
        value = json.loads(text, object_pairs_hook=to_object, parse_float=to_float)
    except (ValueError, RecursionError):
        return None, False
    return value, not lost


def _unknown(metric: Mapping[str, Any]) -> dict[str, Any]:
    """What a plugin's metrics have beside livekit's: nobody knows what it is."""
    extra = metric.get("extra") or {}
    return {name: value for name, value in extra.items() if name not in METRICS_OF_LIVEKIT}
