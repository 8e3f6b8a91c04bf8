"""Faults on each endpoint of a real service: accepted once, refused once, or given up in time."""

from __future__ import annotations

import logging
from functools import partial

import pytest

from local_roark import Fault, Faults
from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.limits import Deadline, Limits
from tests.support.deliveries import CALL, until
from tests.support.deliveries import Shipping as _Shipping
from tests.support.fake_roark import Roark

pytestmark = pytest.mark.invented  # events of the tests' own, not what a call ended with

LIMITS = Limits(chunk_bytes=1000)
Shipping = partial(_Shipping, limits=LIMITS)
ENDPOINTS = ["events", "chunk-upload-url", "uploads"]


async def ship(client: RoarkClient, chunks: int = 2) -> _Shipping:
    """A call of some chunks, from beginning to end."""
    shipping = Shipping(client)
    shipping.record(b"1234" * 250 * chunks)
    await shipping.finish()
    return shipping


def assert_each_arrived_once(roark: Roark) -> None:
    """Nothing is missing, and nothing was taken twice."""
    call = roark.call(CALL)
    taken = [
        entry.get("event") or entry["chunkIndex"]
        for entry in call["deliveries"]
        if entry["endpoint"] in ("events", "uploads")
        and entry["status"] == 200
        and not entry.get("duplicate")
    ]
    assert sorted(map(str, taken)) == ["0", "1", "call-ended", "call-started"]
    assert taken[0] == "call-started"
    assert taken[-1] == "call-ended"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 507, 522, 599])
async def test_an_error_that_passes_costs_one_more_try(
    client: RoarkClient, roark: Roark, faults: Faults, endpoint: str, status: int
) -> None:
    """Accepted exactly once, with the same key."""
    faults.add(f"{endpoint}:status={status},count=1")
    shipping = await ship(client)
    assert_each_arrived_once(roark)
    assert shipping.stats.retries == 1
    assert shipping.stats.attempts == 5
    assert len({seen.key for seen in roark.asked("call-started")}) == 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_several_errors_in_a_row_do_too(
    client: RoarkClient, roark: Roark, faults: Faults, endpoint: str
) -> None:
    """500, 502, 503, 504, then 200."""
    for status in (500, 502, 503, 504):
        faults.add(f"{endpoint}:status={status},count=1")
    shipping = await ship(client)
    assert_each_arrived_once(roark)
    assert shipping.stats.retries == 4


@pytest.mark.parametrize("jitter", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_the_waits_in_between_are_a_random_part_of_a_doubling(
    client: RoarkClient,
    roark: Roark,
    faults: Faults,
    endpoint: str,
    jitter: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Full jitter, on clock and dice of the test's own; accepted exactly once (fault 1)."""
    now, waited = 1000.0, []

    async def pause(self: Deadline, seconds: float) -> None:
        nonlocal now
        waited.append(seconds)
        now += seconds

    monkeypatch.setattr(Deadline, "pause", pause)
    for status in (500, 502, 503, 504):
        faults.add(f"{endpoint}:status={status},count=1")
    shipping = Shipping(client, clock=lambda: now, jitter=jitter)
    shipping.record(b"1234" * 250)
    await until(lambda: shipping.stats.chunks_sent == 1)
    await shipping.finish()
    assert waited == pytest.approx([jitter * ceiling for ceiling in (0.5, 1.0, 2.0, 4.0)])
    assert roark.accepted() == ["call-started", "chunk 0", "call-ended"]
    assert (shipping.stats.attempts, shipping.stats.retries) == (3 + 4, 4)


@pytest.mark.parametrize("kind", ["drop", "drop-answer"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_cut_connection_costs_one_more_try(
    client: RoarkClient, roark: Roark, faults: Faults, endpoint: str, kind: str
) -> None:
    """Also after the service has done its work: the key, or the index, tells it so."""
    faults.add(f"{endpoint}:{kind},count=1")
    shipping = await ship(client)
    call = roark.call(CALL)
    assert call["recording"]["missing"] == []
    assert call["started"] is not None
    assert call["ended"] is not None
    assert shipping.stats.retries == 1
    assert shipping.uploader.last_failure == "ConnectionDropped"


@pytest.mark.parametrize("event", [0, 1])
async def test_the_service_knows_a_repeated_event_by_its_key(
    client: RoarkClient, roark: Roark, faults: Faults, event: int
) -> None:
    """The answer to the first got lost."""
    faults.add(f"events:drop-answer,count=1,after={event}")
    await ship(client)
    events = [e for e in roark.call(CALL)["deliveries"] if e["endpoint"] == "events"]
    assert [e["duplicate"] for e in events].count(True) == 1
    assert len({e["idempotencyKey"] for e in events}) == 2


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_a_refused_event_is_not_sent_again(
    client: RoarkClient, roark: Roark, faults: Faults, status: int
) -> None:
    """It is counted, and the rest of the call goes."""
    faults.add(f"events:status={status},count=1")
    shipping = await ship(client)
    assert len(roark.asked("call-started")) == 1
    assert roark.accepted()[-1] == "call-ended"
    assert shipping.stats.dropped == {"refused": 1}
    assert shipping.stats.retries == 0
    assert shipping.stats.undelivered == ("call-started",)


@pytest.mark.parametrize("status", [400, 413, 422, 307])
@pytest.mark.parametrize("endpoint", ["chunk-upload-url", "uploads"])
async def test_a_refused_chunk_is_not_sent_again(
    client: RoarkClient, roark: Roark, faults: Faults, endpoint: str, status: int
) -> None:
    """It is known which one, and the others arrive."""
    faults.add(f"{endpoint}:status={status},count=1")
    shipping = await ship(client, chunks=3)
    assert len(shipping.lost) == 1
    assert len(roark.accepted("chunk")) == 2
    assert shipping.stats.dropped == {"refused": 1}
    assert shipping.stats.retries == 0
    assert roark.accepted()[-1] == "call-ended"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("endpoint", ["events", "chunk-upload-url"])
async def test_a_refused_key_stops_the_call_and_says_so_once(
    client: RoarkClient,
    roark: Roark,
    faults: Faults,
    caplog: pytest.LogCaptureFixture,
    endpoint: str,
    status: int,
) -> None:
    """Every further request would be in vain."""
    faults.add(f"{endpoint}:status={status}")
    shipping = await ship(client, chunks=5)
    refused = [seen for seen in roark.seen if seen.status == status]
    assert 1 <= len(refused) <= 3  # as many as were under way
    assert roark.asked("call-ended") == []
    assert roark.accepted("chunk") == []
    assert shipping.lost == [0, 1, 2, 3, 4]
    assert set(shipping.stats.dropped) == {"unauthorized"}
    assert shipping.stats.retries == 0
    warnings = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    refused_key = f"the API key was refused (status {status})"
    assert warnings == [f"roark: call {CALL}: {refused_key}; no more of it is sent"]


@pytest.mark.parametrize("status", [404, 405])
async def test_a_path_that_is_not_there_stops_the_call_and_is_said_once(
    client: RoarkClient,
    roark: Roark,
    faults: Faults,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """The base URL is wrong: host and path are said, and what to check (fault 35)."""
    faults.add(f"events:status={status}")
    shipping = await ship(client, chunks=5)
    assert [seen.what for seen in roark.seen] == ["call-started"]
    assert set(shipping.stats.dropped) == {"no_endpoint"}
    warnings = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert warnings == [
        f"roark: call {CALL}: the service has no such path: check base_url and ROARK_BASE_URL"
        f" (status {status} at localhost/v1/integrations/livekit-sdk); no more of it is sent"
    ]


async def test_after_a_refused_key_nothing_piles_up(
    client: RoarkClient, roark: Roark, faults: Faults
) -> None:
    """The call may go on for an hour: what cannot be sent is not kept."""
    faults.add("events:status=401")
    shipping = Shipping(client)
    for _ in range(20):
        shipping.record(b"1234" * 250)
        await until(lambda: shipping.outbox.waiting == 0)
    await shipping.finish()
    assert shipping.stats.dropped == {"unauthorized": 20 + 2}
    assert len(roark.seen) == 1


async def test_an_unknown_key_is_the_services_word(
    roark: Roark, caplog: pytest.LogCaptureFixture
) -> None:
    """The real refusal of the stand-in: a key that it does not know."""
    client = RoarkClient("rk_other_replace_me", base_url="http://localhost", transport=roark)
    shipping = await ship(client)
    assert [seen.status for seen in roark.seen] == [403]
    assert shipping.stats.events_sent == 0
    assert "rk_other" not in caplog.text
    await client.aclose()


async def test_an_expired_url_is_replaced(
    client: RoarkClient, roark: Roark, faults: Faults
) -> None:
    """A fresh one is asked for at once, and the chunk arrives."""
    faults.add("uploads:status=403,count=1")
    shipping = await ship(client, chunks=1)
    assert [seen.what for seen in roark.seen] == [
        "call-started",
        "url 0",
        "chunk 0",
        "url 0",
        "chunk 0",
        "call-ended",
    ]
    assert shipping.lost == []
    assert shipping.stats.retries == 1


async def test_urls_that_are_always_expired_are_not_asked_for_for_ever(
    client: RoarkClient, roark: Roark, faults: Faults
) -> None:
    """A few, then the chunk is given up and the key is not blamed (fault 9)."""
    faults.add("uploads:status=403")
    shipping = await ship(client, chunks=1)
    assert len(roark.asked("url 0")) == LIMITS.fresh_urls
    assert len(roark.asked("chunk 0")) == LIMITS.fresh_urls
    assert shipping.lost == [0]
    assert shipping.stats.dropped == {"expired": 1}
    assert roark.accepted()[-1] == "call-ended"
    assert shipping.stats.attempts == 2 + LIMITS.fresh_urls


@pytest.mark.parametrize("after", ["garbage", "-5", "", "Mon, 01 Jan 99999999999999 00:00:00 GMT"])
async def test_a_retry_after_that_says_nothing_is_passed_over(
    client: RoarkClient, roark: Roark, faults: Faults, after: str
) -> None:
    """The usual back-off is enough."""
    faults.add(Fault("events", "status", status=429, retry_after=after, count=1))
    await ship(client)
    assert_each_arrived_once(roark)
