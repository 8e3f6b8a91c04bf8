"""livekit's metrics → records, pure: of one request, of voice activity in sum, usage by model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from .._call.records import MetricRecord, Record, UsageRecord
from .._serialize import camel, is_number, json_safe, wire_number

Values = dict[str, Any]

VAD = "vad_metrics"
_METRIC_KINDS = {
    "eou_metrics": "eou",
    "stt_metrics": "stt",
    "llm_metrics": "llm",
    "realtime_model_metrics": "llm",
    "tts_metrics": "tts",
}
_RENAMED = {  # the others are livekit's in camel case
    "on_user_turn_completed_delay": "onConversationItemAddedDelay",
    "input_tokens": "promptTokens",
    "output_tokens": "completionTokens",
    "prompt_cached_tokens": "cachedTokens",
}
_TOKENS = frozenset({"promptTokens", "completionTokens", "totalTokens", "cachedTokens"})
_FIELDS_OF_KIND = {
    "eou": frozenset({"endOfUtteranceDelay", "transcriptionDelay", "onConversationItemAddedDelay"}),
    "stt": frozenset({"duration", "audioDuration", "streamed"}),
    "llm": _TOKENS | {"ttft", "duration", "tokensPerSecond"},
    "tts": frozenset({"ttfb", "duration", "audioDuration", "streamed"}),
}
_NEVER_NEGATIVE = _TOKENS | {"ttft", "ttfb"}  # some plugins give -1 for none


def request_records(metric: Any, monotonic: Callable[[float | None], float]) -> list[Record]:
    """The metrics of one request to a model; none of voice activity, which `VadSummary` sums up."""
    values = _dump(metric)
    livekit_type = type_of(metric, values)
    if livekit_type == VAD:
        return []
    kind: Any = _METRIC_KINDS.get(livekit_type, "agent")
    at = monotonic(values.pop("timestamp", None))
    values.pop("type", None)
    fields, extra = _split(values, _FIELDS_OF_KIND.get(kind, frozenset()))
    if kind == "agent":
        extra = {"type": livekit_type, **extra}
    return [_metric_record(kind, at, fields, extra)]


def _metric_record(kind: Any, at: float, fields: Values, extra: Values) -> MetricRecord:
    fields, extra = json_safe(fields), json_safe(extra)
    return {"type": "metric", "kind": kind, "at": at, "fields": fields, "extra": extra}


def _split(values: Values, of_kind: frozenset[str]) -> tuple[Values, Values]:
    """The numbers that the wire has fields for, and all the rest."""
    fields: Values = {}
    extra: Values = {}
    for name, value in values.items():
        wire = _RENAMED.get(name) or camel(name)
        if value is None or (wire in _NEVER_NEGATIVE and is_number(value) and value < 0):
            continue
        if wire in of_kind and is_number(value):
            fields[wire] = bool(value) if wire == "streamed" else wire_number(wire, value)
        else:
            extra[camel(name)] = value
    details = values.get("input_token_details")  # of realtime models
    if isinstance(details, dict) and is_number(cached := details.get("cached_tokens")):
        fields["cachedTokens"] = max(0, wire_number("cachedTokens", cached))
    return fields, extra


def type_of(metric: Any, values: Values | None = None) -> str:
    """The type of a metrics object, in livekit's words."""
    named = (values or {}).get("type") or getattr(metric, "type", None)
    return str(named or snake(type(metric).__name__))


class VadSummary:
    """Sums up what each voice activity detector reports every second, to one record a call."""

    def __init__(self) -> None:
        self._sums: dict[str, Values] = {}

    def add(self, metric: Any) -> None:
        label = str(getattr(metric, "label", ""))
        none = {"reports": 0, "inferenceCount": 0, "inferenceDurationTotal": 0.0}
        row = self._sums.setdefault(label, {**none, "longestIdleTime": 0.0})
        row["reports"] += 1
        row["inferenceCount"] += getattr(metric, "inference_count", 0)
        row["inferenceDurationTotal"] += getattr(metric, "inference_duration_total", 0.0)
        row["longestIdleTime"] = max(row["longestIdleTime"], getattr(metric, "idle_time", 0.0))
        metadata = getattr(metric, "metadata", None)
        if metadata is not None:
            row["metadata"] = _dump(metadata)

    def records(self, at: float) -> list[Record]:
        """One record a detector, with the sums so far."""
        return [
            _metric_record("agent", at, {}, {"type": VAD, "label": label, **row})
            for label, row in self._sums.items()
        ]


def usage_records(models: Iterable[Any], at: float) -> list[Record]:
    """What the session has counted of each model (1.5), without zeros."""
    rows = [_usage_row(_dump(model)) for model in models]
    record: UsageRecord = {"type": "usage", "models": json_safe(rows), "at": at}
    return [record] if rows else []


def _usage_row(values: Values) -> Values:
    kind = str(values.pop("type", "")).removesuffix("_usage")
    named = {name: values.pop(name, "") or "" for name in ("provider", "model")}
    counts = {
        camel(name): wire_number(camel(name), value)
        for name, value in values.items()
        if is_number(value) and value > 0
    }
    return {"kind": kind, **{name: str(value) for name, value in named.items()}, **counts}


def _dump(metric: Any) -> Values:
    if hasattr(metric, "model_dump"):
        return dict(metric.model_dump())
    return dict(vars(metric))


def snake(name: str) -> str:
    """A class's name as livekit writes it in ids."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
