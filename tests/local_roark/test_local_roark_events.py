"""Events: what is taken, what is refused, and what is said about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_roark import create_app
from tests.support.wire import (
    AT,
    CALL,
    EVENTS,
    KEY,
    UPLOAD_URL,
    call_json,
    ended,
    send,
    started,
    tool_call,
    tool_result,
    turn,
)


async def test_a_call_is_kept_as_it_was_sent(client: httpx.AsyncClient, root: Path) -> None:
    """Both events stand in call.json word for word, whatever additive keys they have."""
    assert (await send(client, started())).status_code == 200
    assert (await send(client, ended())).status_code == 200

    record = json.loads((root / CALL / "call.json").read_text())

    assert record["started"] == started()
    assert record["ended"] == ended()
    assert record["startedMissing"] is False


async def test_a_call_is_on_disk_while_it_is_going_on(
    client: httpx.AsyncClient, root: Path
) -> None:
    """call.json does not wait for call-ended."""
    await send(client, started())

    record = await call_json(client)

    assert record["ended"] is None
    assert [path.name for path in (root / CALL).iterdir()] == ["call.json"]


async def test_a_call_that_nobody_announced_is_marked(client: httpx.AsyncClient) -> None:
    """call-started may be lost; when it comes after all, the mark goes."""
    await send(client, ended())
    assert (await call_json(client))["startedMissing"] is True

    await send(client, started())
    assert (await call_json(client))["startedMissing"] is False


async def test_a_later_call_ended_replaces_the_first(client: httpx.AsyncClient) -> None:
    """A call whose end was recovered from disk is told to its end."""
    await send(client, ended(callEndedReason="lost"), "one")
    await send(client, ended(callEndedReason="recovered"), "two")

    assert (await call_json(client))["ended"]["callEndedReason"] == "recovered"


async def test_the_same_key_again_changes_nothing(client: httpx.AsyncClient) -> None:
    """A retry is answered like the first, and counted as a duplicate."""
    first = await send(client, ended(), "key-1")
    again = await send(client, ended(callEndedReason="other"), "key-1")

    record = await call_json(client)

    assert [first.json()["data"]["duplicate"], again.json()["data"]["duplicate"]] == [False, True]
    assert again.status_code == 200
    assert record["ended"]["callEndedReason"] == "participant_disconnected"
    assert [delivery["duplicate"] for delivery in record["deliveries"]] == [False, True]
    assert {delivery["idempotencyKey"] for delivery in record["deliveries"]} == {"key-1"}


async def test_a_duplicate_is_known_after_a_restart(client: httpx.AsyncClient, root: Path) -> None:
    """The keys are in call.json, not in memory."""
    await send(client, ended(), "key-1")

    transport = httpx.ASGITransport(create_app(root))
    async with httpx.AsyncClient(transport=transport, base_url="http://local") as restarted:
        answer = await send(restarted, ended(), "key-1")

    assert answer.json()["data"]["duplicate"] is True


async def test_a_key_is_for_one_event(client: httpx.AsyncClient) -> None:
    """One key for two events would lose the second; that is said."""
    await send(client, started(), "key-1")

    answer = await send(client, ended(), "key-1")

    assert answer.status_code == 409
    assert answer.json()["error"]["field"] == "idempotency-key"
    assert (await call_json(client))["deliveries"][-1]["status"] == 409


def without(event: dict[str, Any], key: str) -> dict[str, Any]:
    """An event that lacks a key."""
    return {name: value for name, value in event.items() if name != key}


MALFORMED = {
    "event": started(event="call-paused"),
    "livekitCallId": started(livekitCallId=""),
    "agentId": without(started(), "agentId"),
    "isTest": started(isTest="false"),
    "eventTimestamp": started(eventTimestamp="2025-11-24T09:19:03+01:00"),
    "jobId": started(jobId=None),
    "recordingUrl": ended(recordingUrl="https://example.com"),
    "callEndedReason": without(ended(), "callEndedReason"),
    "callEndedAt": ended(callEndedAt="yesterday"),
    "recordingSampleRate": ended(recordingSampleRate=0),
    "recordingNumChannels": ended(recordingNumChannels=3),
    "transcript": ended(transcript={}),
    "transcript[0].role": ended(transcript=[turn("agent", "Hi", 0)]),
    "transcript[1].audioOffsetMs": ended(
        transcript=[turn("user", "Hi", 0), turn("user", "Hi", 0, audioOffsetMs=1.0)]
    ),
    "transcript[0].audioOffsetMs": ended(transcript=[turn("user", "Hi", -1)]),
    "transcript[0].speaker": ended(transcript=[turn("user", "Hi", 0, speaker="A")]),
    "toolCalls[0].kind": ended(toolCalls=[tool_call(kind="call")]),
    "toolCalls[0].arguments": ended(toolCalls=[tool_call(arguments={"a": 1})]),
    "toolCalls[1].content": ended(toolCalls=[tool_call(), tool_result(content=7)]),
    "toolCalls[1].toolCallId": ended(toolCalls=[tool_call(), tool_result(toolCallId="call_2")]),
    "metrics[0].kind": ended(metrics=[{"kind": "vad", "timestamp": AT}]),
    "metrics[0].ttft": ended(metrics=[{"kind": "llm", "timestamp": AT, "ttft": "0.3"}]),
    "metrics[0].model": ended(metrics=[{"kind": "llm", "timestamp": AT, "model": "m"}]),
    "recording.status": ended(recording={"status": "done"}),
    "recording.gaps[0].endMs": ended(recording={"status": "partial", "gaps": [{"startMs": 1}]}),
    "delivery.dropped.full": ended(delivery={"dropped": {"full": "one"}}),
    "participant.attributes": ended(participant={"attributes": []}),
    "agents[0].id": ended(agents=[{"instructions": "Be kind."}]),
    "handoffs[0].toAgentId": ended(handoffs=[{"toAgentId": 3}]),
}


@pytest.mark.parametrize(("field", "event"), MALFORMED.items(), ids=list(MALFORMED))
async def test_a_refusal_names_the_field(
    client: httpx.AsyncClient, field: str, event: dict[str, Any]
) -> None:
    """The answer says where to look, as a JSON path."""
    answer = await send(client, event)

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"event": NaN}', b'{"event": "\\ud800"}', b"\xff", b"[" * 100_000],
    ids=["empty", "list", "torn", "nan", "half-surrogate", "not-utf-8", "deep"],
)
async def test_what_is_not_a_json_object_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    """Nothing of it is guessed at."""
    answer = await client.post(EVENTS, content=body, headers=KEY)

    assert answer.status_code == 400


async def test_a_refused_event_is_in_the_log_and_changes_nothing(
    client: httpx.AsyncClient,
) -> None:
    """The page can show why a call is not complete."""
    await send(client, started())
    await send(client, ended(callEndedReason=""))

    record = await call_json(client)

    assert record["ended"] is None
    assert record["deliveries"][-1] | {"at": ""} == {
        "endpoint": "events",
        "status": 400,
        "at": "",
        "error": "must be a string that is not empty",
        "field": "callEndedReason",
    }


@pytest.mark.parametrize(
    ("headers", "status", "field"),
    [
        ({}, 401, "x-roark-api-key"),
        ({"authorization": "Bearer known"}, 401, "x-roark-api-key"),
        ({"x-roark-api-key": "known"}, 401, "authorization"),
        ({"x-roark-api-key": "known", "authorization": "Bearer other"}, 401, "authorization"),
        ({"x-roark-api-key": "other", "authorization": "Bearer other"}, 403, "x-roark-api-key"),
        ({"x-roark-api-key": "known", "authorization": "Bearer known"}, 400, ""),
    ],
    ids=["none", "half", "other-half", "two-keys", "unknown", "known"],
)
@pytest.mark.parametrize("path", [EVENTS, UPLOAD_URL])
async def test_a_key_must_be_known_and_stand_in_both_headers(
    root: Path, path: str, headers: dict[str, str], status: int, field: str
) -> None:
    """The key is looked at before the body, which is no JSON here."""
    transport = httpx.ASGITransport(create_app(root, api_keys=["known"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
        answer = await client.post(path, content=b"?", headers=headers)

    assert answer.status_code == status
    assert answer.json()["error"]["field"] == field


@pytest.mark.parametrize(
    "call", ["../../outside", "..", ".", "a/b", "/etc/x", "C:\\x", "\0", "x" * 900]
)
async def test_no_call_id_leads_out_of_the_directory(
    client: httpx.AsyncClient, root: Path, tmp_path: Path, call: str
) -> None:
    """Ids are whatever a client says they are."""
    assert (await send(client, started(livekitCallId=call))).status_code == 200

    folders = list(root.iterdir())

    assert [path.name for path in tmp_path.iterdir()] == ["calls"]
    assert len(folders) == 1 and (folders[0] / "call.json").is_file()
