"""Requests as a careful client makes them."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.wire import CALL

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
