"""The shape of a call on disk: `call.json`."""

from __future__ import annotations

from typing import Any, TypeAlias, TypedDict

JsonObject: TypeAlias = dict[str, Any]


class Delivery(TypedDict, total=False):
    """One request that came for a call, taken or not."""

    endpoint: str
    status: int
    at: str
    event: str
    idempotencyKey: str
    duplicate: bool
    chunkIndex: int
    bytes: int
    error: str
    field: str


class AudioFacts(TypedDict):
    """What a recording's file holds; all None or 0 while there is none."""

    file: str | None
    sampleRate: int | None
    channels: int | None
    durationMs: int | None
    bytes: int


class Recording(AudioFacts):
    """What there is of the call's audio, and which chunks it is made of."""

    contentType: str | None
    chunks: list[int]
    missing: list[int]
    problem: str | None


class CallRecord(TypedDict):
    """One call: its two events as they came, its recording, and every request about it."""

    livekitCallId: str
    startedMissing: bool
    started: JsonObject | None
    ended: JsonObject | None
    recording: Recording
    deliveries: list[Delivery]


def new_record(call_id: str) -> CallRecord:
    """A call of which nothing is known yet but its id."""
    return CallRecord(
        livekitCallId=call_id,
        startedMissing=False,
        started=None,
        ended=None,
        recording=no_recording(),
        deliveries=[],
    )


def no_recording() -> Recording:
    """The recording of a call that has no audio so far."""
    return Recording(
        file=None,
        sampleRate=None,
        channels=None,
        durationMs=None,
        bytes=0,
        contentType=None,
        chunks=[],
        missing=[],
        problem=None,
    )


def is_duplicate(record: CallRecord, event: str, key: str | None) -> bool:
    """Whether this event was taken before under the same idempotency key."""
    return event in _events_taken(record, key)


def is_reused_key(record: CallRecord, event: str, key: str | None) -> bool:
    """Whether the idempotency key stands for another event of the call already."""
    return bool(_events_taken(record, key) - {event})


def _events_taken(record: CallRecord, key: str | None) -> set[str]:
    return {
        delivery["event"]
        for delivery in record["deliveries"]
        if key and delivery.get("idempotencyKey") == key
        if delivery["endpoint"] == "events" and delivery["status"] == 200
    }
