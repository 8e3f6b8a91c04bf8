"""The service and the network misbehave, on real sockets: what can arrive does, and once."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
import trustme

from local_roark import Faults
from roark_analytics_python_livekit import RoarkClient, _connections, _http
from roark_analytics_python_livekit._delivery.stats import CallStats, Outcome
from roark_analytics_python_livekit._http import Timeouts
from roark_analytics_python_livekit.client import PresignedUpload, RequestError
from tests.faults.faulty_server import (
    Exchange,
    Gate,
    How,
    answer,
    drip_the_answer,
    drip_the_request,
    hang,
    http_answer,
    nobody_accepts,
    pass_on,
    reset_at_once,
    reset_in_the_answer,
    reset_in_the_request,
)
from tests.faults.test_disk import assert_whole, complaints, dead_call, until, whole_call
from tests.faults.test_killed import recover
from tests.support.fake_roark import call_file
from tests.support.simulated_call import KEY, FastClock, SimulatedCall

pytestmark = pytest.mark.faults

WHAT = ["call-started", "url", "chunk", "call-ended"]


@pytest.fixture
def gate(service: str) -> Iterator[Gate]:
    """A gate before the service."""
    with Gate(service) as gate:
        yield gate


def stats_of(call: SimulatedCall) -> CallStats:
    """The counts of a call's delivery."""
    assert call.pipeline.call is not None
    return call.pipeline.call.uploader.stats


def assert_each_arrived_once(calls: Path) -> None:
    """The service took each event and each chunk once; what came again, it knew by its key."""
    taken = [one for one in call_file(calls)["deliveries"] if one["status"] == 200]
    events = [one["event"] for one in taken if one.get("event") and not one["duplicate"]]
    assert events == ["call-started", "call-ended"]
    chunks = [one["chunkIndex"] for one in taken if one["endpoint"] == "uploads"]
    assert sorted(chunks) == list(range(len(chunks)))


# 1, 2, 3: statuses


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 522])
def test_an_error_on_each_endpoint_is_overcome(
    service: str, calls: Path, spool: Path, faults: Faults, status: int
) -> None:
    """Twice on each: everything is accepted exactly once (fault 1)."""
    for endpoint in ("events", "chunk-upload-url", "uploads"):
        faults.add(f"{endpoint}:status={status},count=2")
    call = whole_call(service, spool)
    assert_whole(calls)
    assert_each_arrived_once(calls)
    assert stats_of(call).retries >= 6 and not stats_of(call).dropped


@pytest.mark.parametrize("asked", ["1", "date"])
def test_a_wait_that_is_asked_for_is_waited(gate: Gate, calls: Path, asked: str) -> None:
    """Seconds or an HTTP date: the next try does not come before (fault 2)."""
    header = asked
    if asked == "date":  # whole seconds: between one and two from now
        header = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True)
    gate.rules.append(("call-started", answer(http_answer(429, b"", f"retry-after: {header}")), 1))
    call = SimulatedCall(gate.url, None)
    until(lambda: len(gate.asked("call-started")) == 2)
    call.end()
    until(lambda: call.worker.done)
    first, second = (one.at for one in gate.asked("call-started"))
    assert second - first > 0.9
    assert_each_arrived_once(calls)


@pytest.mark.parametrize("asked", ["1000000000", "-5", "soon", "9" * 400, ""])
def test_a_wait_that_nobody_can_mean_hangs_nothing(
    gate: Gate, calls: Path, spool: Path, asked: str
) -> None:
    """Clamped or passed over; the end of the call ends the longest wait (fault 2)."""
    gate.rules.append(("call-started", answer(http_answer(429, b"", f"retry-after: {asked}")), 1))
    whole_call(gate.url, spool)
    assert_whole(calls)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_chunk_is_not_repeated(gate: Gate, calls: Path, spool: Path, status: int) -> None:
    """It is counted, and the gap is told (fault 3)."""
    gate.rules.append(("url", answer(http_answer(status)), 1))
    call = whole_call(gate.url, spool)
    assert dict(stats_of(call).dropped) == {"refused": 1}
    assert stats_of(call).retries == 0
    assert call_file(calls)["ended"]["recording"]["status"] == "partial"
    assert call_file(calls)["ended"]["delivery"]["dropped"] == {"refused": 1}


def kept_after_one_request(gate: Gate, spool: Path) -> SimulatedCall:
    """A call of which the first answer stopped everything."""
    call = whole_call(gate.url, spool)
    assert len(gate.arrived) == 1
    return call


def assert_delivered_later(gate: Gate, calls: Path, spool: Path) -> None:
    """Once nothing is in the way, a recovery delivers all of it."""
    gate.rules.clear()
    asyncio.run(recover(gate.url, spool))
    assert_whole(calls)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_the_call(
    gate: Gate, calls: Path, spool: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One request, one warning; the call waits in the spool for a key that is taken (fault 3)."""
    gate.rules.append(("*", answer(http_answer(status)), 1000))
    call = kept_after_one_request(gate, spool)
    assert complaints(caplog, "the API key was refused") == 1
    assert stats_of(call).spooled > 0
    assert_delivered_later(gate, calls, spool)


# 35: who answers is not the service


@pytest.mark.parametrize("status", [404, 405])
def test_a_path_that_is_not_there_keeps_the_call(
    gate: Gate, calls: Path, spool: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The base URL is wrong: one request, one warning, and the call waits (fault 35)."""
    gate.rules.append(("*", answer(http_answer(status)), 1000))
    call = kept_after_one_request(gate, spool)
    where = gate.url.removeprefix("http://")
    assert complaints(caplog, f"(status {status} at {where}/v1/integrations/livekit-sdk)") == 1
    assert stats_of(call).spooled > 0 and not stats_of(call).dropped
    assert_delivered_later(gate, calls, spool)


def test_a_page_with_2xx_delivers_no_event(gate: Gate, calls: Path, spool: Path) -> None:
    """A proxy's: tried again, then kept, and taken later (fault 35)."""
    page = answer(http_answer(200, b"<html>Sign in</html>"))
    gate.rules.append(("call-started", page, 1))
    gate.rules.append(("call-ended", page, 1000))
    call = whole_call(gate.url, spool, budget=100.0)
    assert len(gate.asked("call-started")) == 2 and len(gate.asked("call-ended")) > 1
    assert stats_of(call).undelivered == ("call-ended",) and stats_of(call).spooled == 1
    assert_delivered_later(gate, calls, spool)


# 4, 5: time


def hurry(monkeypatch: pytest.MonkeyPatch, **timeouts: float) -> None:
    """Shortens httpx's time-outs, so that a test sees them."""
    steps = httpx.Timeout(**{"timeout": 10.0, **timeouts})
    monkeypatch.setattr(_http, "STEPS", steps.as_dict())


@pytest.mark.parametrize("what", WHAT)
def test_an_answer_that_does_not_come_is_asked_for_again(
    gate: Gate, calls: Path, spool: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read time-out on each kind of request (fault 4)."""
    hurry(monkeypatch, read=0.3)
    gate.rules.append((what, hang, 1))
    whole_call(gate.url, spool)
    assert_whole(calls)
    assert len(gate.asked(what)) > 1


def test_a_connection_that_is_never_accepted_is_given_up_in_time(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connect time-out: tried again within the budget, then spooled (fault 4)."""
    hurry(monkeypatch, connect=0.2)
    with nobody_accepts() as url:
        call = SimulatedCall(url, spool, budget=3.0)
        call.talk(0.5)
        call.end()
        until(lambda: call.worker.done, 15.0)
    assert stats_of(call).retries >= 1
    assert stats_of(call).spooled == 3


async def test_a_full_pool_and_a_stuck_write_are_failures_that_pass(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are worth another try (fault 4)."""
    hurry(monkeypatch, pool=0.2, write=0.2)
    monkeypatch.setattr(_connections, "MAX_CONNECTIONS", 8)
    gate.rules.append(("url", hang, 8))
    async with RoarkClient(KEY, base_url=gate.url) as client:
        waiting = [
            asyncio.ensure_future(client.create_upload("RM_1", number, "audio/pcm"))
            for number in range(8)
        ]
        while len(gate.asked("url")) < 8:
            await asyncio.sleep(0.01)
        with pytest.raises(RequestError) as full:
            await client.create_upload("RM_1", 8, "audio/pcm")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        upload = await client.create_upload("RM_1", 9, "audio/pcm")
        gate.rules.append(("chunk", drip_the_request, 1))
        huge = bytes(64 * 1024 * 1024)  # more than the sockets' buffers take
        with pytest.raises(RequestError) as stuck:
            await client.upload(upload, huge, size=len(huge))
    assert (full.value.outcome, full.value.reason) == (Outcome.LATER, "time-out")
    assert (stuck.value.outcome, stuck.value.reason) == (Outcome.LATER, "time-out")


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("how", [drip_the_answer, drip_the_request])
def test_whoever_drips_is_cut(gate: Gate, calls: Path, spool: Path, what: str, how: How) -> None:
    """At a total deadline, which no byte in time puts off (fault 5)."""
    gate.rules.append((what, how, 1))
    whole_call(gate.url, spool, timeouts=Timeouts(total=0.8))
    assert_whole(calls)
    assert stats_of_chunks(calls)


def test_a_slow_uplink_has_the_time_that_it_needs(gate: Gate, calls: Path, spool: Path) -> None:
    """The one WAV of a call takes longer than any other request may, and is put once (fault 5)."""

    def slowly(exchange: Exchange) -> None:
        while len(exchange.body) < exchange.size and not exchange.closing.wait(0.06):
            exchange.read_some(16_384)
        pass_on(exchange)

    gate.rules.append(("chunk", slowly, 1))
    begun = time.monotonic()
    whole_call(gate.url, spool, recording="wav", timeouts=Timeouts(total=1.0))
    assert time.monotonic() - begun > 2.0
    assert_whole(calls)
    assert len(gate.asked("chunk")) == 1


def stats_of_chunks(calls: Path) -> int:
    """How many chunks the service has."""
    return len(call_file(calls)["recording"]["chunks"])


# 6, 7: connections


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("how", [reset_at_once, reset_in_the_request, reset_in_the_answer])
def test_a_reset_connection_costs_one_more_try_with_the_same_key(
    gate: Gate, calls: Path, spool: Path, what: str, how: How
) -> None:
    """Before, in or after the work: the service can tell that it is the same (fault 6)."""
    gate.rules.append((what, how, 1))
    call = whole_call(gate.url, spool)
    assert_whole(calls)
    assert stats_of(call).retries >= 1
    for event in ("call-started", "call-ended"):
        (key,) = {one.key for one in gate.asked(event)}
        assert key
    taken = [one for one in call_file(calls)["deliveries"] if one["status"] == 200]
    fresh = [one["event"] for one in taken if one.get("event") and not one["duplicate"]]
    assert fresh == ["call-started", "call-ended"]


def test_a_name_that_nobody_knows_is_tried_again_then_the_call_is_kept(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """DNS has no answer: it may have one tomorrow (fault 7)."""
    call = SimulatedCall("https://roark.invalid", spool, clock=FastClock(5.0), budget=25.0)
    call.talk(2.0)
    call.end()
    until(lambda: call.worker.done)
    assert stats_of(call).retries >= 1
    assert stats_of(call).spooled == 3
    assert complaints(caplog, "3 kept in the spool") == 1
    assert len(list(spool.glob("*/*.pcm"))) == 1


# 8: TLS


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that httpx trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def test_a_good_certificate_is_taken(
    service: str, calls: Path, spool: Path, authority: trustme.CA
) -> None:
    """So that the tests below refuse for the right reason (fault 8)."""
    with Gate(service, tls=tls(authority.issue_cert("localhost")), host="localhost") as gate:
        whole_call(gate.url, spool)
    assert_whole(calls)


@pytest.mark.parametrize("bad", ["expired", "wrong host", "self-signed"])
def test_a_certificate_that_is_not_trusted_stops_the_call(
    service: str,
    calls: Path,
    spool: Path,
    authority: trustme.CA,
    bad: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Said once, nothing is sent, everything is kept (fault 8)."""
    long_ago = datetime.now(timezone.utc) - timedelta(days=1)
    certificate = {
        "expired": lambda: authority.issue_cert("localhost", not_after=long_ago),
        "wrong host": lambda: authority.issue_cert("elsewhere.test"),
        "self-signed": lambda: trustme.CA().issue_cert("localhost"),
    }[bad]()
    with Gate(service, tls=tls(certificate), host="localhost") as gate:
        call = whole_call(gate.url, spool)
        assert gate.arrived == []
    assert complaints(caplog, "the TLS certificate is not trusted); no more of it is sent") == 1
    assert stats_of(call).retries == 0 and stats_of(call).spooled >= 3
    assert not calls.exists()
    assert list(spool.glob("*/journal"))


async def test_recovery_stops_at_a_bad_certificate_too(
    service: str, spool: Path, authority: trustme.CA
) -> None:
    """It keeps what it found, all of it (fault 8)."""
    for name in ("RM_1", "RM_2"):
        dead_call(spool, "https://localhost:1", name)
    with Gate(service, tls=tls(trustme.CA().issue_cert("localhost")), host="localhost") as gate:
        for name in ("RM_3", "RM_4"):
            dead_call(spool, gate.url, name)
        found = await recover(gate.url, spool)
        assert gate.arrived == [] and gate.connections == 1
    assert [(one.call_id, one.outcome, one.reason) for one in found][2:] == [
        ("RM_3", Outcome.LATER, "the TLS certificate is not trusted")
    ]
    assert len(list(spool.glob("*/journal"))) == 4


async def test_a_bad_certificate_in_mid_call_stops_the_rest(
    service: str, calls: Path, spool: Path, authority: trustme.CA
) -> None:
    """What follows call-started stays in the spool, until it is good again (fault 8)."""
    good = tls(authority.issue_cert("localhost"))
    with Gate(service, tls=good, host="localhost") as gate:

        def spoil(exchange: Exchange) -> None:
            gate.tls = tls(trustme.CA().issue_cert("localhost"))
            pass_on(exchange)

        gate.rules.append(("call-started", spoil, 1))
        whole_call(gate.url, spool)
        assert [one.what for one in gate.arrived] == ["call-started"]
        gate.tls = good
        (recovered,) = await recover(gate.url, spool)
    assert recovered.outcome is Outcome.OK
    assert_whole(calls)


def test_a_server_that_speaks_no_tls_hears_nothing(service: str, spool: Path) -> None:
    """It may be a proxy's hiccup: tried again, then spooled; never in plain text (fault 8)."""
    heard: list[bytes] = []
    with Gate(service) as gate:

        def listen(connection: socket.socket, _: object) -> None:  # not even a head is read
            heard.append(connection.recv(65_536))
            connection.sendall(http_answer(400))

        gate.finish_request = listen  # type: ignore[method-assign,assignment]
        url = gate.url.replace("http://127.0.0.1", "https://localhost")
        call = SimulatedCall(url, spool, clock=FastClock(5.0), budget=10.0)
        call.talk(2.0)
        call.end()
        until(lambda: call.worker.done)
    assert stats_of(call).retries >= 1 and stats_of(call).spooled == 3
    assert heard and not any(KEY.encode() in part or b"call-" in part for part in heard)


# 9, 10: odd answers


def test_an_expired_url_is_replaced_by_a_fresh_one(gate: Gate, calls: Path, spool: Path) -> None:
    """One more URL is asked for, and the call is whole (fault 9)."""
    gate.rules.append(("chunk", answer(http_answer(403, b"<Error>AccessDenied</Error>")), 1))
    whole_call(gate.url, spool)
    assert_whole(calls)
    assert len(gate.asked("url")) == stats_of_chunks(calls) + 1


async def test_urls_that_are_always_expired_are_bounded(
    gate: Gate, calls: Path, spool: Path
) -> None:
    """Four for a chunk, then it waits in the spool; call-ended goes all the same (fault 9)."""
    gate.rules.append(("chunk", answer(http_answer(403)), 10_000))
    call = whole_call(gate.url, spool)
    chunks = stats_of(call).spooled
    assert chunks > 0 and len(gate.asked("url")) == 4 * chunks
    assert not stats_of(call).dropped
    assert call_file(calls)["ended"]["recording"]["status"] == "failed"
    gate.rules.clear()
    (recovered,) = await recover(gate.url, spool)
    assert (recovered.outcome, recovered.chunks) == (Outcome.OK, chunks)
    assert_whole(calls)
    assert list(spool.iterdir()) == []


async def test_a_recovery_too_asks_for_a_bounded_number_of_urls(
    gate: Gate, calls: Path, spool: Path
) -> None:
    """Each process asks four times a chunk, and leaves it to the next (fault 9)."""
    gate.rules.append(("chunk", answer(http_answer(403)), 10_000))
    chunks = stats_of(whole_call(gate.url, spool)).spooled
    (recovered,) = await recover(gate.url, spool)
    assert (recovered.outcome, recovered.reason) == (Outcome.LATER, "status 403")
    assert len(gate.asked("url")) == 2 * 4 * chunks
    assert call_file(calls)["ended"]["recording"]["status"] == "failed"


def json_answer(value: object) -> bytes:
    """A 200 with this as its JSON."""
    return http_answer(200, json.dumps(value).encode(), "content-type: application/json")


@pytest.mark.parametrize(
    "data",
    [
        http_answer(200, b'{"uploadUrl": "http'),
        http_answer(200),
        http_answer(200, b"<html><body>Welcome to this hotel's WiFi</body></html>"),
        json_answer([1, 2, 3]),
        json_answer({"data": None}),
        json_answer({"uploadUrl": "http://example.com/plain"}),
        json_answer({"uploadUrl": "https://[::1"}),
        json_answer({"uploadUrl": "file:///etc/passwd"}),
        json_answer({"uploadUrl": 7}),
        json_answer({"uploadUrl": "http://127.0.0.1:65536/there"}),
        b"\x16\x03\x01 this is not HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n",
        b"",
    ],
    ids=lambda data: data[-24:].decode("ascii", "replace").strip() or "nothing",
)
def test_a_nonsensical_answer_is_no_crash(
    gate: Gate, calls: Path, spool: Path, data: bytes
) -> None:
    """The next answer may be better (fault 10)."""
    gate.rules.append(("url", answer(data), 1))
    call = whole_call(gate.url, spool)
    assert call.guard.count == 0
    assert_whole(calls)


def test_an_endless_answer_is_not_read(gate: Gate, calls: Path, spool: Path) -> None:
    """64 MiB of JSON: 64 KiB are looked at, the rest never leaves the sockets (fault 10)."""
    sent = []

    def flood(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")
        for _ in range(1024):
            exchange.send(b"x" * 65_536)
            sent.append(65_536)

    gate.rules.append(("url", flood, 1))
    whole_call(gate.url, spool)
    assert_whole(calls)
    assert sum(sent) < 32 * 1024 * 1024


# 12: redirects, and proxies


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs this may be behind one, which is not to be asked."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_plain_http_passes_no_proxy(
    gate: Gate,
    service: str,
    calls: Path,
    spool: Path,
    name: str,
    no_proxy: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is for this machine, and would carry the key readable to another (fault 12)."""
    monkeypatch.setenv(name, gate.url)
    whole_call(service, spool)
    assert_whole(calls)
    assert gate.connections == 0


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_https_passes_the_proxy_which_sees_no_key(
    gate: Gate, name: str, no_proxy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tunnel is asked for, to Roark and to the storage; some networks have no other way out."""
    tunnels: list[str] = []

    def refuse(exchange: Exchange) -> None:
        tunnels.append(f"{exchange.command} {exchange.path}")
        exchange.send(http_answer(503))

    monkeypatch.setenv(name, gate.url)
    gate.rules.append(("*", refuse, 2))
    async with RoarkClient(KEY, base_url="https://roark.invalid") as client:
        with pytest.raises(RequestError) as asked:
            await client.create_upload("RM_1", 0, "audio/pcm")
        upload = PresignedUpload("https://storage.invalid/0", "audio/pcm")
        with pytest.raises(RequestError) as put:
            await client.upload(upload, b"pcm", size=3)
    assert tunnels == ["CONNECT roark.invalid:443", "CONNECT storage.invalid:443"]
    assert asked.value.outcome is put.value.outcome is Outcome.LATER
    assert not any(KEY in str(one.headers) for one in gate.arrived)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("what", ["call-started", "url", "chunk"])
def test_a_redirect_carries_nothing_elsewhere(
    gate: Gate, service: str, spool: Path, what: str, status: int
) -> None:
    """Neither body nor key nor so much as a connection arrives there (fault 12)."""
    with Gate(service) as elsewhere:
        location = f"location: {elsewhere.url}/v1/integrations/livekit-sdk"
        gate.rules.append((what, answer(http_answer(status, b"", location)), 10_000))
        call = whole_call(gate.url, spool)
        assert elsewhere.connections == 0
    assert stats_of(call).dropped["refused"] >= 1


def test_a_cookie_that_the_service_sets_goes_to_no_other_server(
    gate: Gate, calls: Path, spool: Path
) -> None:
    """The two pools share nothing (fault 12)."""

    def set_cookie(exchange: Exchange) -> None:
        head, _, body = exchange.forward().partition(b"\r\n\r\n")
        exchange.send(head + b"\r\nset-cookie: roark=1; Path=/\r\n\r\n" + body)

    gate.rules.append(("url", set_cookie, 10_000))
    whole_call(gate.url, spool)
    assert gate.asked("chunk") and all("cookie" not in one.headers for one in gate.asked("chunk"))
    assert_whole(calls)


def test_presigned_urls_get_no_credentials(gate: Gate, calls: Path, spool: Path) -> None:
    """Nor does the service's answer decide otherwise (fault 12)."""
    whole_call(gate.url, spool)
    uploads = gate.asked("chunk")
    assert uploads and all(KEY not in str(one.headers) for one in uploads)
    assert all({"authorization", "x-roark-api-key"}.isdisjoint(one.headers) for one in uploads)
    events = gate.asked("call-started")
    assert events[0].headers["x-roark-api-key"] == KEY
