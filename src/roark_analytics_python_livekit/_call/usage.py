"""Metric records, joined: what each model was used for, and a message's end-of-utterance delays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._serialize import is_number, wire_number
from .records import MetricRecord, TurnRecord

_EOU_OF_MESSAGE = {  # in a user message's metrics → on the wire
    "endOfTurnDelay": "endOfUtteranceDelay",
    "transcriptionDelay": "transcriptionDelay",
    "onUserTurnCompletedDelay": "onConversationItemAddedDelay",
}
_USAGE_OF_METRIC = {  # in a metrics row → in a usage row
    "llm": {
        "promptTokens": "inputTokens",
        "cachedTokens": "inputCachedTokens",
        "completionTokens": "outputTokens",
        "cacheCreationTokens": "inputCacheCreationTokens",
        "reasoningTokens": "outputReasoningTokens",
        "sessionDuration": "sessionDuration",
    },
    "tts": {
        "charactersCount": "charactersCount",
        "audioDuration": "audioDuration",
        "inputTokens": "inputTokens",
        "outputTokens": "outputTokens",
    },
    "stt": {
        "audioDuration": "audioDuration",
        "inputTokens": "inputTokens",
        "inputAudioTokens": "inputAudioTokens",
        "outputTokens": "outputTokens",
    },
}


def eou_of_message(turn: TurnRecord) -> MetricRecord | None:
    """The end-of-utterance metric that a user's message carries, if it does."""
    measured = turn.get("metrics", {})
    fields = {
        wire: measured[name]
        for name, wire in _EOU_OF_MESSAGE.items()
        if is_number(measured.get(name))
    }
    if not fields:
        return None
    return {"type": "metric", "kind": "eou", "at": turn["at"], "fields": fields, "extra": {}}


def usage_of_metrics(records: Iterable[MetricRecord]) -> list[dict[str, Any]]:
    """One row a model from the metrics of single requests, where the session has not counted."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for record in records:
        counted = _USAGE_OF_METRIC.get(record["kind"])
        if counted is None:
            continue
        values = {**record["extra"], **record["fields"]}
        metadata = values.get("metadata") or {}
        provider = str(metadata.get("model_provider") or "")
        model = str(metadata.get("model_name") or values.get("label") or "")
        row = rows.setdefault(
            (record["kind"], provider, model),
            {"kind": record["kind"], "provider": provider, "model": model},
        )
        for name, count in counted.items():
            value: Any = values.get(name)
            if is_number(value) and value > 0:
                row[count] = row.get(count, 0) + wire_number(count, value)
    return list(rows.values())
