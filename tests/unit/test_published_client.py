"""`RoarkClient` as 0.1.0 has it: each method answers, and none raises."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from roark_analytics_python_livekit import RoarkClient
from tests.support.fake_roark import BASE_URL, KEY, Roark

PAYLOAD = {"event": "call-started", "livekitCallId": "RM_1", "agentName": "canary"}
UPLOAD_URL = "https://storage.test/chunk?X-Signature=canary"

Method = Callable[[RoarkClient], Coroutine[Any, Any, object]]


async def started(client: RoarkClient) -> object:
    """`call-started`."""
    return await client.post_call_started(PAYLOAD)


async def ended(client: RoarkClient) -> object:
    """`call-ended`."""
    return await client.post_call_ended(PAYLOAD)


async def ask(client: RoarkClient) -> object:
    """A presigned URL."""
    return await client.request_chunk_upload_url(livekit_call_id="RM_1", chunk_index=3)


async def put(client: RoarkClient) -> object:
    """A chunk."""
    return await client.upload_chunk(upload_url=UPLOAD_URL, body=b"pcm")


each_method = pytest.mark.parametrize("method", [started, ended, ask, put])


def client_of(answer: httpx.Response | Exception) -> tuple[RoarkClient, list[httpx.Request]]:
    """A client whose every request is answered so, and its requests."""
    requests: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = httpx.MockTransport(handle)
    return RoarkClient(api_key=KEY, base_url="https://roark.test", transport=transport), requests


async def test_a_whole_call_is_told_by_the_published_methods(
    client: RoarkClient, roark: Roark
) -> None:
    """As a program for 0.1.0 does it, with nothing but what it answers."""
    about = {"livekitCallId": "RM_1", "agentId": "support", "isTest": False}
    at = "2025-11-24T08:19:03.000Z"
    opening = {"event": "call-started", "eventTimestamp": at, **about}
    closing = {
        **{"event": "call-ended", "eventTimestamp": at, "livekitCallId": "RM_1"},
        **{"callStartedAt": at, "callEndedAt": at, "callEndedReason": "done"},
        **{"recordingSampleRate": 24_000, "recordingNumChannels": 2},
    }
    assert await client.post_call_started(opening) is True
    answer = await client.request_chunk_upload_url(livekit_call_id="RM_1", chunk_index=0)
    assert answer is not None and answer["method"] == "PUT" and answer["chunkIndex"] == 0
    assert await client.upload_chunk(upload_url=answer["uploadUrl"], body=b"pcm!") is True
    assert await client.post_call_ended(closing) is True
    assert roark.recording("RM_1")[-4:] == b"pcm!"


async def test_the_same_event_has_the_same_key() -> None:
    """A program that tries again tells it once."""
    client, requests = client_of(httpx.Response(200))
    for payload in (PAYLOAD, PAYLOAD, {**PAYLOAD, "isTest": True}):
        assert await client.post_call_started(payload) is True
    keys = [request.headers["idempotency-key"] for request in requests]
    assert keys[0] == keys[1] != keys[2]


async def test_an_upload_url_comes_with_all_that_the_service_says() -> None:
    """Bare or wrapped; asked for with the call, the index and the content type."""
    said = {"uploadUrl": UPLOAD_URL, "s3Key": "k", "expiresInSeconds": 60}
    client, requests = client_of(httpx.Response(200, json={"data": said}))
    assert await ask(client) == said
    assert json.loads(requests[0].content)["contentType"] == "audio/pcm"


@each_method
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401),
        httpx.Response(403),
        httpx.Response(307, headers={"location": "https://evil.test"}),
        httpx.Response(422),
        httpx.Response(500),
        httpx.ConnectError("canary"),
        httpx.ReadTimeout("canary"),
        OSError("canary"),
        ValueError("canary"),
    ],
    ids=repr,
)
async def test_a_failure_is_an_answer_and_one_line(
    method: Method, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """False or None, tried once; nothing that was sent is in the log, nor where to."""
    client, requests = client_of(answer)
    assert await method(client) in (False, None)
    assert len(requests) == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("roark: ") and "failed: " in line and "canary" not in line


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"uploadUrl": "file:///etc"}'])
async def test_an_answer_without_a_url_is_none(body: bytes) -> None:
    """There is nowhere to put the chunk."""
    client, _ = client_of(httpx.Response(200, content=body))
    assert await ask(client) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.post_call_started(None),
        lambda client: client.post_call_started({"at": object()}),
        lambda client: client.post_call_ended({"at": float("nan")}),
        lambda client: client.request_chunk_upload_url(object(), 0),
        lambda client: client.upload_chunk("https://[::1", b""),
        lambda client: client.upload_chunk(None, b""),
        lambda client: client.upload_chunk(UPLOAD_URL, None),
    ],
)
async def test_what_cannot_be_sent_is_not_raised_either(
    call: Callable[[RoarkClient], Coroutine[Any, Any, object]], caplog: pytest.LogCaptureFixture
) -> None:
    """A program's mistake is a line in the log, as a failure is."""
    client, requests = client_of(httpx.Response(200))
    assert await call(client) in (False, None)
    assert requests == []
    assert len(caplog.records) == 1


@each_method
async def test_a_cancelled_program_is_cancelled(method: Method) -> None:
    """An answer is not worth more than its end."""

    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            task.cancel()
            await asyncio.Event().wait()
            raise AssertionError

    client = RoarkClient(KEY, base_url=BASE_URL, transport=Hanging())
    task = asyncio.ensure_future(method(client))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_succeeds_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Only what did not."""
    caplog.set_level(logging.DEBUG, "roark_analytics_python_livekit")
    client, _ = client_of(httpx.Response(200, json={"uploadUrl": UPLOAD_URL}))
    for method in (started, ended, put):
        assert await method(client) is True
    assert await ask(client) is not None
    assert [r for r in caplog.records if r.name == "roark_analytics_python_livekit"] == []
