"""A call-ended event without what differs from run to run, and the golden one it must equal.

`ROARK_GOLDEN=write` writes the golden files anew: with the newest livekit-agents, which tells
most. What an older one cannot tell is taken away from both, by the list in `LACKING`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.support import livekit_features as has

FOLDER = Path(__file__).parents[1] / "livekit" / "golden"

Event = dict[str, Any]

MASKED = {
    "timestamp": "TIME",
    "endTimestamp": "TIME",
    "eventTimestamp": "TIME",
    "callStartedAt": "TIME",
    "callEndedAt": "TIME",
    "audioOffsetMs": "MS",
    "endAudioOffsetMs": "MS",
    "durationMs": "MS",
    "sha256": "DIGEST",
    "byteCount": "BYTES",
    "chunkCount": "COUNT",
    "sdk": "VERSIONS",
    "attempts": "COUNT",
    "retries": "COUNT",
    "audioDuration": "SECONDS",
}
SPOKEN_WORDS = 3  # of an interrupted turn: how far it came differs


def normalized(event: Event) -> Event:
    """What of an event is the same in every run, in the same order."""
    event = _masked(event)
    event["livekitCallId"] = "CALL"
    ids: dict[str, str] = {}
    # once a turn is cut, whether livekit still measures a voice's first byte is up to the version
    is_cut = any(turn.get("interrupted") for turn in event["transcript"])
    latencies = TURN_LATENCIES - ({"ttsNodeTtfb"} if is_cut else set())
    for number, turn in enumerate(event["transcript"], 1):
        if "id" in turn:
            ids[turn["id"]] = turn["id"] = f"turn {number}"
        if turn.get("interrupted"):
            turn["content"] = " ".join(turn["content"].split()[:SPOKEN_WORDS]) + " ..."
        if "metrics" in turn:
            turn["metrics"] = sorted(set(turn["metrics"]) & latencies)
            if not turn["metrics"]:
                del turn["metrics"]
    event["metrics"] = _distinct(_metric(row) for row in event["metrics"])
    event["usage"] = _distinct(_usage(row) for row in event["usage"])
    if "error" in event:  # older ones write an APIError's fields behind its message
        event["error"]["message"] = event["error"]["message"].partition(" (")[0]
    for row in event["events"]:
        row.pop("source", None)
        row.pop("message", None)
    for row in event["toolCalls"]:
        row["toolCallId"] = re.sub(r"^(call_\d+).*", r"\1", row["toolCallId"])
    return event


TURN_LATENCIES = {
    "endOfTurnDelay",
    "transcriptionDelay",
    "llmNodeTtft",
    "ttsNodeTtfb",
    "e2eLatency",
}


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
    for name in ("inputTokenDetails", "outputTokenDetails", "speechId"):
        if extra.get(name) and row["kind"] != "eou":  # newer ones come with the message
            kept["has"].append(name)
    return kept


def _usage(row: Event) -> Event:
    return {"kind": row["kind"], "has": sorted(set(row) - {"kind", "provider", "model"})}


def _distinct(rows: Any) -> list[Event]:
    return sorted(
        (json.loads(row) for row in {json.dumps(row, sort_keys=True) for row in rows}),
        key=json.dumps,
    )


def _without(*names: str, of: str) -> Callable[[Event], None]:
    def strip(event: Event) -> None:
        for row in event[of]:
            for name in names:
                row.pop(name, None)

    return strip


def _without_key(*names: str) -> Callable[[Event], None]:
    def strip(event: Event) -> None:
        for name in names:
            event.pop(name, None)

    return strip


def _without_some_delays(event: Event) -> None:
    for row in event["metrics"]:
        row["has"] = [name for name in row["has"] if name != "onConversationItemAddedDelay"]


# (whether it is told, what is taken away where it is not)
LACKING: list[tuple[bool, Callable[[Event], None]]] = [
    (has.CLOSE_REASON, _without_key("callEndedReason", "endedBy")),
    (has.LANGUAGE, _without("language", of="transcript")),
    (has.CONFIDENCE, _without("confidence", of="transcript")),
    (has.MESSAGE_METRICS, _without("metrics", of="transcript")),
    (has.ALL_DELAYS, _without_some_delays),
    (has.TOOL_TIMES, _without("message", of="toolCalls")),
    (has.USAGE, _without_key("usage")),
]


def told(event: Event) -> Event:
    """An event without what this livekit-agents cannot tell."""
    event = json.loads(json.dumps(event))
    for is_told, strip in LACKING:
        if not is_told:
            strip(event)
    return event


def check(name: str, event: Event) -> None:
    """Compares a call-ended event with its golden one, or writes it."""
    path = FOLDER / f"{name}.json"
    actual = normalized(event)
    if os.environ.get("ROARK_GOLDEN") == "write":
        path.write_text(json.dumps(actual, indent=2, ensure_ascii=False) + "\n")
    expected, seen = told(json.loads(path.read_text())), told(actual)
    assert seen == expected, "\n".join(_difference(expected, seen))


def _difference(expected: Event, seen: Event) -> Iterable[str]:
    """What a reader of a failing run wants to see: the lines that differ, and those around."""
    lines = [
        json.dumps(event, indent=2, ensure_ascii=False).splitlines() for event in (expected, seen)
    ]
    return difflib.unified_diff(*lines, "golden", "seen", lineterm="", n=6)
