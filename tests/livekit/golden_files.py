"""A call-ended event without what differs from run to run, and the golden one it must equal.

`ROARK_GOLDEN=write` writes the golden files anew: with the newest livekit-agents, which tells
most. What an older one cannot tell is taken away from both, by the list in `LACKING`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support import livekit_features as has

FOLDER = Path(__file__).parent / "golden"

Event = dict[str, Any]

MASKED = {
    **dict.fromkeys(["timestamp", "endTimestamp", "eventTimestamp"], "TIME"),
    **dict.fromkeys(["callStartedAt", "callEndedAt"], "TIME"),
    **dict.fromkeys(["audioOffsetMs", "endAudioOffsetMs", "durationMs"], "MS"),
    **dict.fromkeys(["chunkCount", "attempts", "retries"], "COUNT"),
    "sha256": "DIGEST",
    "byteCount": "BYTES",
    "sdk": "VERSIONS",
    "audioDuration": "SECONDS",
}
SPOKEN_WORDS = 3  # of an interrupted turn: how far it came differs
LATENCIES = {"endOfTurnDelay", "transcriptionDelay", "llmNodeTtft", "ttsNodeTtfb", "e2eLatency"}
DETAILS = ("inputTokenDetails", "outputTokenDetails", "speechId")


def normalized(event: Event) -> Event:
    """What of an event is the same in every run, in the same order."""
    event = _masked(event)
    event["livekitCallId"] = "CALL"
    # once a turn is cut, whether livekit still measures a voice's first byte is up to the version
    is_cut = any(turn.get("interrupted") for turn in event["transcript"])
    latencies = LATENCIES - ({"ttsNodeTtfb"} if is_cut else set())
    for number, turn in enumerate(event["transcript"], 1):
        if "id" in turn:
            turn["id"] = f"turn {number}"
        if turn.get("interrupted"):
            turn["content"] = " ".join(turn["content"].split()[:SPOKEN_WORDS]) + " ..."
        if measured := sorted(latencies & set(turn.pop("metrics", ()))):
            turn["metrics"] = measured
    event["metrics"] = _distinct(map(_metric, event["metrics"]))
    event["usage"] = _distinct(
        {"kind": row["kind"], "has": sorted(set(row) - {"kind", "provider", "model"})}
        for row in event["usage"]
    )
    if "error" in event:  # older ones write an APIError's fields behind its message
        event["error"]["message"] = event["error"]["message"].partition(" (")[0]
    for row in event["events"]:
        row.pop("source", None)
        row.pop("message", None)
    for row in event["toolCalls"]:
        row["toolCallId"] = re.sub(r"^(call_\d+).*", r"\1", row["toolCallId"])
    return event


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: MASKED.get(name, _masked(item)) for name, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value


def _metric(row: Event) -> Event:
    """A metric's kind, and the contract's numbers that it has."""
    extra = row.get("extra", {})
    kept: Event = {"kind": row["kind"], "has": sorted(set(row) - {"kind", "extra"})}
    if row["kind"] == "agent":
        kept["type"] = extra["type"]
    if row["kind"] != "eou":  # newer ones come with the message
        kept["has"] += [name for name in DETAILS if extra.get(name)]
    return kept


def _distinct(rows: Iterable[Event]) -> list[Event]:
    texts = {json.dumps(row, sort_keys=True) for row in rows}
    return sorted(map(json.loads, texts), key=json.dumps)


# (whether it is told, of which rows, what is taken away where it is not)
LACKING: list[tuple[bool, str | None, set[str]]] = [
    (has.CLOSE_REASON, None, {"callEndedReason", "endedBy"}),
    (has.LANGUAGE, "transcript", {"language"}),
    (has.CONFIDENCE, "transcript", {"confidence"}),
    (has.MESSAGE_METRICS, "transcript", {"metrics"}),
    (has.TOOL_TIMES, "toolCalls", {"message"}),
    (has.USAGE, None, {"usage"}),
]


def told(event: Event) -> Event:
    """An event without what this livekit-agents cannot tell."""
    event = json.loads(json.dumps(event))
    lacking = [(of, names) for is_told, of, names in LACKING if not is_told]
    for of, names in lacking:
        for row in event[of] if of else [event]:
            for name in names:
                row.pop(name, None)
    if not has.ALL_DELAYS:
        for row in event["metrics"]:
            row["has"] = [name for name in row["has"] if name != "onConversationItemAddedDelay"]
    return event


def seen_and_golden(name: str, event: Event) -> tuple[Event, Event]:
    """A call-ended event and its golden one, which is written anew where that is wanted."""
    path = FOLDER / f"{name}.json"
    actual = normalized(event)
    if os.environ.get("ROARK_GOLDEN") == "write":
        path.write_text(json.dumps(actual, indent=2, ensure_ascii=False) + "\n")
    return told(actual), told(json.loads(path.read_text()))
