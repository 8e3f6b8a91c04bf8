"""One `RoarkClient` in several event loops: connections belong to the loop that made them."""

from __future__ import annotations

import asyncio
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from roark_analytics_python_livekit import RoarkClient, _connections
from roark_analytics_python_livekit._connections import Pools, Route
from roark_analytics_python_livekit._http import Request
from roark_analytics_python_livekit._process import SharedObjects
from roark_analytics_python_livekit.client import PresignedUpload

KEY = "rk_live_replace_me"


class Watched(RoarkClient):
    """Notes which pools were made, and on which loop."""

    def __init__(self) -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(200))
        transport.aclose = self._close  # type: ignore[method-assign]
        super().__init__(KEY, base_url="https://roark.test", transport=transport)
        self.closed = 0  # transports: one for requests with the key, one for uploads
        self.made: list[tuple[asyncio.AbstractEventLoop, Pools]] = []

    def _route(self, request: Request, *, with_key: bool) -> Route:
        route = super()._route(request, with_key=with_key)
        loop = asyncio.get_running_loop()
        if all(self._pools[loop] is not pools for _, pools in self.made):
            self.made.append((loop, self._pools[loop]))
        return route

    async def _close(self) -> None:
        self.closed += 1


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
        closed = not mine.made
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


async def test_closing_twice_does_nothing() -> None:
    """Nor does closing what was never used."""
    client = Watched()
    await client.aclose()
    await use(client)
    pools = client.made[0][1]
    assert len(pools.made) == 2
    await client.aclose()
    await client.aclose()
    assert (pools.made, client.closed) == ({}, 2)


async def test_the_last_of_several_users_closes() -> None:
    """Calls on one loop share the connections: one that ends leaves the others'."""
    client = Watched()
    async with client:
        async with client:
            await use(client)
        assert client.closed == 0
        await use(client)
        assert len(client.made) == 1
    assert client.closed == 2


class Contexts:
    """Counts TLS contexts: those that load certificates, and all.

    Args:
        monkeypatch: Puts itself in the way.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded = self.default = 0
        create, default = httpx.create_ssl_context, ssl.create_default_context

        def count_create(*args: Any, **options: Any) -> ssl.SSLContext:
            self.loaded += 1
            return create(*args, **options)

        def count_default(*args: Any, **options: Any) -> ssl.SSLContext:
            self.default += 1
            return default(*args, **options)

        monkeypatch.setattr(httpx, "create_ssl_context", count_create)
        monkeypatch.setattr(ssl, "create_default_context", count_default)
        monkeypatch.setattr(_connections, "shared", SharedObjects())


def connections(base_url: str) -> list[httpx.AsyncBaseTransport]:
    """Of one client: Roark's, and those for uploads."""
    client, request = RoarkClient(KEY, base_url=base_url), Request("POST", base_url)
    return [client._route(request, with_key=with_key).transport for with_key in (True, False)]


async def test_a_process_has_one_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making one takes 20 ms; trust in certificates is nothing that must not mix."""
    contexts = Contexts(monkeypatch)
    made = [pool for _ in range(5) for pool in connections("https://roark.test")]
    assert (contexts.loaded, contexts.default) == (1, 1)
    assert len(set(made)) == 10


async def test_plain_http_needs_no_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything on loopback: no certificate is read."""
    contexts = Contexts(monkeypatch)
    connections("http://127.0.0.1:8787")
    assert (contexts.loaded, contexts.default) == (0, 0)


def test_no_connection_goes_unchecked() -> None:
    """Not even if https came to where only plain http should."""
    for context in (_connections._trust(), _connections._trust_nobody()):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
    assert _connections._trust_nobody().cert_store_stats()["x509_ca"] == 0


async def test_other_certificates_are_loaded_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The environment names a file of its own."""
    contexts = Contexts(monkeypatch)
    connections("https://roark.test")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    connections("https://roark.test")
    assert contexts.loaded == 2


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
