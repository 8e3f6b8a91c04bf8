"""Faults: how they are written, whom they hit, and what a client sees of them."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from local_roark import ConnectionDropped, Fault, Faults
from tests.support.wire import FIRST_CHUNK, call_json, ended, presign, put, send, started


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("events:status=503,count=2", Fault("events", "status", status=503, count=2)),
        ("events:status=429,retry-after=1", Fault("events", "status", 429, retry_after="1")),
        ("chunk-upload-url:delay=1.5", Fault("chunk-upload-url", "delay", seconds=1.5)),
        ("uploads:drop,count=1,after=2", Fault("uploads", "drop", count=1, after=2)),
        ("uploads: count=1, drop-answer", Fault("uploads", "drop-answer", count=1)),
        ("*:hang", Fault("*", "hang")),
    ],
)
def test_a_fault_is_read_as_it_is_written(spec: str, fault: Fault) -> None:
    """Options stand in any order."""
    assert Fault.parse(spec) == fault


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "'' is none of events, chunk-upload-url, uploads, *"),
        ("event:hang", "'event' is none of"),
        ("events", "'' is no kind and no option"),
        ("events:count=1", "it has none of status, delay, hang"),
        ("events:explode", "'explode' is no kind and no option"),
        ("events:hang=1", "'hang=1' is no kind and no option"),
        ("events:status=ok", "status takes a status from 200 to 599, not 'ok'"),
        ("events:status=99", "status takes a status from 200 to 599, not '99'"),
        ("events:delay=nan", "delay takes seconds, up to a day, not 'nan'"),
        ("events:hang,count=-1", "count takes a whole number, not '-1'"),
        ("events:hang,drop", "it has two answers for kind"),
        ("events:hang,retry-after=1", "retry-after goes with status only"),
    ],
)
def test_a_malformed_fault_says_what_is_wrong(spec: str, why: str) -> None:
    """The message has the fault as it was written, the reason, and an example."""
    with pytest.raises(ValueError) as caught:
        Fault.parse(spec)

    assert str(caught.value).startswith(f"fault {spec!r}: {why}")
    assert "'events:status=503,count=2'" in str(caught.value)


def test_a_fault_hits_as_often_as_it_says() -> None:
    """Some pass first, then some are hit, then all pass."""
    faults = Faults.parse("uploads:drop,after=2,count=1")

    hits = [faults.next("uploads") is not None for _ in range(5)]

    assert hits == [False, False, True, False, False]
    assert faults.hits == {"uploads": 1}


def test_faults_take_turns() -> None:
    """One fault takes a request; those behind it wait until it is done."""
    faults = Faults.parse("events:status=503,count=1", "*:hang,count=1", "events:drop")

    kinds = [fault.kind if (fault := faults.next("events")) else None for _ in range(3)]

    assert kinds == ["status", "hang", "drop"]


def test_faults_can_be_ended() -> None:
    """An outage is over when it is cleared."""
    faults = Faults.parse("*:drop")
    assert faults.next("events")

    faults.clear()

    assert faults.next("events") is None
    assert faults.hits == {"events": 1}


async def test_a_status_is_answered_with_its_retry_after(
    client: httpx.AsyncClient, faults: Faults
) -> None:
    """The request never reaches the service."""
    faults.add("events:status=429,retry-after=1,count=1")

    hit, passed = [await send(client, started()) for _ in range(2)]

    assert (hit.status_code, hit.headers["retry-after"]) == (429, "1")
    assert passed.status_code == 200
    assert len((await call_json(client))["deliveries"]) == 1


async def test_a_delay_is_followed_by_the_answer(client: httpx.AsyncClient, faults: Faults) -> None:
    """Late, but otherwise as ever."""
    faults.add("events:delay=0.05")
    start = time.monotonic()

    answer = await send(client, started())

    assert answer.status_code == 200
    assert time.monotonic() - start >= 0.05


async def test_a_hanging_request_is_never_answered(
    client: httpx.AsyncClient, faults: Faults
) -> None:
    """Until the client gives up."""
    faults.add("chunk-upload-url:hang,count=1")

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(presign(client), timeout=0.05)

    assert await presign(client)


async def test_a_dropped_request_looks_like_a_broken_connection(
    client: httpx.AsyncClient, faults: Faults
) -> None:
    """A client that retries httpx's transport errors retries this; nothing was done."""
    faults.add("uploads:drop,count=1")
    url = await presign(client)

    with pytest.raises(httpx.TransportError) as caught:
        await put(client, url, FIRST_CHUNK)

    assert isinstance(caught.value, ConnectionDropped)
    assert (await put(client, url, FIRST_CHUNK)).status_code == 200


async def test_a_dropped_answer_leaves_the_work_done(
    client: httpx.AsyncClient, faults: Faults
) -> None:
    """What an idempotency key is for: the retry finds that the event is there."""
    faults.add("events:drop-answer,count=1")

    with pytest.raises(httpx.ReadError):
        await send(client, ended(), "key-1")
    again = await send(client, ended(), "key-1")

    assert again.json()["data"]["duplicate"] is True


async def test_the_pages_always_work(client: httpx.AsyncClient, faults: Faults) -> None:
    """One can look at a call while the service is down."""
    await send(client, started())
    faults.add("*:status=500")

    assert (await send(client, ended())).status_code == 500
    assert (await client.get("/")).status_code == 200
    assert (await call_json(client))["ended"] is None
