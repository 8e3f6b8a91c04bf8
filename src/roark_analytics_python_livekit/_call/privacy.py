"""The one place that says what of a record is private; pure, `redact` is applied elsewhere."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from .._config import SettingsError
from .._serialize import JsonText, json_safe
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
Rule = Callable[[Any, Redact], Any]
"""A field's value → what may be kept of it."""


def check_redact(redact: object) -> None:
    """Refuses with a `SettingsError` what cannot redact, so that nothing goes out as it is."""
    if redact is not None and (not callable(redact) or inspect.iscoroutinefunction(redact)):
        raise SettingsError("redact must be a plain function of a text, or None")


def is_private(record: Mapping[str, Any]) -> bool:
    """Whether there can be anything private in a record."""
    kind = str(record.get("type"))
    return bool(_unknown(record.get("extra")) if kind == "metric" else RULES.get(kind))


def redacted(record: Mapping[str, Any], redact: Redact) -> Record:
    """A copy of a record in which `redact` was applied to every private text, number and key."""
    return cast(Record, _fields(RULES.get(str(record.get("type")), {}))(record, redact))


def _fields(rules: Mapping[str, Rule]) -> Rule:
    """The rule of an object that has a rule for each of these fields, where it has them."""

    def rule(fields: Mapping[str, Any] | None, redact: Redact) -> dict[str, Any]:
        return {
            name: rules[name](value, redact) if name in rules else value
            for name, value in (fields or {}).items()
        }

    return rule


def _value(
    value: object, redact: Redact, depth: int = 0, *, is_name: Callable[[str], bool] | None = None
) -> Any:
    """Plain JSON, whose every text, number and key is redacted but for keys that are names."""
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


def _text(text: Any, redact: Redact) -> Any:
    return redact(text) if isinstance(text, str) else text


def _caller(text: Any, redact: Redact) -> Any:
    """A name that LiveKit makes of a caller's number, without any number of such a length.

    It has no `+` where the trunk sends none, so that `redact` may not know it for a number. Numbers
    that were not there before are those of `redact`, of a hash for example.
    """

    from ..redaction import PHONE  # only now: its patterns take 6 ms to compile

    def masked(number: re.Match[str]) -> str:
        return PHONE if number.group() in text else number.group()

    return LONG_NUMBER.sub(masked, redact(text)) if isinstance(text, str) else _value(text, redact)


def _attributes(attributes: Mapping[str, Any] | None, redact: Redact) -> dict[str, Any]:
    return {
        name: _value(value, redact) if name in IDS else _caller(value, redact)
        for name, value in (attributes or {}).items()
    }


def _json(text: Any, redact: Redact, *, is_name: Callable[[str], bool] | None = None) -> Any:
    """Text that may be JSON: it is redacted inside its values, so that it stays JSON."""
    value, is_all = _parsed(text) if isinstance(text, str) else (None, False)
    if not isinstance(value, (dict, list)):
        return _text(text, redact)
    after = _value(value, redact, is_name=is_name)
    return text if is_all and after == value else json.dumps(after, ensure_ascii=False)


def _is_parameter(key: str) -> bool:
    """Whether a key can be the name of a tool's parameter: the model writes it, and may err."""
    return key.isidentifier() and not LONG_NUMBER.search(key)


def _metadata(values: Any, redact: Redact) -> Any:
    return _value(json_safe(values or {}), redact, is_name=lambda key: True)


def _extra(values: Mapping[str, Any] | None, redact: Redact) -> dict[str, Any]:
    unknown = {name: _value(value, redact) for name, value in _unknown(values).items()}
    return {**(values or {}), **unknown}


def _unknown(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a plugin's metrics have beside livekit's: nobody knows what it is."""
    return {name: each for name, each in (extra or {}).items() if name not in METRICS_OF_LIVEKIT}


def _key(digit: Any, redact: Redact) -> str:
    return MASKED_KEY


def _reason(reason: Any, redact: Redact) -> Any:
    return reason if reason in REASONS else _text(reason, redact)


JOB_RULE = _fields({"participantIdentity": _caller, "roomName": _caller})
RULES: Mapping[str, Mapping[str, Rule]] = {
    "call": {"facts": _fields({"agent_prompt": _text, "job": JOB_RULE}), "metadata": _metadata},
    "metadata": {"values": _metadata},
    "turn": {"text": _text},
    "heard": {"text": _text, "speaker": _text},
    "tool_call": {"arguments": partial(_json, is_name=_is_parameter)},
    "tool_result": {"content": _json},
    "tool_update": {"content": _json},
    "tool_ended": {"content": _json},
    "metric": {"extra": _extra},
    "error": {"message": _text},
    "agent": {"instructions": _text},
    "participant": {"identity": _caller, "name": _caller, "attributes": _attributes},
    "dtmf": {"digit": _key},
    "end": {"reason": _reason, "error": _fields({"message": _text})},
    # Nothing is private in these.
    **dict.fromkeys(
        (
            "state",
            "handoff",
            "note",
            "usage",
            "recording",
            "switch",
            "withheld",
            "sealed",
            "chunk",
            "gap",
            "sent",
        ),
        {},
    ),
    "ended_rows": {},  # made of records that are redacted already
    "ended": {},
}
"""For each type of record, what of it is private."""


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
