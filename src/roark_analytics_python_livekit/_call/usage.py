"""Records of metrics → what a call-ended joins of them: usage by model, delays of a user's turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._serialize import is_number, wire_number
from .records import MetricRecord

_COUNTS = {  # of a metrics row → of a usage row
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

_MESSAGE_TO_EOU = {
    "endOfTurnDelay": "endOfUtteranceDelay",
    "transcriptionDelay": "transcriptionDelay",
    "onUserTurnCompletedDelay": "onConversationItemAddedDelay",
}


def usage_of_metrics(records: Iterable[MetricRecord]) -> list[dict[str, Any]]:
    """Usage rows from the metrics of single requests, for a session that does not count."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for record in records:
        counted = _COUNTS.get(record["kind"])
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
        for name, count in _counts(values, counted):
            row[count] = row.get(count, 0) + wire_number(count, values[name])
    return list(rows.values())


def _counts(values: dict[str, Any], counted: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (n, count) for n, count in counted.items() if is_number(values.get(n)) and values[n] > 0
    ]


def message_to_eou(metrics_of_message: dict[str, Any]) -> dict[str, Any]:
    """The end-of-utterance metric that a user message carries where livekit joins the two."""
    return {
        wire: metrics_of_message[name]
        for name, wire in _MESSAGE_TO_EOU.items()
        if is_number(metrics_of_message.get(name))
    }
