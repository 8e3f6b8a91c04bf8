"""Delivery: order, concurrency, back-off and budget, on a service that works or on a fake."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local_roark import Faults
from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.chunks import Chunk
from roark_analytics_python_livekit._delivery.limits import Deadline, Limits, RetryPolicy
from roark_analytics_python_livekit._delivery.outbox import Outbox
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._delivery.uploader import idempotency_key
from roark_analytics_python_livekit.client import PresignedUpload, RequestError
from tests.support.deliveries import CALL, ENDED, STARTED, until
from tests.support.deliveries import Shipping as _Shipping
from tests.support.fake_roark import Roark

pytestmark = pytest.mark.invented  # events of the tests' own, not what a call ended with

SIZE = 1000  # bytes of a chunk in here
LIMITS = Limits(chunk_bytes=SIZE)
# Chunks are given up early in the budget: call-ended has half a minute on a slow machine.
QUICK = Limits(chunk_bytes=SIZE, started_share=0.002, chunks_share=0.005)

Shipping = partial(_Shipping, limits=LIMITS)


def pcm(chunks: float) -> bytes:
    """So many chunks of samples, no two alike."""
    count = int(chunks * SIZE) // 4
    return b"".join(number.to_bytes(4, "little") for number in range(count))


class FakeClient(RoarkClient):
    """Requests that a test answers one by one.

    Attributes:
        events: The events that were posted, by name.
        uploading: The indices of the chunks that are under way, in the order they began.
        begun: The indices of all chunks that ever were.
        most: How many were under way at the same time, at most.
        failures: Errors for the requests to come; the first is raised first.
    """

    def __init__(self, *failures: Exception) -> None:
        super().__init__("rk_live_replace_me", base_url="http://localhost")
        self.events: list[str] = []
        self.keys: list[str] = []
        self.uploading: list[int] = []
        self.begun: list[int] = []
        self.most = 0
        self.failures = list(failures)
        self._answers: dict[int, asyncio.Future[None]] = {}

    def answer(self, index: int) -> None:
        """Lets an upload succeed."""
        self._answers[index].set_result(None)

    async def post_event(self, event: Any, *, idempotency_key: str) -> None:
        self.events.append(event["event"])
        self.keys.append(idempotency_key)
        if self.failures:
            raise self.failures.pop(0)

    async def create_upload(
        self, call_id: str, chunk_index: int, content_type: Any
    ) -> PresignedUpload:
        return PresignedUpload(str(chunk_index), content_type)

    async def upload(
        self, upload: PresignedUpload, body: bytes | AsyncIterator[bytes], *, size: int
    ) -> None:
        index = int(upload.url)
        self.begun.append(index)
        self.uploading.append(index)
        self.most = max(self.most, len(self.uploading))
        self._answers[index] = asyncio.get_running_loop().create_future()
        try:
            await self._answers[index]
        finally:
            self.uploading.remove(index)


class Recovering(FakeClient):
    """A service that has no URL for a while, then takes everything.

    Args:
        failures: How often it has none.

    Attributes:
        arrived: The indices of the chunks, in the order they came.
    """

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.arrived: list[int] = []
        self._down = failures

    async def create_upload(
        self, call_id: str, chunk_index: int, content_type: Any
    ) -> PresignedUpload:
        self._down -= 1
        if self._down >= 0:
            raise unavailable()
        return PresignedUpload(str(chunk_index), content_type)

    async def upload(self, upload: PresignedUpload, body: Any, *, size: int) -> None:
        self.arrived.append(int(upload.url))


def unavailable(retry_after: float | None = None) -> RequestError:
    """503."""
    return RequestError(Outcome.LATER, "status 503", status=503, retry_after=retry_after)


class TestACallThatGoesWell:
    """On a service that works."""

    async def test_it_arrives_whole_and_in_order(self, client: RoarkClient, roark: Roark) -> None:
        """call-started, the chunks, call-ended; the recording is what was recorded."""
        shipping = Shipping(client)
        shipping.record(pcm(5.5))
        await shipping.finish()
        accepted = roark.accepted()
        assert accepted[0] == "call-started"
        assert sorted(accepted[1:-1]) == [f"chunk {index}" for index in range(6)]
        assert accepted[-1] == "call-ended"
        assert roark.recording(CALL)[44:] == pcm(5.5)
        assert roark.call(CALL)["recording"]["missing"] == []

    async def test_it_is_counted(self, client: RoarkClient) -> None:
        """Eight things to send, each sent once."""
        shipping = Shipping(client)
        shipping.record(pcm(5.5))
        await shipping.finish()
        stats = shipping.stats
        assert (stats.events_sent, stats.chunks_sent, stats.bytes_sent) == (2, 6, int(5.5 * SIZE))
        assert (stats.attempts, stats.retries, stats.dropped) == (8, 0, {})
        assert shipping.stats.undelivered == ()
        assert shipping.uploader.last_failure is None

    async def test_chunks_go_while_the_call_goes_on(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """What is uploaded during the call need not be afterwards."""
        shipping = Shipping(client)
        for index in range(3):
            shipping.record(pcm(1))
            await until(lambda name=f"chunk {index}": name in roark.accepted())
        assert not shipping.ended_asked
        await shipping.finish()
        assert roark.accepted()[-1] == "call-ended"

    async def test_a_wav_goes_when_the_call_is_over(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """As one upload, between the two events."""
        shipping = Shipping(client, outbox=Outbox(whole=True, limits=LIMITS))
        shipping.record(pcm(3))
        await until(lambda: roark.accepted() == ["call-started"])
        await shipping.finish()
        assert roark.accepted() == ["call-started", "chunk 0", "call-ended"]
        assert roark.recording(CALL)[44:] == pcm(3)
        shipping.outbox.close()

    async def test_a_call_without_audio_is_two_events(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """Nothing is asked for that is not needed."""
        await Shipping(client).finish()
        assert [seen.what for seen in roark.seen] == ["call-started", "call-ended"]

    async def test_each_event_has_a_key_of_its_own(self, client: RoarkClient, roark: Roark) -> None:
        """Two events under one key would be one."""
        await Shipping(client).finish()
        keys = [seen.key for seen in roark.seen]
        assert None not in keys
        assert len(set(keys)) == 2


class TestOrder:
    """What goes before what, and how much at once."""

    async def test_chunks_begin_in_order_and_few_are_under_way(self) -> None:
        """A new one begins when any of them is done."""
        client = FakeClient()
        shipping = Shipping(client)
        shipping.record(pcm(7))
        await until(lambda: len(client.uploading) == LIMITS.in_flight)
        client.answer(1)
        await until(lambda: client.uploading == [0, 2, 3])
        client.answer(0)
        client.answer(3)
        await until(lambda: client.uploading == [2, 4, 5])
        client.answer(2)
        client.answer(4)
        client.answer(5)
        await until(lambda: client.uploading == [6])
        client.answer(6)
        await shipping.finish()
        assert client.begun == list(range(7))
        assert client.most == LIMITS.in_flight
        assert client.events == ["call-started", "call-ended"]

    async def test_chunks_wait_for_call_started(self) -> None:
        """The service has to know the call."""
        client = FakeClient(unavailable())
        shipping = Shipping(
            client, limits=replace(LIMITS, retry=RetryPolicy(3600, 3600)), jitter=1.0
        )
        shipping.record(pcm(2))
        await until(lambda: client.failures == [])
        assert client.begun == []
        finishing = asyncio.ensure_future(shipping.finish())
        await until(lambda: client.uploading == [0, 1])
        client.answer(0)
        client.answer(1)
        await finishing

    async def test_call_ended_waits_for_the_chunks(self) -> None:
        """The service writes the recording when it comes."""
        client = FakeClient()
        shipping = Shipping(client)
        shipping.record(pcm(1))
        await until(lambda: client.uploading == [0])
        finishing = asyncio.ensure_future(shipping.finish())
        await until(lambda: shipping.uploader._recording_finished.is_set())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not shipping.ended_asked
        client.answer(0)
        await finishing
        assert client.events == ["call-started", "call-ended"]

    async def test_a_call_that_goes_on_is_not_ended(self) -> None:
        """However long there is nothing to send."""
        client = FakeClient()
        shipping = Shipping(client)
        await until(lambda: client.events == ["call-started"])
        for _ in range(50):
            await asyncio.sleep(0)
        assert not shipping.ended_asked
        await shipping.finish()


class TestBackOff:
    """Waiting between tries."""

    async def test_the_waits_are_the_policys(self) -> None:
        """Attempt by attempt, with what the service asked for, and no end while the call runs."""

        class Noting(RetryPolicy):
            def delay(self, attempt: int, **given: Any) -> float | None:
                asked.append((attempt, given["jitter"], given["time_left"], given["retry_after"]))
                return 0.0

        asked: list[tuple[int, float, float, float | None]] = []
        client = FakeClient(unavailable(), unavailable(7.0), unavailable())
        shipping = Shipping(client, limits=replace(LIMITS, retry=Noting()), jitter=0.25)
        await until(lambda: shipping.stats.events_sent == 1)
        ever = float("inf")
        assert asked == [(0, 0.25, ever, None), (1, 0.25, ever, 7.0), (2, 0.25, ever, None)]
        await shipping.finish()

    async def test_the_end_of_the_call_cuts_a_wait_short(self) -> None:
        """It would last an hour: the call is delivered within its budget instead."""
        client = FakeClient(unavailable())
        shipping = Shipping(
            client, limits=replace(LIMITS, retry=RetryPolicy(3600, 3600)), jitter=1.0
        )
        await until(lambda: client.failures == [])
        await shipping.finish()
        assert client.events == ["call-started", "call-started", "call-ended"]
        assert shipping.stats.retries == 1

    async def test_the_same_key_is_sent_again(self) -> None:
        """However often it takes."""
        client = FakeClient(*[unavailable() for _ in range(10)])
        shipping = Shipping(client)
        await until(lambda: shipping.stats.events_sent == 1)
        assert len(set(client.keys)) == 1
        assert len(client.keys) == 11
        await shipping.finish()

    async def test_a_service_that_asks_for_more_time_than_there_is_is_left_alone(
        self, client: RoarkClient, roark: Roark, faults: Faults
    ) -> None:
        """429 with a minute's Retry-After, six seconds before the end: one try, not hundreds."""
        shipping = Shipping(client)
        await until(lambda: roark.accepted() == ["call-started"])
        faults.add("uploads:status=429,retry-after=60")
        shipping.uploader.close(6.0)
        shipping.record(pcm(2))
        await shipping.finish()
        assert len(roark.asked("chunk")) == 2
        assert roark.accepted() == ["call-started", "call-ended"]
        assert shipping.stats.dropped == {"time": 2}
        assert shipping.lost == [0, 1]


class TestBudget:
    """Once the call is over."""

    async def test_no_retry_begins_after_it(self) -> None:
        """On the clock that was given: here the first try takes longer than the budget."""
        now = 0.0

        class Slow(FakeClient):
            async def post_event(self, event: Any, *, idempotency_key: str) -> None:
                nonlocal now
                now += 10.0
                await super().post_event(event, idempotency_key=idempotency_key)

        client = Slow(unavailable(), unavailable())
        shipping = Shipping(client, clock=lambda: now)
        shipping.uploader.close(6.0)
        await shipping.finish()
        assert client.events.count("call-started") <= 1
        assert client.events.count("call-ended") <= 1
        assert shipping.stats.events_sent == 0
        assert set(shipping.stats.dropped) == {"time"}

    async def test_closing_again_gives_no_more_time(self) -> None:
        """The session's close and the job's shutdown both close."""
        now = 0.0
        deadline = Deadline(lambda: now)
        deadline.close(6.0)
        now = 4.0
        deadline.close(6.0)
        assert deadline.time_left() == 2.0
        assert deadline.time_left(0.5) == 0.0

    async def test_while_the_call_runs_there_is_no_end(self) -> None:
        """What can succeed is tried for as long as it takes."""
        deadline = Deadline(lambda: 1e9)
        deadline.begin()
        assert deadline.time_left() == deadline.time_left(0.1) == float("inf")

    @pytest.mark.parametrize("hangs", ["events", "*"])
    async def test_a_service_that_hangs_is_left_when_it_is_spent(
        self, client: RoarkClient, roark: Roark, faults: Faults, hangs: str
    ) -> None:
        """Everything had its part of the budget, call-ended too."""
        faults.add(f"{hangs}:hang")
        shipping = Shipping(client)
        shipping.record(pcm(2))
        await until(lambda: faults.hits.total() > 0)
        await shipping.finish(budget=0.3)
        assert roark.accepted("call") == []
        assert roark.seen[-1].what == "call-ended"
        assert shipping.stats.undelivered == ("call-started", "call-ended")
        assert shipping.stats.dropped["time"] >= 2

    @pytest.mark.parametrize("hangs", ["chunk-upload-url", "uploads"])
    async def test_chunks_that_hang_do_not_hold_back_call_ended(
        self, client: RoarkClient, roark: Roark, faults: Faults, hangs: str
    ) -> None:
        """They are given up while there is time left for what matters most."""
        faults.add(f"{hangs}:hang")
        shipping = Shipping(client, limits=QUICK)
        shipping.record(pcm(2))
        await until(lambda: faults.hits.total() == 2)
        await shipping.finish(budget=30.0)
        assert roark.accepted() == ["call-started", "call-ended"]
        assert shipping.lost == [0, 1]
        assert shipping.stats.dropped == {"time": 2}

    async def test_call_started_that_hangs_does_not_hold_back_the_chunks(
        self, client: RoarkClient, roark: Roark, faults: Faults
    ) -> None:
        """The service takes a call whose beginning it never heard of."""
        faults.add("events:hang,count=1")
        shipping = Shipping(client, limits=QUICK)
        shipping.record(pcm(1))
        await until(lambda: faults.hits.total() == 1)
        shipping.uploader.close(30.0)
        await until(lambda: "chunk 0" in roark.accepted() or shipping.lost)
        await shipping.finish()
        assert roark.accepted()[-1] == "call-ended"
        assert shipping.stats.undelivered == ("call-started",)

    async def test_a_budget_of_nothing_ends_at_once(
        self, client: RoarkClient, faults: Faults
    ) -> None:
        """And is not an error."""
        faults.add("*:hang")
        shipping = Shipping(client)
        shipping.record(pcm(1))
        await shipping.finish(budget=0.0)
        assert shipping.stats.events_sent == 0
        assert shipping.stats.undelivered == ("call-started", "call-ended")


class TestChunksThatFail:
    """One does not hold back the others."""

    async def test_a_chunk_that_fails_for_ever_lets_the_others_pass(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """During the call already; at its end it is known which one is missing."""
        roark.broken.add("chunk 1")
        shipping = Shipping(client, limits=QUICK)
        shipping.record(pcm(6))
        await until(lambda: shipping.stats.chunks_sent == 5)
        assert len(roark.asked("chunk 1")) >= 1
        assert shipping.lost == []
        await shipping.finish(budget=30.0)
        assert shipping.lost == [1]
        assert shipping.stats.dropped == {"time": 1}
        assert roark.accepted()[-1] == "call-ended"
        assert roark.call(CALL)["recording"]["missing"] == [1]
        assert shipping.uploader.last_failure == "status 503"

    async def test_as_many_as_are_under_way_at_once_do_not_either(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """After a few tries in a row a chunk lines up behind the others."""
        roark.broken |= {f"chunk {index}" for index in range(LIMITS.in_flight)}
        shipping = Shipping(client)
        shipping.record(pcm(8))
        await until(lambda: shipping.stats.chunks_sent == 8 - LIMITS.in_flight)
        asked = [seen.what for seen in roark.asked("chunk")]
        tries = Counter(asked[: asked.index("chunk 3")])
        assert tries.most_common(1)[0][1] == LIMITS.tries_in_a_row
        roark.broken.clear()
        await shipping.finish()
        assert shipping.lost == []
        assert roark.recording(CALL)[44:] == pcm(8)

    async def test_what_had_no_room_is_counted_and_known(
        self, client: RoarkClient, roark: Roark, faults: Faults
    ) -> None:
        """Memory is bounded: what comes on top is silence, and a gap that call-ended tells of."""
        faults.add("events:status=503")
        records: list[Mapping[str, Any]] = []
        limits = replace(LIMITS, max_memory=2 * SIZE)
        outbox = Outbox(limits=limits, on_record=records.append)
        shipping = Shipping(client, outbox=outbox)
        shipping.record(pcm(4))
        faults.clear()
        await shipping.finish()
        assert roark.recording(CALL)[44:] == pcm(4)[: 2 * SIZE] + bytes(2 * SIZE)
        gaps = [record["start"] for record in records if record["type"] == "gap"]
        assert gaps == [2 * SIZE, 3 * SIZE]
        assert shipping.lost == []

    async def test_an_outage_loses_nothing(
        self, client: RoarkClient, roark: Roark, faults: Faults
    ) -> None:
        """In the middle of a call, longer than any chunk's tries in a row."""
        shipping = Shipping(client)
        shipping.record(pcm(2))
        await until(lambda: shipping.stats.chunks_sent == 2)
        faults.add("*:drop")
        for _ in range(6):
            shipping.record(pcm(1))
        await until(lambda: faults.hits.total() > 6 * LIMITS.tries_in_a_row)
        faults.clear()
        for _ in range(2):
            shipping.record(pcm(1))
        await shipping.finish()
        expected = pcm(2) + 8 * pcm(1)
        assert roark.recording(CALL)[44:] == expected
        assert sorted(roark.accepted("chunk")) == sorted(f"chunk {index}" for index in range(10))
        assert shipping.lost == []
        assert shipping.stats.dropped == {}
        assert shipping.stats.retries > 0

    async def test_a_short_outage_does_not_even_change_their_order(self) -> None:
        """Within its tries in a row a chunk keeps its place."""
        client = Recovering(failures=LIMITS.in_flight * 2)
        shipping = Shipping(client)
        shipping.record(pcm(7))
        await shipping.finish()
        assert client.arrived == list(range(7))

    async def test_after_a_long_outage_what_waits_goes_in_order(self) -> None:
        """Also what had lined up behind the others meanwhile."""
        client = Recovering(failures=LIMITS.in_flight * (LIMITS.tries_in_a_row + 1))
        shipping = Shipping(client)
        shipping.record(pcm(9))
        await shipping.finish()
        assert sorted(client.arrived) == list(range(9))
        assert client.arrived[0] != 0
        waited = client.arrived[LIMITS.in_flight :]  # the others were under way when it ended
        assert waited == sorted(waited)

    async def test_a_chunk_that_fails_while_others_arrive_stays_behind_them(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """However often it comes to its turn."""
        roark.broken.add("chunk 1")
        shipping = Shipping(client)
        shipping.record(pcm(30))
        await until(lambda: shipping.stats.chunks_sent == 29)
        asked = [seen.what for seen in roark.asked("chunk")]
        assert asked[: asked.index("chunk 20")].count("chunk 1") == LIMITS.tries_in_a_row
        roark.broken.clear()
        await shipping.finish()
        assert shipping.lost == []

    async def test_what_is_not_the_first_try_is_a_retry(self) -> None:
        """Also after a chunk had lined up behind the others."""
        shipping = Shipping(Recovering(failures=18))
        shipping.record(pcm(7))
        await shipping.finish()
        assert shipping.stats.retries == 18
        assert shipping.stats.attempts == 18 + 7 + 2


class TestItsOwnErrors:
    """A request that cannot even be made."""

    @pytest.mark.parametrize("method", ["create_upload", "upload"])
    async def test_a_broken_chunk_does_not_cost_the_call(
        self,
        client: RoarkClient,
        roark: Roark,
        monkeypatch: pytest.MonkeyPatch,
        internal_errors: list[Exception],
        method: str,
    ) -> None:
        """It is lost, it is counted, and call-ended goes."""

        async def broken(*args: Any, **kwargs: Any) -> None:
            raise TypeError("internal")

        monkeypatch.setattr(client, method, broken)
        shipping = Shipping(client)
        shipping.record(pcm(1))
        await shipping.finish()
        assert roark.accepted() == ["call-started", "call-ended"]
        assert shipping.lost == [0]
        assert shipping.guard.count == len(internal_errors) == 1
        internal_errors.clear()

    @pytest.mark.parametrize("what", ["post_event", "create_upload", "upload", "_route"])
    async def test_what_goes_wrong_in_here_waits_in_the_spool(
        self,
        client: RoarkClient,
        roark: Roark,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        internal_errors: list[Exception],
        what: str,
    ) -> None:
        """A lacking module, a bad variable: the next process may do better. It is counted."""

        def broken(*args: Any, **kwargs: Any) -> None:
            raise ImportError("internal")

        monkeypatch.setattr(client, what, broken)
        spool = Spool(tmp_path / "spool").begin(CALL)
        outbox = Outbox(spool, limits=LIMITS)
        outbox.append_record({"type": "call"})
        shipping = Shipping(client, outbox=outbox)
        shipping.record(pcm(1))
        await shipping.finish()
        chunk_fails, event_fails = what != "post_event", what in ("post_event", "_route")
        assert shipping.stats.spooled == chunk_fails + 2 * event_fails
        assert len(roark.accepted()) == 3 - shipping.stats.spooled
        assert len(shipping.lost) == chunk_fails
        assert len(shipping.stats.undelivered) == 2 * event_fails
        assert len(list(spool.path.glob("*.pcm"))) == chunk_fails
        assert shipping.stats.dropped == {}
        assert shipping.uploader.last_failure == "ImportError"
        assert shipping.guard.count == len(internal_errors) == shipping.stats.spooled
        internal_errors.clear()
        spool.release()

    async def test_a_store_that_fails_does_not_cost_call_ended(
        self, client: RoarkClient, roark: Roark, internal_errors: list[Exception]
    ) -> None:
        """Whatever stands between the recording and the service."""

        class Failing(Outbox):
            failures = 1

            def take(self) -> Chunk | None:
                self.failures -= 1
                if self.failures == 0:
                    raise OSError("disk")
                return super().take()

        shipping = Shipping(client, outbox=Failing(limits=LIMITS))
        shipping.record(pcm(1))
        await until(lambda: shipping.guard.count == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not shipping.ended_asked  # the call goes on
        await shipping.finish()
        assert roark.accepted() == ["call-started", "call-ended"]
        assert shipping.lost == [0]
        internal_errors.clear()


class TestIdempotencyKeys:
    """The same for the same."""

    def test_a_key_depends_on_the_content_alone(self) -> None:
        """Another process makes the same one, whatever the order of the keys."""
        event = {
            "event": "call-started",
            "livekitCallId": CALL,
            "eventTimestamp": "2025-11-24T08:19:03.412Z",
            "agentId": "support",
            "isTest": False,
        }
        key = idempotency_key(CALL, "call-started", event)
        turned = dict(reversed(event.items()))
        assert idempotency_key(CALL, "call-started", turned) == key
        assert key == "fd3e39e2-9126-5f64-93c0-f8756601c4dd"

    @pytest.mark.parametrize(
        ("call", "name", "body"),
        [
            ("RM_2", "call-started", STARTED),
            (CALL, "call-ended", STARTED),
            (CALL, "call-started", STARTED | {"isTest": True}),
        ],
    )
    def test_another_event_has_another_key(self, call: str, name: str, body: Any) -> None:
        """Two events under one key would be one."""
        assert idempotency_key(call, name, body) != idempotency_key(CALL, "call-started", STARTED)

    def test_half_a_surrogate_pair_in_an_id_has_a_key(self) -> None:
        """It is sent as the id that UTF-8 has a place for, and has that one's key."""
        body = {"event": "call-started", "agentId": "a\udfffb"}
        key = idempotency_key("RM_\ud800", "call-started", body)
        assert key == idempotency_key("RM_?", "call-started", body)

    def test_the_events_of_these_tests_are_what_the_service_takes(self) -> None:
        """A check of the fixtures."""
        from tests.support.wire import received

        assert received(STARTED) == STARTED
        assert received(ENDED) == ENDED
