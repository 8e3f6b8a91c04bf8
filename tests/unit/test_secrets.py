"""Promise 9: no key, no presigned URL and no signature in any log, repr, error or traceback."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import httpcore
import httpx
import pytest

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit.client import PresignedUpload, RequestError

KEY = "rk_canary_replace_me"
SIGNED = "https://storage.test/bucket/canary-chunk?X-Signature=canary-signature"

OK = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"]
MOVED = [
    b"HTTP/1.1 307 Temporary Redirect\r\nlocation: https://evil.test/canary\r\n"
    b"x-amz-canary: canary\r\ncontent-length: 0\r\n\r\n"
]
ERROR = [b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 6\r\n\r\ncanary"]
EXPIRED = [b"HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\ncanary"]
NONSENSE = [b"canary canary canary\r\n\r\n"]
ANSWER = b'{"uploadUrl": "http://canary.test/canary"}'
BAD_URL = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER]


class Wire(httpx.AsyncHTTPTransport):
    """httpx's real transport, down to the bytes, on a network that answers from a script."""

    def __init__(self, script: list[bytes]) -> None:
        super().__init__(verify=False)
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=httpcore.AsyncMockBackend(list(script))
        )


async def post(client: RoarkClient) -> None:
    """An event."""
    await client.post_event({"event": "call-started"}, idempotency_key="once")


async def ask(client: RoarkClient) -> None:
    """A presigned URL."""
    await client.create_upload("RM_1", 0, "audio/pcm")


async def put(client: RoarkClient) -> None:
    """A chunk."""
    await client.upload(PresignedUpload(SIGNED, "audio/pcm"), b"pcm", size=3)


def variables(error: BaseException) -> list[str]:
    """The local variables that a report of this error prints, without the tests' own."""
    assert error.__context__ is None
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    return [
        f"{frame.name}: {name} = {value}"
        for frame in report.stack
        if frame.filename != __file__
        for name, value in (frame.locals or {}).items()
    ]


@pytest.mark.parametrize("request_", [post, ask, put])
@pytest.mark.parametrize(
    "script", [OK, MOVED, ERROR, EXPIRED, NONSENSE, BAD_URL, []], ids=lambda s: str(s)[3:24]
)
async def test_nothing_secret_is_logged_or_raised(
    request_: Any, script: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Every logger at DEBUG, every answer: the canary sings nowhere (fault 25)."""
    caplog.set_level(logging.DEBUG)
    client = RoarkClient(KEY, transport=Wire(script))
    said = [repr(client)]
    async with client:
        try:
            await request_(client)
        except RequestError as error:
            said += [str(error), repr(error), "".join(traceback.format_exception(error))]
            said += variables(error)
    said += [f"{record.name} {record.getMessage()} {record.args}" for record in caplog.records]
    assert "canary" not in "\n".join(said)


@pytest.mark.parametrize("url", ["https://canary.test:canary/", "https://canary\0.test/"])
async def test_a_url_that_cannot_be_used_is_in_no_variable(url: str) -> None:
    """Such an upload is refused before there is a request."""
    with pytest.raises(RequestError, match="unusable URL") as failed:
        await RoarkClient(KEY).upload(PresignedUpload(url, "audio/pcm"), b"pcm", size=3)
    assert "canary" not in "\n".join(variables(failed.value))


@pytest.mark.parametrize(
    ("key", "base_url"), [("canary key", "https://roark.test"), ("canary", "http://roark.test")]
)
def test_a_key_is_in_no_variable_of_a_client_that_is_not_made(key: str, base_url: str) -> None:
    """Whether it is the key or the URL that is wrong."""
    with pytest.raises(ValueError, match="key has|https") as refused:
        RoarkClient(key, base_url=base_url)
    assert "canary" not in "\n".join(variables(refused.value))


async def test_the_agents_own_requests_are_logged_as_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The filter is about this package's requests only; and without it the canary does sing."""
    caplog.set_level(logging.DEBUG)
    RoarkClient(KEY)
    async with httpx.AsyncClient(transport=Wire(MOVED)) as client:
        await client.get(SIGNED)
    logged = {record.name for record in caplog.records if "canary" in record.getMessage()}
    assert {"httpx", "httpcore.http11"} <= logged


async def test_making_many_clients_adds_one_filter() -> None:
    """A process may have one for each of many keys."""
    RoarkClient(KEY)
    before = len(logging.getLogger("httpx").filters)
    for _ in range(10):
        RoarkClient(KEY)
    assert len(logging.getLogger("httpx").filters) == before


def test_a_presigned_url_is_not_in_its_repr() -> None:
    """Whoever has it can write to the bucket."""
    assert repr(PresignedUpload(SIGNED, "audio/pcm")) == (
        "PresignedUpload(content_type='audio/pcm')"
    )
