"""Answers that nobody should send, on real sockets: one error that is expected, and no more."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._http import Timeouts
from roark_analytics_python_livekit.client import PresignedUpload, RequestError
from tests.faults.faulty_server import Exchange, Gate, answer, http_answer
from tests.support.simulated_call import KEY

pytestmark = pytest.mark.faults

MEBIBYTE = 1024 * 1024

Request = Callable[[RoarkClient], Awaitable[object]]


async def post(client: RoarkClient) -> None:
    """An event."""
    await client.post_event({"event": "call-started"}, idempotency_key="once")


async def ask(client: RoarkClient) -> None:
    """A presigned URL."""
    await client.create_upload("RM_1", 0, "audio/pcm")


async def put(client: RoarkClient) -> None:
    """A chunk."""
    upload = PresignedUpload(f"{client.base_url}/uploads/0", "audio/pcm")
    await client.upload(upload, b"pcm", size=3)


@pytest.fixture
def gate(loopback: None) -> Iterator[Gate]:
    """A gate with nothing behind it: each request is answered by a rule."""
    with Gate("http://127.0.0.1:9") as gate:
        yield gate


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 999999 Huh\r\n\r\n",
        b"HTTP/1.1 -1 Huh\r\n\r\n",
        b"HTTP/9.9 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffffffffff\r\n{}",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 2 * MEBIBYTE + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000 + b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
    ids=lambda data: repr(data[:60]),
)
@pytest.mark.parametrize("request_", [post, ask, put])
async def test_an_answer_that_is_no_http_is_an_error_that_is_expected(
    gate: Gate, data: bytes, request_: Request
) -> None:
    """It says nothing secret, and the client goes on (fault 10)."""
    gate.rules += [("*", answer(data), 1), ("*", answer(http_answer(200, b"{}")), 1)]
    async with RoarkClient(KEY, base_url=gate.url) as client:
        client._timeouts = Timeouts(total=10.0)
        try:
            await request_(client)
        except RequestError as error:
            assert error.outcome in (Outcome.LATER, Outcome.REFUSED)
            assert gate.url not in str(error)
        with contextlib.suppress(RequestError):  # on a connection that seemed to be kept open
            await post(client)
        if len(gate.arrived) == 1:
            await post(client)
    assert len(gate.arrived) == 2


class Flood:
    """Sends 64 MiB, and counts what the client takes of them.

    Args:
        head: The answer's status line and headers.
    """

    def __init__(self, head: str) -> None:
        self.sent = 0
        self.over = threading.Event()
        self._head = head

    def __call__(self, exchange: Exchange) -> None:
        """Answers one request."""
        exchange.read_body()
        with contextlib.suppress(OSError):
            exchange.send(f"HTTP/1.1 {self._head}\r\n\r\n".encode())
            while self.sent < 64 * MEBIBYTE:
                self.sent += exchange.connection.send(b"a" * 65_536)
        self.over.set()


@pytest.mark.parametrize("status", ["200 OK", "503 Busy"])
@pytest.mark.parametrize("framing", ["content-length: 67108864", "connection: close"])
@pytest.mark.parametrize("request_", [post, ask, put])
async def test_a_flood_is_left_alone(
    gate: Gate, status: str, framing: str, request_: Request
) -> None:
    """No more is taken than 64 KiB and what the sockets hold, on each endpoint (fault 10)."""
    flood = Flood(f"{status}\r\n{framing}")
    gate.rules.append(("*", flood, 1))
    async with RoarkClient(KEY, base_url=gate.url) as client:
        with contextlib.suppress(RequestError):
            await request_(client)
    assert flood.over.wait(20)
    assert flood.sent < 16 * MEBIBYTE


@pytest.mark.parametrize("request_", [post, put])
async def test_a_compressed_bomb_is_not_inflated(gate: Gate, request_: Request) -> None:
    """Nobody asked for an encoding: what comes is taken as it is, a broken one too (fault 10)."""
    for bomb in (gzip.compress(bytes(32 * MEBIBYTE)), b"\x1f\x8b\x08\x00 no gzip"):
        gate.rules.append(("*", answer(http_answer(200, bomb, "content-encoding: gzip")), 1))
    async with RoarkClient(KEY, base_url=gate.url) as client:
        for _ in range(2):
            with contextlib.suppress(RequestError):  # as an answer to an event it is no JSON
                await request_(client)
    assert {one.headers["accept-encoding"] for one in gate.arrived} == {"identity"}
