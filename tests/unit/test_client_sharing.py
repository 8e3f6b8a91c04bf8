"""One `RoarkClient` in several event loops: connections belong to the loop that made them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit.client import PresignedUpload, _Pools

KEY = "rk_live_replace_me"


class Watched(RoarkClient):
    """Notes which pools were made, and on which loop."""

    def __init__(self) -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(200))
        super().__init__(KEY, base_url="https://roark.test", transport=transport)
        self.made: list[tuple[asyncio.AbstractEventLoop, _Pools]] = []

    def _make_pools(self) -> _Pools:
        pools = super()._make_pools()
        self.made.append((asyncio.get_running_loop(), pools))
        return pools


async def use(client: RoarkClient) -> None:
    """An event and an upload."""
    await client.post_event({}, idempotency_key="once")
    await client.upload(PresignedUpload("https://storage.test/1", "audio/pcm"), b"1", size=1)


def test_two_loops_in_two_threads_share_no_pool() -> None:
    """Both use the client at the same time; closing it in one leaves the other's open."""
    client = Watched()
    together = threading.Barrier(2, timeout=10)
    first_closed = threading.Event()

    async def job(first: bool) -> bool:
        for _ in range(20):
            together.wait()
            await use(client)
        together.wait()
        if not first:
            assert first_closed.wait(10)
        await use(client) if not first else await client.aclose()
        first_closed.set()
        loop = asyncio.get_running_loop()
        (mine,) = [pools for owner, pools in client.made if owner is loop]
        closed = mine.roark.is_closed and mine.uploads.is_closed
        await client.aclose()
        return closed

    with ThreadPoolExecutor(2) as threads:
        closed = list(threads.map(lambda first: asyncio.run(job(first)), [True, False]))
    assert len(client.made) == 2
    assert client.made[0][1] is not client.made[1][1]
    assert closed == [True, False]


async def test_pools_are_made_on_first_use_and_kept() -> None:
    """Building one takes a TLS context: not in the constructor, and not for each request."""
    client = Watched()
    assert client.made == []
    await use(client)
    await use(client)
    assert len(client.made) == 1


async def test_the_pool_for_uploads_has_no_credentials() -> None:
    """It could not send the key if it wanted to."""
    client = Watched()
    await use(client)
    pools = client.made[0][1]
    assert KEY in str(pools.roark.headers.raw)
    assert KEY not in str(pools.uploads.headers.raw)


async def test_closing_twice_does_nothing() -> None:
    """Nor does closing what was never used."""
    client = Watched()
    await client.aclose()
    await use(client)
    await client.aclose()
    await client.aclose()
    assert client.made[0][1].roark.is_closed


async def test_a_closed_client_can_be_used_again() -> None:
    """Another call in the same process may hold it: it just makes new connections."""
    client = Watched()
    async with client:
        await use(client)
    await use(client)
    assert len(client.made) == 2
    await client.aclose()


def test_a_loop_that_is_gone_takes_its_pools_along() -> None:
    """A worker that runs job after job keeps nothing of them."""
    client = Watched()
    for _ in range(3):
        asyncio.run(use(client))
    client.made.clear()
    assert len(client._pools) == 0
