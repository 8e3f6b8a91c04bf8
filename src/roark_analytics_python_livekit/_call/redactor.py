"""The one place where the caller's privacy is kept: what of a journal's entry is redacted."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .._config import SettingsError
from .._serialize import MAX_TEXT, clean_text, json_safe, shortened, what_was_cut
from ..redaction import PHONE
from .payloads import ENDED_BY

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
IDS = frozenset(  # of a telephone call: LiveKit's SIP attributes that are no number of anybody
    """
    sip.callID sip.callIDFull sip.ruleID sip.trunkID sip.twilio.accountSid sip.twilio.callSid
    """.split()
)
HALVED = 256  # characters at the end of a text that was cut: what is halved there is no longer
MAX_DEPTH = 40  # deeper than `json_safe` leaves anything

Redact = Callable[[str], str]
IsName = Callable[[str], bool]


def check_redact(redact: object) -> None:
    """Refuses what cannot redact, so that nothing goes out as it is.

    Raises:
        SettingsError: With a message that is fit for a log.
    """
    if redact is not None and (not callable(redact) or inspect.iscoroutinefunction(redact)):
        raise SettingsError("redact must be a plain function of a text, or None")


class Redactor:
    """Applies `redact` to whatever of an entry may be private, and counts where it failed.

    Args:
        redact: Gives a text back without what nobody should see. Where it raises, or gives no
            text, a marker stands in the text's place.
    """

    def __init__(self, redact: Redact) -> None:
        self.failures = 0
        self._redact = redact
        self._parts: dict[str, Callable[[dict[str, Any]], None]] = {
            "call": self._call,
            "metadata": lambda entry: self._values(entry, "values"),
            "turn": lambda entry: self._texts(entry, "text"),
            "heard": lambda entry: self._texts(entry, "text", "speaker"),
            "tool_call": lambda entry: self._json(entry, "arguments", is_name=_is_parameter),
            "tool_result": lambda entry: self._json(entry, "content"),
            "tool_update": lambda entry: self._json(entry, "content"),
            "tool_ended": lambda entry: self._json(entry, "content"),
            "metric": self._metric,
            "error": lambda entry: self._texts(entry, "message"),
            "agent": lambda entry: self._texts(entry, "instructions"),
            "participant": self._participant,
            "dtmf": lambda entry: entry.update(digit=MASKED_KEY),
            "end": self._end,
        }

    def concerns(self, entry: Mapping[str, Any]) -> bool:
        """Whether there can be anything private in an entry."""
        kind = entry.get("type")
        return bool(_unknown(entry)) if kind == "metric" else kind in self._parts

    def entry(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """A redacted copy of an entry."""
        copy = dict(entry)
        part = self._parts.get(str(entry.get("type")))
        if part is not None:
            part(copy)
        return copy

    def withheld(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with the marker in the place of everything that should have been redacted."""
        return _Blank(self).entry(entry)

    def text(self, text: str) -> str:
        """One redacted text.

        Of one that was cut, the end is left out once it is redacted: `redact` cannot recognize
        what is only half there.
        """
        whole, missing = what_was_cut(text)
        try:
            redacted = self._redact(whole)
        except BaseException:  # on its own thread it ends nothing by that
            redacted = None
        if isinstance(redacted, str):
            if missing:
                redacted = shortened(str.__str__(redacted), HALVED, missing)
            return clean_text(redacted, 2 * MAX_TEXT)
        if inspect.iscoroutine(redacted):
            redacted.close()
        self.failures += 1
        return FAILED

    def value(self, value: object, depth: int = 0, *, is_name: IsName = lambda key: False) -> Any:
        """A JSON value whose every text, number and key is redacted.

        Args:
            value: Plain JSON, as `json_safe` makes it.
            depth: How deep it lies.
            is_name: Tells which keys of an object are names that the agent's code has given.
        """
        if depth > MAX_DEPTH:
            return FAILED
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            written = str(value)
            redacted = self.text(written)
            return value if redacted == written else redacted
        if isinstance(value, dict):
            return {
                key if is_name(key) else self.text(key): self.value(item, depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        return value

    # The fields

    def _texts(self, entry: dict[str, Any], *names: str) -> None:
        for name in names:
            if isinstance(entry.get(name), str):
                entry[name] = self.text(entry[name])

    def _callers(self, entry: dict[str, Any], *names: str) -> None:
        for name in names:
            if isinstance(entry.get(name), str):
                entry[name] = self._caller(entry[name])

    def _caller(self, text: str) -> str:
        """A name that LiveKit makes of a caller's number, without any number of such a length.

        It has no `+` where the trunk sends none: `redact` may not know it for one. Numbers that
        were not there before are those of `redact`, of a hash for example.
        """

        def masked(number: re.Match[str]) -> str:
            return PHONE if number.group() in text else number.group()

        return LONG_NUMBER.sub(masked, self.text(text))

    def _values(self, entry: dict[str, Any], name: str) -> None:
        entry[name] = self.value(json_safe(entry.get(name) or {}), is_name=lambda key: True)

    def _json(
        self, entry: dict[str, Any], name: str, *, is_name: IsName = lambda key: False
    ) -> None:
        """Text that may be JSON: inside its values, so that it stays JSON."""
        text = entry.get(name)
        if not isinstance(text, str):
            return
        value, is_all = _parsed(text)
        if isinstance(value, (dict, list)):
            redacted = self.value(value, is_name=is_name)
            unchanged = is_all and redacted == value
            entry[name] = text if unchanged else json.dumps(redacted, ensure_ascii=False)
        else:
            entry[name] = self.text(text)

    def _call(self, entry: dict[str, Any]) -> None:
        facts = entry["facts"] = dict(entry.get("facts") or {})
        self._texts(facts, "agent_prompt")
        job = facts["job"] = dict(facts.get("job") or {})
        self._callers(job, "participantIdentity", "roomName")
        self._values(entry, "metadata")

    def _participant(self, entry: dict[str, Any]) -> None:
        self._callers(entry, "identity", "name")
        entry["attributes"] = {
            name: self.value(value) if name in IDS else self._caller(str(value))
            for name, value in (entry.get("attributes") or {}).items()
        }

    def _metric(self, entry: dict[str, Any]) -> None:
        extra = {name: self.value(value) for name, value in _unknown(entry).items()}
        entry["extra"] = {**entry["extra"], **extra}

    def _end(self, entry: dict[str, Any]) -> None:
        if entry.get("reason") not in REASONS:
            self._texts(entry, "reason")
        if entry.get("error"):
            error = entry["error"] = dict(entry["error"])
            self._texts(error, "message")


def _parsed(text: str) -> tuple[Any, bool]:
    """The value of JSON text, or None; and whether it holds everything that the text does."""
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


def _is_parameter(key: str) -> bool:
    """Whether a key can be the name of a tool's parameter: the model writes it, and may err."""
    return key.isidentifier() and not LONG_NUMBER.search(key)


def _unknown(metric: Mapping[str, Any]) -> dict[str, Any]:
    """What a plugin's metrics have beside livekit's: nobody knows what it is."""
    extra = metric.get("extra") or {}
    return {name: value for name, value in extra.items() if name not in METRICS_OF_LIVEKIT}


class _Blank(Redactor):
    """Says of everything that its redaction failed, on behalf of another redactor."""

    def __init__(self, owner: Redactor) -> None:
        super().__init__(lambda text: FAILED)
        self._owner = owner

    def text(self, text: str) -> str:
        self._owner.failures += 1
        return FAILED
