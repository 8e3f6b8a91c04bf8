"""The one place that joins store, retry and client: order, concurrency, deadlines, counters."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .._diagnostics import Guard, logger
from .._types import DeliveryCounts
from ..client import RequestError, RoarkClient
from .outbox import Chunk, Outbox
from .retry import Outcome, RetryPolicy, RetryQuota

IN_FLIGHT = 3  # chunks uploaded at the same time
TRIES_IN_A_ROW = 4  # of one chunk, before the others get their turn
MAX_FRESH_URLS = 4  # presigned URLs for one chunk that may turn out to be expired

# Of the shutdown budget, what may be spent until call-started and the chunks are given up; the
# rest belongs to call-ended, which matters most.
STARTED_SHARE, CHUNKS_SHARE = 0.3, 0.7

Stopped = Literal["unauthorized", "untrusted"]
Result = Literal["ok", "later", "refused", "expired", "time"] | Stopped
"""Accepted, to be tried again, or why it was given up."""

_KEYS = uuid.UUID("5f0c6f2c-6a0e-5d0b-9a64-0d5c3a9b7e11")


@dataclass
class DeliveryStats:
    """Counts of one call's delivery.

    Attributes:
        attempts: Tries of an event or a chunk; asking where a chunk goes is part of its try.
        retries: How many of them were repetitions.
        events: call-started and call-ended, as far as they were accepted.
        chunks: Pieces of the recording that were accepted.
        bytes: Their length.
        spooled: Events and chunks that wait in the spool to be delivered later.
        dropped: What was given up, by reason.
    """

    attempts: int = 0
    retries: int = 0
    events: int = 0
    chunks: int = 0
    bytes: int = 0
    spooled: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class Uploader:
    """Sends one call: call-started, then chunks in order (a few in flight), then call-ended.

    While the call runs, what can succeed is tried again for as long as it takes. `close` starts
    the budget; when it is over everything stops, delivered or not.

    Args:
        client: Makes the requests.
        call_id: The call's `livekitCallId`.
        store: Where the chunks wait.
        guard: Counts what goes wrong in here.
        policy: Delays between tries.
        clock: Monotonic seconds.
        jitter: Random numbers from [0, 1).
        tries: Of each request at the most; None makes as many as the time allows. The rest is not
            tried once call-started had so many, nor the other chunks once the first few had.
    """

    def __init__(
        self,
        client: RoarkClient,
        call_id: str,
        store: Outbox,
        *,
        guard: Guard,
        policy: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        tries: int | None = None,
    ) -> None:
        self.stats = DeliveryStats()
        self.lost: list[Chunk] = []  # chunks that Roark does not have
        self.kept = 0  # how many of them wait in the spool
        self.undelivered: list[str] = []  # events that Roark does not have
        self.unsent: list[str] = []  # those of them that may still be accepted
        self.answered = False  # something was, in whichever way
        self._client = client
        self._call_id = call_id
        self._store = store
        self._guard = guard
        self._policy = policy or RetryPolicy()
        self._clock = clock
        self._jitter = jitter
        self._tries = tries
        self._quota = RetryQuota()
        self._failed: set[int] = set()  # the chunks of which a try failed
        self._exhausted = 0  # chunks that had all their tries
        self._chunk_ready = asyncio.Event()
        self._closing = asyncio.Event()
        self._sealed = asyncio.Event()
        self._closed_at = self._began_at = 0.0
        self._budget = 0.0
        self._stopped: Stopped | Literal["later"] | None = None
        self._last_failure: str | None = None

    def counts(self, *, recovered: bool = False) -> DeliveryCounts:
        """The counts, as call-ended has them."""
        return {
            "attempts": self.stats.attempts,
            "retries": self.stats.retries,
            "dropped": dict(self.stats.dropped),
            "recovered": recovered,
        }

    @property
    def last_failure(self) -> str | None:
        """In a few words, why the latest request failed; None if none did."""
        return self._last_failure

    @property
    def is_hopeless(self) -> bool:
        """Whether another call, with the same key at the same service, would fare no better."""
        return self._stopped in ("unauthorized", "untrusted") or not self.answered

    def chunk_ready(self) -> None:
        """The store may have something to take."""
        self._chunk_ready.set()

    def close(self, budget: float) -> None:
        """The call is over: `budget` seconds are left for everything that is not delivered."""
        if not self._closing.is_set():
            self._closed_at, self._budget = self._clock(), budget
            self._closing.set()

    def sealed(self) -> None:
        """The recording is complete; the store will get nothing more."""
        self._sealed.set()
        self._chunk_ready.set()

    async def run(
        self,
        started: Mapping[str, Any] | None,
        make_ended: Callable[[], Awaitable[Mapping[str, Any] | None]],
    ) -> None:
        """Delivers the call; returns when all is delivered or given up.

        Args:
            started: The call-started event; None if Roark has it.
            make_ended: Gives the call-ended event, once the chunks are settled; None if Roark
                has it.
        """
        self._began_at = self._clock()
        if started is not None:
            await self._phase(self._send_event(started), STARTED_SHARE)
        await self._phase(self._send_chunks(), CHUNKS_SHARE)
        self._give_up_waiting_chunks()
        await self._closing.wait()
        if (ended := await make_ended()) is not None:
            await self._phase(self._send_event(ended), 1.0)

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing that could still be delivered later."""
        return not self.unsent and not self.kept

    # Deadlines

    async def _phase(self, work: Coroutine[Any, Any, None], share: float) -> None:
        """Runs a part of the delivery until it is done or its share of the budget is spent."""
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=self._time_left(share))
        finally:
            for pending in (task, closing):
                pending.cancel()
            await asyncio.gather(task, closing, return_exceptions=True)
        if not task.cancelled():
            with self._guard("delivery"):
                task.result()

    def _time_left(self, share: float = 1.0) -> float:
        """Seconds until the share of the budget is spent; without end while the call runs.

        Where the call was over before there was anything to send, it is a share of the rest.
        """
        if not self._closing.is_set():
            return float("inf")
        begin, end = max(self._closed_at, self._began_at), self._closed_at + self._budget
        return max(0.0, begin + (end - begin) * share - self._clock())

    async def _pause(self, seconds: float) -> None:
        """Waits between tries; the end of the call cuts it short, once."""
        if self._closing.is_set():
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    # Events

    async def _send_event(self, event: Mapping[str, Any]) -> None:
        name = str(event["event"])
        self.undelivered.append(name)

        async def post() -> None:
            key = idempotency_key(self._call_id, name, event)
            await self._client.post_event(event, idempotency_key=key)

        result: Result = "time"
        try:
            result = await self._try(post, tries=self._tries)
        finally:
            self._settle_event(name, result)

    def _settle_event(self, name: str, result: Result) -> None:
        if result == "ok":
            self.stats.events += 1
            self.undelivered.remove(name)
            self._store.note({"type": "sent", "event": name})
        elif self._store.spooled and result != "refused":
            if result == "later" and name == "call-started":
                self._stopped = self._stopped or "later"
            self.unsent.append(name)
            self.stats.spooled += 1
        else:
            self.stats.dropped["time" if result == "later" else result] += 1

    # Chunks

    async def _send_chunks(self) -> None:
        in_flight: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._fill(in_flight)
                if self._sealed.is_set() and not in_flight and not self._may_take:
                    return
                await self._next_change(in_flight)
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)

    def _fill(self, in_flight: set[asyncio.Task[None]]) -> None:
        for task in [task for task in in_flight if task.done()]:
            in_flight.discard(task)
            task.result()
        while len(in_flight) < IN_FLIGHT and self._may_take:
            if (chunk := self._store.take()) is not None:
                in_flight.add(asyncio.ensure_future(self._send_chunk(chunk)))

    @property
    def _may_take(self) -> bool:
        """Whether there is a chunk to send, and hope for it."""
        hope = self.stats.chunks > 0 or self._exhausted < IN_FLIGHT
        return hope and self._store.waiting > 0

    async def _next_change(self, in_flight: set[asyncio.Task[None]]) -> None:
        ready = asyncio.ensure_future(self._chunk_ready.wait())
        try:
            await asyncio.wait({ready, *in_flight}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            self._chunk_ready.clear()

    async def _send_chunk(self, chunk: Chunk) -> None:
        result: Result = "later"
        again = chunk.index in self._failed
        try:
            result = await self._try(lambda: self._upload(chunk), tries=TRIES_IN_A_ROW, again=again)
        finally:
            self._settle_chunk(chunk, result)

    def _settle_chunk(self, chunk: Chunk, result: Result) -> None:
        if result == "later" and self._tries is None:
            self._store.put_back(chunk)
        elif result == "ok":
            self.stats.chunks += 1
            self.stats.bytes += chunk.size
            self._store.settle(chunk, result, keep=False)
            if chunk.index in self._failed:  # the service is back: it was not this chunk's fault
                self._store.in_order()
        else:
            self._exhausted += result == "later"
            self._lose(chunk, "time" if result == "later" else result)

    async def _upload(self, chunk: Chunk) -> None:
        """One try; a chunk that ever failed is known."""
        try:
            await self._put(chunk)
        except RequestError:
            self._failed.add(chunk.index)
            raise

    async def _put(self, chunk: Chunk) -> None:
        """A fresh URL, then the bytes."""
        for fresh in range(MAX_FRESH_URLS):
            upload = await self._client.create_upload(
                self._call_id, chunk.index, chunk.content_type
            )
            self.answered = True
            try:
                await self._client.upload(upload, chunk.open(), size=chunk.size)
                return
            except RequestError as error:
                if error.outcome is not Outcome.EXPIRED or fresh + 1 == MAX_FRESH_URLS:
                    raise
                self.stats.attempts += 1
                self.stats.retries += 1

    def _give_up_waiting_chunks(self) -> None:
        while (chunk := self._store.take()) is not None:
            self._lose(chunk, "time")
        for chunk in self._store.dropped:
            self._lose(chunk, "full")

    def _lose(self, chunk: Chunk, reason: str) -> None:
        """A chunk is not delivered: kept in the spool if it may be later, else given up."""
        self.lost.append(chunk)
        keep = self._store.spooled and reason not in ("refused", "full")
        self._store.settle(chunk, reason, keep=keep)
        if keep:
            self.kept += 1
            self.stats.spooled += 1
        else:
            self.stats.dropped[reason] += 1

    # Tries

    async def _try(
        self,
        request: Callable[[], Awaitable[None]],
        *,
        tries: int | None = None,
        again: bool = False,
    ) -> Result:
        """Makes a request until it succeeds, cannot succeed, or had its `tries`.

        Args:
            request: Makes it once.
            tries: How often, at the most.
            again: It was tried before.
        """
        attempt = 0
        while True:
            if self._stopped is not None:
                return self._stopped
            self.stats.attempts += 1
            self.stats.retries += again or attempt > 0
            try:
                await request()
                self.answered = True
                return "ok"
            except RequestError as error:
                self.answered |= error.status is not None
                self._last_failure = error.reason
                if error.outcome in (Outcome.UNAUTHORIZED, Outcome.UNTRUSTED):
                    self._stop(error)
                    continue
                if error.outcome is Outcome.EXPIRED:
                    return "expired"
                if error.outcome is not Outcome.RETRY:
                    return "refused"
                delay = self._policy.delay(
                    attempt,
                    jitter=self._jitter(),
                    time_left=self._time_left(),
                    retry_after=error.retry_after,
                    quota=self._quota.take(self._clock()),
                )
            except Exception as error:
                # Nobody refused it, another process may fare better: what is spooled stays there.
                self._last_failure = type(error).__name__
                self._guard.swallow("a request", error)
                return "time"
            if delay is None:
                return "time"
            attempt += 1
            await self._pause(delay)
            if tries is not None and attempt >= tries:
                return "later"

    def _stop(self, error: RequestError) -> None:
        """Nothing more of this call is sent: the next request would fare no better."""
        if self._stopped is None:
            unauthorized = error.outcome is Outcome.UNAUTHORIZED
            self._stopped = "unauthorized" if unauthorized else "untrusted"
            logger.warning(
                "roark: %s (%s); this call is not sent",
                "the API key was refused" if unauthorized else "the service cannot be trusted",
                error.reason,
            )


def idempotency_key(call_id: str, name: str, body: Mapping[str, Any]) -> str:
    """The same key for the same content, in this process and in any later one."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return str(uuid.uuid5(_KEYS, f"{call_id}/{name}/{digest}"))
