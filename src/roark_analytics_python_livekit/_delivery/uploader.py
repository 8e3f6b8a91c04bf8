"""Sends one call: what goes first, how much at once, and what is given up when."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

from .._call.records import SentRecord
from .._diagnostics import Guard
from .._serialize import json_digest
from ..client import RequestError, RoarkClient
from .chunks import Chunk
from .limits import DEFAULT_LIMITS, Deadline, Limits
from .outbox import Outbox
from .retry import Retrier, RetryQuota
from .stats import CallStats, Outcome

_KEYS = uuid.UUID("5f0c6f2c-6a0e-5d0b-9a64-0d5c3a9b7e11")


class Uploader:
    """Sends one call: call-started, then chunks in order (a few in flight), then call-ended.

    While the call runs, what can succeed is tried again for as long as it takes. `close` starts
    the budget; when it is over everything stops, delivered or not.
    """

    def __init__(
        self,
        client: RoarkClient,
        call_id: str,
        outbox: Outbox,
        *,
        guard: Guard,
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.stats = CallStats(done=False)
        self.lost: list[Chunk] = []  # the service does not have them
        self.ran_out_of_time = False  # before the last chunk
        self._client = client
        self._call_id = call_id
        self._outbox = outbox
        self._guard = guard
        self._limits = limits
        self._deadline = Deadline(clock)
        quota = RetryQuota(limits.retry.burst, limits.retry.rate)
        self._retrier = Retrier(
            call_id, self.stats, self._deadline, guard, limits.retry, quota, clock, jitter
        )
        self._failed: set[int] = set()  # the chunks of which a try failed
        self._exhausted = 0  # chunks that had all their tries
        self._chunk_ready = asyncio.Event()
        self._recording_finished = asyncio.Event()

    @property
    def last_failure(self) -> str | None:
        """Why the latest request failed, if one did."""
        return self._retrier.last_failure

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing that could still be delivered later."""
        return not self.stats.spooled

    @property
    def is_hopeless(self) -> bool:
        """Whether another call, with the same key at the same service, would fare no better."""
        stopped = self._retrier.stopped
        return not self._retrier.answered or (stopped is not None and stopped.stops_the_call)

    def chunk_ready(self) -> None:
        """The outbox may have something to take: asked four times a second, mostly in vain."""
        if self._outbox.waiting:
            self._chunk_ready.set()

    def recording_finished(self) -> None:
        """The outbox will get nothing more of the recording."""
        self._recording_finished.set()
        self._chunk_ready.set()

    def close(self, budget: float) -> None:
        """The call is over: `budget` seconds are left for everything that is not delivered."""
        self._deadline.close(budget)

    async def run(
        self,
        started: Mapping[str, Any] | None,
        make_ended: Callable[[], Awaitable[Mapping[str, Any] | None]],
    ) -> None:
        """Delivers the call; returns when all is delivered or given up.

        `make_ended` is called once the chunks are settled. An event is None if the service has it.
        """
        self._deadline.begin()
        if started is not None:
            await self._part(self._send_event(started), self._limits.started_share)
        await self._part(self._send_chunks(), self._limits.chunks_share)
        self._give_up_waiting_chunks()
        await self._deadline.closing()
        if (ended := await make_ended()) is not None:
            await self._part(self._send_event(ended), 1.0)

    async def _part(self, work: Coroutine[Any, Any, None], share: float) -> None:
        with self._guard("delivery"):
            await self._deadline.run(work, share)

    # Events

    async def _send_event(self, event: Mapping[str, Any]) -> None:
        name = str(event["event"])
        self.stats.begin_event(name)

        async def post() -> None:
            key = idempotency_key(self._call_id, name, event)
            await self._client.post_event(event, idempotency_key=key)

        outcome = Outcome.TIME
        try:
            outcome = await self._retrier.make(post, tries=self._limits.tries)
        finally:
            self._settle_event(name, outcome)

    def _settle_event(self, name: str, outcome: Outcome) -> None:
        if outcome is Outcome.OK:
            self.stats.event_sent(name)
            sent: SentRecord = {"type": "sent", "event": name}
            self._outbox.append_record(sent)
        elif self._outbox.is_spooled and outcome is not Outcome.REFUSED:
            if outcome is Outcome.LATER and name == "call-started":
                self._retrier.stop(outcome)
            self.stats.spooled += 1
        else:
            self.stats.drop(_final(outcome))

    # Chunks

    async def _send_chunks(self) -> None:
        in_flight: set[asyncio.Task[None]] = set()
        try:
            while in_flight or self._may_take or not self._recording_finished.is_set():
                while self._may_take and len(in_flight) < self._limits.in_flight:
                    if (chunk := self._outbox.take()) is not None:
                        in_flight.add(asyncio.ensure_future(self._send_chunk(chunk)))
                await self._next_change(in_flight)
                in_flight = {task for task in in_flight if not task.done()}
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)

    @property
    def _may_take(self) -> bool:
        """Whether there is a chunk to send, and time and hope for it."""
        hope = self.stats.chunks_sent > 0 or self._exhausted < self._limits.in_flight
        time_left = self._deadline.time_left(self._limits.chunks_share)
        return hope and time_left > 0 and self._outbox.waiting > 0

    async def _next_change(self, in_flight: set[asyncio.Task[None]]) -> None:
        ready = asyncio.ensure_future(self._chunk_ready.wait())
        try:
            await asyncio.wait({ready, *in_flight}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            self._chunk_ready.clear()

    async def _send_chunk(self, chunk: Chunk) -> None:
        """One chunk; an error in here costs no other one."""
        try:
            await self._make_upload(chunk)
        except Exception as error:
            self._guard.swallow("a chunk", error)
            self.lost.append(chunk)
            self.stats.spooled += self._outbox.is_spooled

    async def _make_upload(self, chunk: Chunk) -> None:
        outcome = Outcome.LATER
        try:
            outcome = await self._retrier.make(
                lambda: self._upload(chunk),
                tries=self._limits.tries_in_a_row,
                again=chunk.index in self._failed,
            )
        finally:
            self._settle_chunk(chunk, outcome)

    def _settle_chunk(self, chunk: Chunk, outcome: Outcome) -> None:
        if outcome is Outcome.LATER and self._limits.tries is None:
            self._outbox.put_back(chunk)
        elif outcome is Outcome.OK:
            self.stats.chunk_sent(chunk.size)
            self._outbox.settle(chunk, outcome)
            if chunk.index in self._failed:  # the service is back: it was not this chunk's fault
                self._outbox.reset_order()
        else:
            self._exhausted += outcome is Outcome.LATER
            self._lose(chunk, _final(outcome))

    async def _upload(self, chunk: Chunk) -> None:
        """One try: a fresh URL, then the bytes."""
        for left in reversed(range(self._limits.fresh_urls)):
            try:
                body = _opened(chunk)
                upload = await self._client.create_upload(
                    self._call_id, chunk.index, chunk.content_type
                )
                self._retrier.answered = True
                await self._client.upload(upload, body, size=chunk.size)
                return
            except RequestError as error:
                if error.outcome is not Outcome.EXPIRED or not left:
                    self._failed.add(chunk.index)
                    raise
                self.stats.attempt(again=True)

    def _give_up_waiting_chunks(self) -> None:
        self.ran_out_of_time = not self._deadline.time_left(self._limits.chunks_share)
        for chunk in iter(self._outbox.take, None):
            self._lose(chunk, Outcome.TIME)

    def _lose(self, chunk: Chunk, outcome: Outcome) -> None:
        """A chunk is not delivered: kept in the spool if it may be later, else given up."""
        self.lost.append(chunk)
        if self._outbox.is_spooled and outcome is not Outcome.REFUSED:
            self._outbox.keep(chunk)
            self.stats.spooled += 1
        else:
            self._outbox.settle(chunk, outcome)
            self.stats.drop(outcome)


def _opened(chunk: Chunk) -> bytes | AsyncIterator[bytes]:
    """The bytes of a chunk; one that cannot be read now is not lost."""
    try:
        return chunk.open()
    except OSError as error:
        reason = f"the spool cannot be read ({error.strerror or type(error).__name__})"
        raise RequestError(Outcome.LATER, reason) from None


def _final(outcome: Outcome) -> Outcome:
    """What there is no later for had too little time."""
    return Outcome.TIME if outcome is Outcome.LATER else outcome


def idempotency_key(call_id: str, name: str, body: Mapping[str, Any]) -> str:
    """The same key for the same content, in this process and in any later one."""
    digest = json_digest(body)  # as it always was: spools outlive upgrades
    sent = call_id.encode("utf-8", "replace").decode()  # an id with half a surrogate pair is none
    return str(uuid.uuid5(_KEYS, f"{sent}/{name}/{digest}"))
