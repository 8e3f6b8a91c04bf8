"""Events as the wire has them, what local Roark says of any, and requests of a careful client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from local_roark._errors import RefusedError
from local_roark._validate import parse_object, validate_event
from roark_analytics_python_livekit._serialize import json_pieces

CALL = "RM_test"
AT = "2025-11-24T08:19:03.412Z"
LATER = "2025-11-24T08:19:05.412Z"


def refusal(event: Mapping[str, Any]) -> str | None:
    """Why the service would not take an event; None where it would."""
    try:
        validate_event(parse_object(b"".join(json_pieces(event))))
    except RefusedError as error:
        return f"{event.get('event')}: {error.field} {error.message}"
    return None


def received(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as the service reads it; fails the test where it would be refused."""
    if why := refusal(event):
        pytest.fail(f"the service would refuse this: {why}")
    return parse_object(b"".join(json_pieces(event)))


def started(**changes: Any) -> dict[str, Any]:
    event = {
        "event": "call-started",
        "livekitCallId": CALL,
        "eventTimestamp": AT,
        "agentId": "front-desk",
        "agentName": "Front desk",
        "isTest": False,
    }
    return event | changes


def ended(**changes: Any) -> dict[str, Any]:
    """A call-ended event with one turn a side, a tool call, and all that is additive."""
    event = {
        "event": "call-ended",
        "livekitCallId": CALL,
        "eventTimestamp": LATER,
        "callStartedAt": AT,
        "callEndedAt": LATER,
        "callEndedReason": "participant_disconnected",
        "agentSpokeFirst": True,
        "recordingSampleRate": 8000,
        "recordingNumChannels": 2,
        "transcript": [
            turn("assistant", "How can I help?", 0, interrupted=True),
            turn("user", "Where is my bike?", 700, metrics={"end_of_turn_delay": 0.42}),
        ],
        "toolCalls": [tool_call(), tool_result()],
        "metrics": [
            {"kind": "llm", "timestamp": AT, "audioOffsetMs": 0, "ttft": 0.31, "extra": {}}
        ],
        "endedBy": "user",
        "usage": [{"provider": "a", "model": "b", "promptTokens": 12}],
        "handoffs": [{"toAgentId": "delivery", "timestamp": AT, "audioOffsetMs": 900}],
        "recording": {
            "status": "complete",
            "chunkCount": 2,
            "byteCount": 64,
            "durationMs": 2,
            "sha256": "0" * 64,
            "gaps": [],
            "pauses": [{"startMs": 0, "endMs": 1}],
        },
        "delivery": {"attempts": 4, "retries": 1, "dropped": {"full": 1}, "recovered": False},
        "metadata": {"tenant": "northwind"},
        "sdk": {"name": "roark-analytics-python-livekit", "version": "0.2.0", "python": "3.11"},
        "agents": [{"id": "front-desk", "instructions": "Be kind.", "tools": ["lookup_order"]}],
        "participant": {"identity": "caller", "kind": "sip", "attributes": {"a": "b"}},
        "dtmf": [{"digit": "7", "timestamp": AT, "audioOffsetMs": 950}],
    }
    return event | changes


def turn(role: str, content: str, offset: int, **more: Any) -> dict[str, Any]:
    row = {"role": role, "content": content, "timestamp": AT, "audioOffsetMs": offset}
    return row | {"endTimestamp": LATER, "endAudioOffsetMs": offset + 500} | more


def tool_call(**changes: Any) -> dict[str, Any]:
    row = {"kind": "tool_call", "toolCallId": "call_1", "timestamp": AT, "audioOffsetMs": 600}
    return row | {"name": "lookup_order", "arguments": '{"order": "NW-4471"}'} | changes


def tool_result(**changes: Any) -> dict[str, Any]:
    """The same tool's result."""
    row = {"kind": "tool_result", "toolCallId": "call_1", "timestamp": AT, "audioOffsetMs": 650}
    return row | {"content": "shipped", "isError": False, "durationMs": 50} | changes


EVENTS = "/v1/integrations/livekit-sdk"
UPLOAD_URL = f"{EVENTS}/chunk-upload-url"
KEY = {"x-roark-api-key": "key", "authorization": "Bearer key"}
FIRST_CHUNK = b"\1\0" * 16


async def send(
    client: httpx.AsyncClient, event: dict[str, Any], key: str | None = None
) -> httpx.Response:
    idempotency = {"idempotency-key": key} if key else {}
    return await client.post(EVENTS, json=event, headers=KEY | idempotency)


async def presign(
    client: httpx.AsyncClient, index: int = 0, content_type: str = "audio/pcm", call: str = CALL
) -> str:
    request = {"livekitCallId": call, "chunkIndex": index, "contentType": content_type}
    answer = await client.post(UPLOAD_URL, json=request, headers=KEY)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["uploadUrl"])


async def put(
    client: httpx.AsyncClient, url: str, data: bytes, content_type: str = "audio/pcm", **more: str
) -> httpx.Response:
    """Uploads to a presigned URL, with the one header that was signed."""
    return await client.put(url, content=data, headers={"content-type": content_type} | more)


async def upload(
    client: httpx.AsyncClient, index: int, data: bytes, content_type: str = "audio/pcm"
) -> None:
    url = await presign(client, index, content_type)
    answer = await put(client, url, data, content_type)
    assert answer.status_code == 200, answer.text


async def call_json(client: httpx.AsyncClient, call: str = CALL) -> dict[str, Any]:
    answer = await client.get(f"/calls/{call}/call.json")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
