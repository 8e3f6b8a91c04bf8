"""`RoarkClient`: what goes out, where it goes, and what comes back as an error."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from roark_analytics_python_livekit import RoarkClient, _connections
from roark_analytics_python_livekit._connections import Pools
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._http import MAX_ANSWER_BYTES, Timeouts
from roark_analytics_python_livekit._process import SharedObjects
from roark_analytics_python_livekit.client import (
    PresignedUpload,
    RequestError,
)

KEY = "rk_live_replace_me"
BASE_URL = "https://roark.test/prefix"
UPLOAD_URL = "https://storage.test/bucket/chunk?X-Signature=abc%2Fdef"
UPLOAD = PresignedUpload(UPLOAD_URL, "audio/pcm")
EVENT = {"event": "call-started", "livekitCallId": "RM_1"}

Handler = Callable[[httpx.Request], httpx.Response]


class Service(httpx.MockTransport):
    """Answers from a function, and keeps the requests."""

    def __init__(self, answer: Handler | httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer
        super().__init__(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer if isinstance(self._answer, httpx.Response) else self._answer(request)


def client_of(answer: Handler | httpx.Response | Exception) -> tuple[RoarkClient, Service]:
    """A client, and the service that it speaks to."""
    service = Service(answer)
    return RoarkClient(KEY, base_url=BASE_URL, transport=service), service


async def post(client: RoarkClient) -> None:
    """Posts an event."""
    await client.post_event(EVENT, idempotency_key="once")


async def ask(client: RoarkClient) -> PresignedUpload:
    """Asks where chunk 3 goes."""
    return await client.create_upload("RM_1", 3, "audio/pcm")


async def put(client: RoarkClient) -> None:
    """Puts a chunk."""
    await client.upload(UPLOAD, b"pcm", size=3)


async def failure(request: Callable[[RoarkClient], Any], answer: Any) -> RequestError:
    """The error of one request that is answered like this."""
    client, _ = client_of(answer)
    async with client:
        with pytest.raises(RequestError) as failed:
            await request(client)
    return failed.value


class Dripping(httpx.AsyncByteStream):
    """A body that comes in parts, and counts them.

    Args:
        part: What comes again and again.
        count: How often; None never ends.
    """

    def __init__(self, part: bytes, count: int | None = None) -> None:
        self.sent = 0
        self.closed = False
        self._part = part
        self._count = count

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._count is None or self.sent < self._count * len(self._part):
            self.sent += len(self._part)
            yield self._part
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        self.closed = True


class TestRequests:
    """What goes out."""

    async def test_an_event_carries_the_key_twice_and_its_idempotency_key(self) -> None:
        """As the service wants it; the body is JSON in UTF-8."""
        client, service = client_of(httpx.Response(200))
        await client.post_event({"agentName": "Zoë"}, idempotency_key="once")
        (request,) = service.requests
        assert request.method == "POST"
        assert str(request.url) == f"{BASE_URL}/v1/integrations/livekit-sdk"
        assert request.headers["x-roark-api-key"] == KEY
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["idempotency-key"] == "once"
        assert request.content == '{"agentName":"Zoë"}'.encode()

    async def test_half_a_surrogate_pair_does_not_stop_an_event(self) -> None:
        """An id or a name may come from anywhere."""
        client, service = client_of(httpx.Response(200))
        await client.post_event({"agentId": "a\ud800b"}, idempotency_key="once")
        assert json.loads(service.requests[0].content) == {"agentId": "a?b"}

    async def test_a_chunk_url_is_asked_for_with_the_key(self) -> None:
        """Call, index and content type: that is what gets signed."""
        client, service = client_of(httpx.Response(200, json={"uploadUrl": UPLOAD_URL}))
        await ask(client)
        (request,) = service.requests
        assert request.url.path == "/prefix/v1/integrations/livekit-sdk/chunk-upload-url"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert json.loads(request.content) == {
            "livekitCallId": "RM_1",
            "chunkIndex": 3,
            "contentType": "audio/pcm",
        }

    async def test_an_upload_carries_no_credentials(self) -> None:
        """A storage server refuses headers that were not signed."""
        client, service = client_of(httpx.Response(200))
        await put(client)
        (request,) = service.requests
        assert request.method == "PUT"
        assert str(request.url) == UPLOAD_URL
        assert KEY not in str(request.headers.raw)
        assert set(request.headers) == {
            "host",
            "accept",
            "accept-encoding",
            "user-agent",
            "content-type",
            "content-length",
        }
        assert request.headers["content-type"] == "audio/pcm"

    async def test_a_streamed_upload_says_its_length_before(self) -> None:
        """S3 takes no chunked transfer encoding."""

        async def parts() -> AsyncIterator[bytes]:
            yield b"RIFF"
            yield b"data"

        client, service = client_of(httpx.Response(200))
        await client.upload(UPLOAD, parts(), size=8)
        (request,) = service.requests
        assert request.headers["content-length"] == "8"
        assert "transfer-encoding" not in request.headers
        assert request.content == b"RIFFdata"

    async def test_compressed_answers_are_not_asked_for(self) -> None:
        """Answers are read as they come: a compressed one could not be."""
        client, service = client_of(httpx.Response(200))
        await post(client)
        await put(client)
        encodings = [request.headers["accept-encoding"] for request in service.requests]
        assert encodings == ["identity", "identity"]

    async def test_a_presigned_url_is_used_to_the_letter(self) -> None:
        """Its signature is over this very text, escapes included."""
        url = "https://storage.test/a%2Bb/c%20d?k=%2F%3D+&sig=a%7E~b"
        client, service = client_of(httpx.Response(200))
        await client.upload(PresignedUpload(url, "audio/pcm"), b"", size=0)
        assert service.requests[0].url.raw_path == b"/a%2Bb/c%20d?k=%2F%3D+&sig=a%7E~b"


class TestRedirects:
    """No redirect is followed: neither body nor key reaches another host."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("request_", [post, ask, put])
    async def test_a_redirect_is_a_refusal(self, status: int, request_: Any) -> None:
        """And the other host hears nothing."""
        client, service = client_of(
            httpx.Response(status, headers={"location": "https://evil.test/steal"})
        )
        with pytest.raises(RequestError) as failed:
            await request_(client)
        assert failed.value.outcome is Outcome.REFUSED
        assert failed.value.status == status
        assert [request.url.host for request in service.requests] != ["evil.test"]
        assert len(service.requests) == 1


class TestAnswers:
    """What the service answers, and what it had better not."""

    @pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"data": body}])
    async def test_an_upload_url_comes_bare_or_wrapped(self, wrap: Any) -> None:
        """The live service does either."""
        body = {"uploadUrl": UPLOAD_URL, "contentType": "audio/pcm", "chunkIndex": 3, "s3Key": "k"}
        client, _ = client_of(httpx.Response(200, json=wrap(body)))
        assert await ask(client) == PresignedUpload(UPLOAD_URL, "audio/pcm")

    @pytest.mark.parametrize("body", [b"", b"\r\n", b"null", b"[]", b"5", b'{"data": null}'])
    async def test_an_event_is_accepted_by_json_or_no_body(self, body: bytes) -> None:
        """What it says is not asked."""
        client, _ = client_of(httpx.Response(202, content=body))
        await post(client)

    @pytest.mark.parametrize(
        "body", [b"<html>Sign in</html>", b"OK", b"\xff", b'{"data": ', b"[" * 60_000]
    )
    async def test_a_page_with_2xx_is_no_acceptance(self, body: bytes) -> None:
        """A proxy's, say: the event is sent again, then kept (fault 35)."""
        error = await failure(post, httpx.Response(200, content=body))
        assert (error.outcome, error.reason) == (Outcome.LATER, "unusable answer (no JSON)")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"null",
            b"[]",
            b"5",
            b'"text"',
            b"<html><body>502 Bad Gateway</body></html>",
            b"\xff\xfe",
            b"[" * 60_000,
            b"{}",
            b'{"data": null}',
            b'{"data": []}',
            b'{"data": "x"}',
            b'{"uploadUrl": null}',
            b'{"uploadUrl": 5}',
            b'{"uploadUrl": "https://\\ud800.test/"}',
            b'{"uploadUrl": "https://storage.test/\\ud800"}',
            b'{"uploadUrl": ["https://storage.test"]}',
        ],
        ids=lambda body: str(body[:24]),
    )
    async def test_an_answer_without_a_url_may_be_better_next_time(self, body: bytes) -> None:
        """A proxy's error page, half an answer, another shape: the same request is made again."""
        error = await failure(ask, httpx.Response(200, content=body))
        assert error.outcome is Outcome.LATER
        assert error.reason == "unusable answer (no upload URL)"

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "storage.test/chunk",
            "/chunk",
            "//storage.test/chunk",
            "http://storage.test/chunk",
            "http://localhost.evil.test/chunk",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "ftp://storage.test/chunk",
            "https://",
            "https:///chunk",
            "https://[::1",
            "https://storage.test\0/chunk",
            "https://xn--€.test/",
            "https://storage.test:65536/chunk",
            "https://storage.test:99999/chunk",
            "http://127.0.0.1:65536/chunk",
            "http://127.0.0.1:0/chunk",
            "https://" + "a" * 70_000,
        ],
        ids=lambda url: ascii(url[:24]),
    )
    async def test_nothing_is_put_where_no_upload_should_go(self, url: str) -> None:
        """Only https, or this machine."""
        error = await failure(ask, httpx.Response(200, json={"uploadUrl": url}))
        assert error.outcome is Outcome.LATER

    @pytest.mark.parametrize("host", ["localhost:8787", "127.0.0.1:8787", "[::1]:8787"])
    async def test_an_upload_url_on_this_machine_may_be_plain_http(self, host: str) -> None:
        """The local stand-in; a service that is elsewhere has no storage here (fault 13)."""
        url = f"http://{host}/uploads/1"
        answer = httpx.Response(200, json={"uploadUrl": url})
        local = RoarkClient(KEY, base_url="http://localhost:8787", transport=Service(answer))
        assert (await ask(local)).url == url
        for base_url in (BASE_URL, "https://10.0.0.5", "https://roark.internal"):
            elsewhere = RoarkClient(KEY, base_url=base_url, transport=Service(answer))
            with pytest.raises(RequestError, match="no upload URL"):
                await ask(elsewhere)

    @pytest.mark.parametrize(
        "host",
        [
            *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "[::1]"),
            *("169.254.169.254", "[fe80::1]", "[::ffff:10.0.0.5]", "10.0.0.5", "192.168.0.5"),
            *("0.0.0.0", "[::]", "127.0.0.1.", "localhost", "LOCALHOST.", "a.localhost"),
            *("storage", "metadata.google.internal", "printer.local", "user:pass@storage.test"),
            *("user@storage.test", ":pass@storage.test"),
        ],
    )
    async def test_a_public_service_sends_no_call_into_this_network(self, host: str) -> None:
        """Only https, and only to a name that is public."""
        error = await failure(
            ask, httpx.Response(200, json={"uploadUrl": f"https://{host}/bucket/chunk"})
        )
        assert error.reason == "unusable answer (no upload URL)"

    @pytest.mark.parametrize("base_url", ["https://10.0.0.5", "https://roark.internal"])
    async def test_a_private_service_may_have_its_storage_beside_it(self, base_url: str) -> None:
        """By https; a user and a password are in no presigned URL."""
        for url, is_good in (
            ("https://10.0.0.6/chunk", True),
            ("https://storage.internal/chunk", True),
            ("https://storage.test/chunk", True),
            ("https://user:pass@10.0.0.6/chunk", False),
            ("http://10.0.0.6/chunk", False),
        ):
            answer = httpx.Response(200, json={"uploadUrl": url})
            client = RoarkClient(KEY, base_url=base_url, transport=Service(answer))
            assert (await client.request_chunk_upload_url("RM_1", 0) is not None) is is_good

    @pytest.mark.parametrize(
        ("answered", "used"),
        [
            ("audio/pcm", "audio/pcm"),
            ("audio/L16; rate=24000", "audio/L16; rate=24000"),
            (None, "audio/pcm"),
            ("", "audio/pcm"),
        ],
    )
    async def test_the_content_type_is_the_one_that_was_signed(
        self, answered: str | None, used: str
    ) -> None:
        """The service's word, else what was asked for; the upload then has exactly that."""
        answer = {"uploadUrl": UPLOAD_URL, "contentType": answered}
        client, service = client_of(httpx.Response(200, json=answer))
        upload = await ask(client)
        await client.upload(upload, b"pcm", size=3)
        await client.upload(upload, b"pcm", size=3)
        types = [request.headers["content-type"] for request in service.requests[1:]]
        assert types == [used, used]

    @pytest.mark.parametrize("kind", [5, ["audio/pcm"], "audio/pcm\r\nx: y", "ключ", "a\0b"])
    async def test_a_content_type_that_is_no_header_is_an_unusable_answer(self, kind: Any) -> None:
        """It would end in the request's head."""
        answer = httpx.Response(200, json={"uploadUrl": UPLOAD_URL, "contentType": kind})
        assert (await failure(ask, answer)).outcome is Outcome.LATER

    @pytest.mark.parametrize("request_", [post, ask, put])
    async def test_a_huge_answer_is_not_read_to_its_end(self, request_: Any) -> None:
        """64 MiB are offered, about 64 KiB are taken, and the connection is given up."""
        body = Dripping(b" " * 8192, count=8192)
        client, _ = client_of(lambda request: httpx.Response(200, stream=body))
        try:
            await request_(client)
        except RequestError as error:
            assert error.outcome is Outcome.LATER
        assert body.sent <= MAX_ANSWER_BYTES + 8192
        assert body.closed

    async def test_the_body_of_an_error_is_not_read_at_all(self) -> None:
        """Its status says everything."""
        body = Dripping(b"x" * 8192)
        client, _ = client_of(lambda request: httpx.Response(500, stream=body))
        with pytest.raises(RequestError):
            await post(client)
        assert body.sent == 0
        assert body.closed


def bad_certificate() -> httpx.ConnectError:
    """As httpx raises it for a certificate that is expired, self-signed or another host's."""
    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired")
    error.__cause__ = ssl.SSLCertVerificationError("certificate has expired")
    return error


class GroupError(Exception):
    """What an exception group has, on every version of Python."""

    def __init__(self, *exceptions: Exception | None) -> None:
        super().__init__("canary")
        self.exceptions = [one for one in exceptions if one is not None]


class TestErrors:
    """Every failure becomes a `RequestError` that says whether another try may help."""

    @pytest.mark.parametrize(
        ("status", "outcome"),
        [
            (400, Outcome.REFUSED),
            (401, Outcome.UNAUTHORIZED),
            (403, Outcome.UNAUTHORIZED),
            (413, Outcome.REFUSED),
            (422, Outcome.REFUSED),
            (429, Outcome.LATER),
            (503, Outcome.LATER),
        ],
    )
    async def test_an_error_status_says_what_may_help(self, status: int, outcome: Outcome) -> None:
        """On both of Roark's endpoints alike."""
        for request in (post, ask):
            error = await failure(request, httpx.Response(status, headers={"retry-after": "7"}))
            assert (error.outcome, error.status, error.retry_after) == (outcome, status, 7.0)
            assert str(error) == f"status {status}"

    async def test_a_used_up_url_is_told_from_a_refused_key(self) -> None:
        """403 from storage asks for a fresh URL; 401 there is final for the chunk alone."""
        assert (await failure(put, httpx.Response(403))).outcome is Outcome.EXPIRED
        assert (await failure(put, httpx.Response(401))).outcome is Outcome.REFUSED

    @pytest.mark.parametrize(
        ("raised", "outcome", "reason"),
        [
            (httpx.ConnectTimeout("x"), Outcome.LATER, "time-out"),
            (httpx.ReadTimeout("x"), Outcome.LATER, "time-out"),
            (httpx.WriteTimeout("x"), Outcome.LATER, "time-out"),
            (httpx.PoolTimeout("x"), Outcome.LATER, "time-out"),
            (TimeoutError("x"), Outcome.LATER, "time-out"),
            (httpx.ReadError("reset"), Outcome.LATER, "ReadError"),
            (httpx.WriteError("reset"), Outcome.LATER, "WriteError"),
            (httpx.CloseError("x"), Outcome.LATER, "CloseError"),
            (httpx.ProxyError("x"), Outcome.LATER, "ProxyError"),
            (httpx.RemoteProtocolError("x"), Outcome.LATER, "RemoteProtocolError"),
            (httpx.LocalProtocolError("x"), Outcome.LATER, "LocalProtocolError"),
            (httpx.UnsupportedProtocol("x"), Outcome.REFUSED, "unusable URL"),
            (httpx.InvalidURL("x"), Outcome.REFUSED, "unusable URL"),
            (OSError("disk"), Outcome.LATER, "OSError"),
            (bad_certificate(), Outcome.UNTRUSTED, "the TLS certificate is not trusted"),
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("request_", [post, ask, put])
    async def test_a_failed_connection_is_translated(
        self, request_: Any, raised: Exception, outcome: Outcome, reason: str
    ) -> None:
        """In one place, for all requests; the foreign error's text stays behind."""
        error = await failure(request_, raised)
        assert (error.outcome, error.reason, error.status) == (outcome, reason, None)
        assert error.__context__ is None

    @pytest.mark.parametrize(
        ("cause", "reason"),
        [
            (socket.gaierror(-2, "canary"), "no address for roark.test"),
            (ConnectionRefusedError("canary"), "roark.test refuses connections"),
            (OSError("canary"), "no connection to roark.test"),
            (None, "no connection to roark.test"),
        ],
        ids=repr,
    )
    async def test_why_there_is_no_connection_is_said(
        self, cause: Exception | None, reason: str
    ) -> None:
        """A name that nobody knows and a port that is closed are mended differently."""
        raised = httpx.ConnectError("canary")
        several = OSError("All connection attempts failed")  # as anyio has it for some addresses
        several.__cause__ = GroupError(cause)
        for behind in (cause, several) if cause is not None else (None,):
            raised.__cause__ = behind
            error = await failure(post, raised)
            assert (error.outcome, error.reason, error.status) == (Outcome.LATER, reason, None)

    async def test_a_file_that_cannot_be_read_is_no_crash(self) -> None:
        """The upload's body comes from a disk."""

        async def torn() -> AsyncIterator[bytes]:
            yield b"RIFF"
            raise OSError("input/output error")

        client, _ = client_of(httpx.Response(200))
        with pytest.raises(RequestError) as failed:
            await client.upload(UPLOAD, torn(), size=8)
        assert failed.value.outcome is Outcome.LATER


SHORT = Timeouts(total=0.05)  # half a minute is for production


class TestDeadline:
    """Every request ends, however slowly the bytes drip."""

    @pytest.mark.parametrize("request_", [post, ask])
    async def test_an_answer_that_drips_is_cut(self, request_: Any) -> None:
        """A byte now and then keeps every read within its own time-out."""
        body = Dripping(b"")
        client, _ = client_of(lambda request: httpx.Response(200, stream=body))
        client._timeouts = SHORT
        with pytest.raises(RequestError, match="time-out") as failed:
            await request_(client)
        assert failed.value.outcome is Outcome.LATER
        assert body.closed

    async def test_a_reader_that_drips_is_cut(self) -> None:
        """The storage takes the first part of an upload, and then no more."""

        class Reader(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                assert isinstance(request.stream, httpx.AsyncByteStream)
                async for _ in request.stream:
                    await asyncio.Event().wait()
                raise AssertionError

        client = RoarkClient(KEY, base_url=BASE_URL, transport=Reader())
        client._timeouts = SHORT
        with pytest.raises(RequestError, match="time-out"):
            await put(client)

    async def test_a_large_upload_has_the_time_that_a_slow_uplink_takes(self) -> None:
        """A recording of minutes takes more than any fixed deadline."""
        loop = asyncio.get_running_loop()

        class Slow(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                begun = loop.time()
                while loop.time() < begun + 2 * SHORT.total:
                    await asyncio.sleep(0.01)
                return httpx.Response(200)

        client = RoarkClient(KEY, base_url=BASE_URL, transport=Slow())
        client._timeouts = replace(SHORT, rate=100)
        await client.upload(UPLOAD, bytes(3000), size=3000)  # half a minute at that rate
        await client.post_event({"agentPrompt": "x" * 3000}, idempotency_key="once")
        with pytest.raises(RequestError, match="time-out"):
            await client.upload(UPLOAD, b"", size=0)
        client._timeouts = SHORT
        with pytest.raises(RequestError, match="time-out"):
            await post(client)

    async def test_a_large_upload_has_no_more_time_than_that(self) -> None:
        """Whoever takes less than the least rate is cut."""
        loop = asyncio.get_running_loop()

        class Stuck(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                await asyncio.Event().wait()
                raise AssertionError

        client = RoarkClient(KEY, base_url=BASE_URL, transport=Stuck())
        client._timeouts = replace(SHORT, rate=10_000)
        begun = loop.time()
        with pytest.raises(RequestError, match="time-out") as failed:
            await client.upload(UPLOAD, bytes(2000), size=2000)
        assert failed.value.outcome is Outcome.LATER
        assert loop.time() - begun > 0.24  # 0.05 s, and 0.2 s for its size

    def test_seven_minutes_of_sound_fit_through_an_ordinary_uplink(self) -> None:
        """40 MiB: five minutes at 1 Mbit/s."""
        timeouts = RoarkClient(KEY)._timeouts
        assert timeouts.total == timeouts.sending(0) == 30.0
        assert 5 * 60 < timeouts.sending(40 * 1024 * 1024) < 12 * 60

    async def test_the_next_request_is_not_the_worse_for_it(self) -> None:
        """The same client goes on."""
        answers = [httpx.Response(200, stream=Dripping(b"")), httpx.Response(200)]
        client, service = client_of(lambda request: answers.pop(0))
        client._timeouts = SHORT
        with pytest.raises(RequestError):
            await post(client)
        await post(client)
        assert len(service.requests) == 2


class TestConnections:
    """How connections are made, as the environment's proxy variables say."""

    @pytest.fixture(autouse=True)
    def no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever runs this may be behind one."""
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)

    @pytest.mark.parametrize("proxy", ["foo://proxy.test", "http://[::1", "http://proxy.test:port"])
    @pytest.mark.parametrize("request_", [post, ask, put])
    async def test_a_mistyped_proxy_does_not_pass_for_a_refusal(
        self, request_: Any, proxy: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is no URL of the service's: the request may succeed once the variable is mended."""
        monkeypatch.setenv("ALL_PROXY", proxy)
        client = RoarkClient(KEY, base_url=BASE_URL)
        with pytest.raises((ValueError, httpx.InvalidURL)):
            await request_(client)

    async def test_certificates_that_cannot_be_read_are_a_failure_that_passes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody may be replacing that file."""

        def unreadable(**options: Any) -> ssl.SSLContext:
            raise FileNotFoundError

        monkeypatch.setattr(httpx, "create_ssl_context", unreadable)
        monkeypatch.setattr(_connections, "shared", SharedObjects())
        with pytest.raises(RequestError) as failed:
            await post(RoarkClient(KEY, base_url=BASE_URL))
        assert (failed.value.outcome, failed.value.reason) == (Outcome.LATER, "FileNotFoundError")

    @pytest.mark.parametrize(
        ("variables", "proxy"),
        [
            ({}, None),
            ({"HTTPS_PROXY": "http://proxy.test:8080"}, "http://proxy.test:8080"),
            ({"https_proxy": "proxy.test:8080"}, "http://proxy.test:8080"),
            ({"ALL_PROXY": "http://proxy.test"}, "http://proxy.test"),
            ({"HTTP_PROXY": "http://proxy.test"}, None),
            ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "other.test,.roark.test"}, None),
            ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "*"}, None),
            ({"HTTPS_PROXY": "http://proxy.test", "NO_PROXY": "test.roark"}, "http://proxy.test"),
        ],
    )
    async def test_the_environment_names_the_proxy(
        self, variables: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """For https; what is in NO_PROXY is reached without it."""
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        pools = Pools(None)
        route = pools.route(httpx.Request("POST", "https://api.roark.test"), with_key=True)
        pools.route(httpx.Request("POST", "http://localhost:8787"), with_key=True)
        named = proxy and f"the proxy {proxy.removeprefix('http://')}"
        assert route.peer == (named or "api.roark.test")
        assert list(pools.made) == [(True, True, proxy), (True, False, None)]


class TestConstruction:
    """A client that cannot work is not made."""

    @pytest.mark.parametrize(
        ("key", "url"), [("canary key", BASE_URL), ("", BASE_URL), (KEY, "http://roark.test")]
    )
    def test_a_bad_key_or_url_is_a_value_error(self, key: str, url: str) -> None:
        """The same rules as in `observe_session`, and nothing echoed."""
        with pytest.raises(ValueError, match="API key|base URL") as refusal:
            RoarkClient(key, base_url=url)
        assert "canary" not in str(refusal.value)

    def test_one_that_is_not_made_yet_has_a_repr(self) -> None:
        """A debugger asks for it at any time."""
        assert repr(RoarkClient.__new__(RoarkClient)) == "RoarkClient(base_url='')"

    def test_by_default_it_speaks_to_roark(self) -> None:
        """And its repr says where to, not with what."""
        assert repr(RoarkClient(f" {KEY}\n")) == "RoarkClient(base_url='https://api.roark.ai')"
