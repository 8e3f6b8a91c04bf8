"""Presigned URLs, chunks, and the recording that is made of them."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.local_roark.conftest import Clock
from tests.support.wire import (
    CALL,
    KEY,
    UPLOAD_URL,
    call_json,
    ended,
    presign,
    put,
    send,
    started,
    upload,
)

FIRST, SECOND, THIRD = b"\1\0" * 16, b"\2\0" * 16, b"\3\0" * 16


def frames(path: Path) -> tuple[int, int, bytes]:
    """A WAV's rate, channels and samples."""
    with wave.open(str(path)) as wav:
        return wav.getframerate(), wav.getnchannels(), wav.readframes(wav.getnframes())


async def test_an_upload_url_is_answered_as_the_contract_says(client: httpx.AsyncClient) -> None:
    """Everything a client needs for its PUT is in it."""
    request = {"livekitCallId": CALL, "chunkIndex": 3, "contentType": "audio/pcm"}

    data = (await client.post(UPLOAD_URL, json=request, headers=KEY)).json()["data"]

    assert data.pop("uploadUrl").startswith("http://local/uploads/")
    assert data == {
        "s3Key": f"livekit/{CALL}/000003.pcm",
        "chunkIndex": 3,
        "expiresInSeconds": 300,
        "method": "PUT",
        "contentType": "audio/pcm",
    }


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("livekitCallId", {"livekitCallId": ""}),
        ("chunkIndex", {"chunkIndex": -1}),
        ("chunkIndex", {"chunkIndex": "0"}),
        ("chunkIndex", {"chunkIndex": True}),
        ("chunkIndex", {"chunkIndex": 1, "contentType": "audio/wav"}),
        ("contentType", {"contentType": "audio/mpeg"}),
        ("size", {"size": 3}),
    ],
)
async def test_a_refused_upload_request_names_the_field(
    client: httpx.AsyncClient, field: str, change: dict[str, Any]
) -> None:
    """As strict as for events."""
    request = {"livekitCallId": CALL, "chunkIndex": 0, "contentType": "audio/pcm"} | change

    answer = await client.post(UPLOAD_URL, json=request, headers=KEY)

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field


async def test_chunks_become_the_recording_in_the_order_of_their_index(
    client: httpx.AsyncClient, root: Path
) -> None:
    """They arrive in any order; the WAV header has what call-ended says."""
    await send(client, started())
    await upload(client, 1, SECOND)
    await upload(client, 0, FIRST)
    await send(client, ended())

    assert frames(root / CALL / "recording.wav") == (8000, 2, FIRST + SECOND)
    assert (await call_json(client))["recording"] == {
        "file": "recording.wav",
        "sampleRate": 8000,
        "channels": 2,
        "durationMs": 2,
        "bytes": 64,
        "contentType": "audio/pcm",
        "chunks": [0, 1],
        "missing": [],
        "problem": None,
    }


async def test_chunks_are_counted_while_the_call_is_going_on(client: httpx.AsyncClient) -> None:
    """There is no recording before call-ended, but there is a manifest."""
    await upload(client, 0, FIRST)
    await upload(client, 2, THIRD)

    recording = (await call_json(client))["recording"]

    assert (recording["file"], recording["chunks"], recording["missing"]) == (None, [0, 2], [1])


async def test_a_chunk_that_is_late_gets_its_place(client: httpx.AsyncClient, root: Path) -> None:
    """What came after call-ended is joined in, and the first join was as short as the service's."""
    await upload(client, 0, FIRST)
    await upload(client, 2, THIRD)
    await send(client, ended())
    assert frames(root / CALL / "recording.wav")[2] == FIRST + THIRD

    await upload(client, 1, SECOND)

    assert frames(root / CALL / "recording.wav")[2] == FIRST + SECOND + THIRD
    assert (await call_json(client))["recording"]["missing"] == []


async def test_a_chunk_sent_again_replaces_itself(client: httpx.AsyncClient, root: Path) -> None:
    """A client that never saw the answer sends the chunk through a fresh URL."""
    await upload(client, 0, FIRST)
    await upload(client, 0, SECOND)
    await send(client, ended())

    assert frames(root / CALL / "recording.wav")[2] == SECOND


async def test_announced_chunks_that_never_came_are_missing(client: httpx.AsyncClient) -> None:
    """call-ended knows how many there were."""
    await upload(client, 0, FIRST)
    await send(client, ended(recording={"status": "partial", "chunkCount": 3}))

    assert (await call_json(client))["recording"]["missing"] == [1, 2]


async def test_any_index_is_taken(client: httpx.AsyncClient) -> None:
    """The list of missing chunks stays short, whatever number a client says."""
    await upload(client, 10**15, FIRST)

    assert len((await call_json(client))["recording"]["missing"]) == 1000


async def test_chunks_of_an_unknown_format_are_kept(client: httpx.AsyncClient) -> None:
    """Without a rate there is no header to write, and that is said."""
    event = ended()
    del event["recordingSampleRate"]
    await upload(client, 0, FIRST)
    await send(client, event)

    recording = (await call_json(client))["recording"]

    assert recording["file"] is None
    assert "recordingSampleRate" in recording["problem"]


@pytest.mark.parametrize("wav_first", [True, False])
async def test_a_finished_wav_becomes_the_recording_as_it_is(
    client: httpx.AsyncClient, root: Path, wav_first: bool
) -> None:
    """Byte for byte, before or after call-ended."""
    data = finished_wav()
    if wav_first:
        await upload(client, 0, data, "audio/wav")
    await send(client, ended())
    if not wav_first:
        await upload(client, 0, data, "audio/wav")

    recording = (await call_json(client))["recording"]

    assert (root / CALL / "recording.wav").read_bytes() == data
    assert (recording["sampleRate"], recording["durationMs"]) == (16000, 1000)
    assert recording["chunks"] == [0]


async def test_a_wav_that_is_none_is_said_to_be_none(client: httpx.AsyncClient) -> None:
    """It is kept for a look at it."""
    await upload(client, 0, b"not a wav", "audio/wav")
    await send(client, ended())

    assert "not a PCM WAV" in (await call_json(client))["recording"]["problem"]


async def test_a_presigned_url_serves_one_put(client: httpx.AsyncClient) -> None:
    """The second is refused, and the chunk is still the first's."""
    url = await presign(client)

    answers = [await put(client, url, data) for data in (FIRST, SECOND)]

    assert [answer.status_code for answer in answers] == [200, 403]
    assert answers[1].json()["error"]["field"] == "nonce"


async def test_a_presigned_url_survives_a_put_that_failed(client: httpx.AsyncClient) -> None:
    """One successful PUT, not one attempt."""
    url = await presign(client)

    answers = [await put(client, url, data) for data in (b"", FIRST)]

    assert [answer.status_code for answer in answers] == [400, 200]


async def test_a_presigned_url_expires(client: httpx.AsyncClient, clock: Clock) -> None:
    """After its lifetime it is no better than a forged one, and the log has it."""
    url = await presign(client)
    clock.now += 300

    answer = await put(client, url, FIRST)

    assert answer.status_code == 403
    assert answer.json()["error"]["field"] == "expires"
    assert (await call_json(client))["deliveries"][-1]["status"] == 403


@pytest.mark.parametrize(
    ("signed", "forged"),
    [
        ("index=0", "index=1"),
        ("000000.pcm", "000001.pcm"),
        (f"call={CALL}", "call=RM_other"),
        ("expires=1", "expires=2"),
        ("type=audio%2Fpcm", "type=audio%2Fwav"),
        ("nonce=", "nonce=x"),
        ("signature=", "signature=%ED%A0%80"),
        ("&signature=", "&none="),
        ("index=0", "index=x"),
    ],
)
async def test_a_changed_url_is_refused(
    client: httpx.AsyncClient, root: Path, signed: str, forged: str
) -> None:
    """Every part of it is signed."""
    url = await presign(client)
    assert signed in url

    answer = await put(client, url.replace(signed, forged, 1), FIRST)

    assert answer.status_code == 403
    assert not (root / CALL / "chunks").exists()


async def test_the_content_type_must_be_the_one_signed(client: httpx.AsyncClient) -> None:
    """As at a storage server."""
    answer = await put(client, await presign(client), FIRST, "application/octet-stream")

    assert answer.status_code == 403
    assert answer.json()["error"]["field"] == "content-type"


@pytest.mark.parametrize("header", ["authorization", "x-roark-api-key", "cookie"])
async def test_credentials_are_refused_at_a_presigned_url(
    client: httpx.AsyncClient, header: str
) -> None:
    """The key has no business at a storage server."""
    answer = await put(client, await presign(client), FIRST, **{header: "key"})

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == header


async def test_a_client_that_goes_away_leaves_the_url_good(client: httpx.AsyncClient) -> None:
    """A connection that breaks within the body is no PUT."""
    url = await presign(client)

    async def torn() -> AsyncIterator[bytes]:
        yield FIRST[:3]
        raise httpx.WriteError("the connection broke")

    with pytest.raises(httpx.WriteError):
        await client.put(url, content=torn(), headers={"content-type": "audio/pcm"})

    assert (await put(client, url, FIRST)).status_code == 200


async def test_many_clients_at_once_lose_nothing(client: httpx.AsyncClient, root: Path) -> None:
    """Chunks side by side, with an event in between, all find their way into call.json."""
    chunks = [bytes([index, 0]) * 16 for index in range(24)]
    uploads = [upload(client, index, chunk) for index, chunk in enumerate(chunks)]

    await asyncio.gather(*uploads[:12], send(client, ended()), *uploads[12:])

    record = await call_json(client)
    assert record["recording"]["chunks"] == list(range(24))
    assert len(record["deliveries"]) == 49
    assert frames(root / CALL / "recording.wav")[2] == b"".join(chunks)


async def test_a_strange_call_id_can_upload(client: httpx.AsyncClient, root: Path) -> None:
    """The URL carries any id there and back."""
    url = await presign(client, call="../a b/ü?&#")

    answer = await put(client, url, FIRST)

    assert answer.status_code == 200
    assert [path.parent for path in root.glob("*/chunks")] == list(root.iterdir())


def finished_wav() -> bytes:
    """One second of stereo silence at 16 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(16000)
        wav.writeframes(bytes(64000))
    return file.getvalue()
