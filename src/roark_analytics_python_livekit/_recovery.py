"""Delivers the calls that dead processes left in the spool, as far as this key can."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from ._call.ended import ended_records
from ._call.facts import account_of
from ._call.records import CallRecord
from ._call.state import CallState, reading_state
from ._delivery.call_spool import CallSpool
from ._delivery.chunks import wav_data_bytes
from ._delivery.claim import heartbeat
from ._delivery.limits import DEFAULT_LIMITS, Limits
from ._delivery.outbox import Left, Outbox
from ._delivery.record_file import Contents
from ._delivery.spool import Spool
from ._delivery.stats import Outcome
from ._delivery.uploader import Uploader
from ._diagnostics import Guard, logger
from ._process import unremoved
from ._steps import in_steps
from .client import RoarkClient

SLOW = 5.0  # seconds after which a call gets another one beside it, which it does not keep waiting
AT_ONCE = 3  # calls
IN_FLIGHT = 2  # chunks of each; live calls have more
TURN = 300.0  # seconds for one call, then it is the next one's turn; a request has 34 s at most
WAV_TURN = 24 * 3600.0  # seconds for one that is a single upload, over an uplink that is slow
FRUITLESS = 2  # calls in a row of which nothing is taken, until the others are left for later
TRIES = 4  # of each request; a service that is down then is tried again by the next process

Owner = Literal["ours", "other key", "elsewhere"]  # elsewhere is at another service


@dataclass(frozen=True)
class Recovered:
    """What became of one call."""

    call_id: str | None  # None where the journal is not readable
    outcome: Outcome  # OK, LATER (kept), FOREIGN, UNREADABLE (set aside) or EMPTY (removed)
    chunks: int = 0  # delivered now
    events: int = 0  # delivered now
    reason: str | None = None  # why it is kept, or whose it is
    hopeless: bool = False  # the next call would fare no better
    is_cut_off: bool = False  # its turn was over, something was delivered, and more may be


async def recover_all(
    spool: Spool,
    client: RoarkClient,
    guard: Guard,
    *,
    any_key: bool = False,
    any_service: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    clock: Callable[[], float] = time.monotonic,
    on_call: Callable[[Recovered], None] = lambda recovered: None,
) -> None:
    """Claims and delivers abandoned calls of this service, one after the other.

    Those of other keys are left alone unless `any_key`, those that were for other services unless
    `any_service`. Goes round as long as there is progress: a call's turn is bounded, and what was
    tried comes last the next time, also in another process. Stops where the key is refused or
    nobody answers, and after two calls in a row of which the service takes nothing: the next would
    fare no better. A call that is cancelled in the middle is left as it is. The size of a chunk in
    `limits` is that of the dead processes.
    """
    limits = replace(limits, tries=TRIES, in_flight=IN_FLIGHT)
    recovery = _Recovery(client, guard, limits, clock, any_key, any_service)
    async with heartbeat():
        spool.evict()
        while await _Round(spool, recovery, guard, on_call).go():
            pass
        spool.evict(clock_is_right=client._clock_is_right())


class _Round:
    """Each abandoned call once, one after the other; beside one that is slow, a few at a time."""

    def __init__(
        self,
        spool: Spool,
        recovery: _Recovery,
        guard: Guard,
        on_call: Callable[[Recovered], None],
    ) -> None:
        self._calls = spool.abandoned()
        self._recovery = recovery
        self._guard = guard
        self._on_call = on_call
        self._fruitless = 0
        self._is_over = False
        self._may_go_on = False

    async def go(self) -> bool:
        """Returns whether another round may deliver more."""
        workers: list[asyncio.Task[None]] = []
        try:
            while len(workers) < AT_ONCE and not any(worker.done() for worker in workers):
                workers.append(asyncio.ensure_future(self._work()))
                await asyncio.wait(workers, timeout=SLOW, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return self._may_go_on and not self._is_over

    async def _work(self) -> None:
        while not self._is_over and (call := next(self._calls, None)) is not None:
            recovered: Recovered | None = None
            with self._guard("recovery"):
                recovered = await self._recovery.recover(call)
            if recovered is not None:
                self._take(recovered, call)
            await asyncio.sleep(0)

    def _take(self, recovered: Recovered, call: CallSpool) -> None:
        self._on_call(recovered)
        _log(recovered, call)
        has_progress = recovered.events + recovered.chunks > 0
        is_left = recovered.outcome is Outcome.LATER
        self._may_go_on |= recovered.is_cut_off
        if recovered.outcome is Outcome.OK or has_progress:
            self._fruitless = 0
        else:
            self._fruitless += is_left
        self._is_over |= recovered.hopeless or self._fruitless >= FRUITLESS


def owner_of(call: CallRecord, base_url: str, api_key: str) -> Owner:
    """Whose a call is, seen from a key at a service."""
    if call["base_url"] != base_url:
        return "elsewhere"
    return "ours" if call["account"] == account_of(api_key) else "other key"


def _other_owner(call: CallRecord, client: RoarkClient) -> str:
    """Whose a call is that this client may not deliver."""
    if owner_of(call, client.base_url, client.api_key) == "other key":
        return "another key"
    return f"another service ({call['base_url']})"


@dataclass(frozen=True)
class _Recovery:
    """Delivers one claimed call after the other, with one client."""

    client: RoarkClient
    guard: Guard
    limits: Limits
    clock: Callable[[], float]
    any_key: bool
    any_service: bool

    async def recover(self, call: CallSpool) -> Recovered:
        """Delivers a call, or leaves it to others; claimed no more, unless it has yet to go."""
        call_id = None
        try:
            journal = await in_steps(call.reading_journal())
            state = await in_steps(reading_state(journal.records()))
            if state is None or state.facts is None or state.call is None:
                return Recovered(None, _put_away(call, journal))
            call_id = state.facts.call_id
            if not self._may_deliver(state.call):
                whose = _other_owner(state.call, self.client)
                return Recovered(call_id, Outcome.FOREIGN, reason=whose)
            call.postpone()  # whatever ends this: the others go first the next time
            return await self._deliver(call, journal, state, call_id)
        except OSError as error:  # the disk may give it another time
            reason = f"the spool cannot be read ({error.strerror or type(error).__name__})"
            return Recovered(call_id, Outcome.LATER, reason=reason)
        finally:
            if call not in unremoved:  # else it is delivered, and nobody is to do it again
                call.release()

    def _may_deliver(self, call: CallRecord) -> bool:
        base_url = call["base_url"] if self.any_service else self.client.base_url
        owner = owner_of(call, base_url, self.client.api_key)
        return owner == "ours" or (owner == "other key" and self.any_key)

    async def _deliver(
        self, call: CallSpool, journal: Contents, state: CallState, call_id: str
    ) -> Recovered:
        outbox = Outbox(call, whole=_is_wav(state), limits=self.limits, on_record=state.apply)
        uploader = Uploader(
            self.client,
            call_id,
            outbox,
            guard=self.guard,
            limits=self.limits,
            clock=self.clock,
        )

        async def make_ended() -> dict[str, Any] | None:
            gaps = Counter(gap.get("reason") for gap in state.recording.gaps.values())
            uploader.stats.dropped_so_far(Outcome.PAUSED, state.withheld)
            uploader.stats.dropped_so_far(Outcome.FULL, gaps[Outcome.FULL.value])
            uploader.stats.dropped_so_far(Outcome.DAMAGED, gaps[None] + journal.damaged)
            return await _ended_event(state, outbox, uploader)

        finished = False
        try:
            await _restore_recording(state, outbox, is_whole=journal.is_whole)
            uploader.close(WAV_TURN if _is_wav(state) else TURN)
            uploader.recording_finished()
            started = None if "call-started" in state.sent else state.started_event()
            await uploader.run(started, make_ended)
            finished = uploader.is_complete
        finally:
            outbox.close(finished=finished)
        return Recovered(
            call_id,
            Outcome.OK if finished else Outcome.LATER,
            chunks=uploader.stats.chunks_sent,
            events=uploader.stats.events_sent,
            reason=uploader.last_failure,
            hopeless=not finished and uploader.is_hopeless,
            is_cut_off=_is_cut_off(uploader),
        )


def _put_away(call: CallSpool, journal: Contents) -> Outcome:
    """What becomes of a call when nobody can say whose it is."""
    if call.chunk_indices() or journal.damaged or journal.bodies:
        call.set_aside()
        return Outcome.UNREADABLE
    call.remove()
    return Outcome.EMPTY


async def _restore_recording(state: CallState, outbox: Outbox, *, is_whole: bool) -> None:
    recording, is_final = state.recording, state.end is not None
    length = recording.pcm_bytes
    if not is_final:
        chunks = recording.chunks.values()
        length = max((chunk["start"] + chunk["size"] for chunk in chunks), default=0)
        if length and _is_wav(state):
            length = wav_data_bytes(length)  # it was the one file
    # one for which there was no room is delivered as silence, perhaps again
    full = Outcome.FULL.value
    left = Left(
        {index for index, chunk in recording.chunks.items() if chunk["result"] != full},
        recording.sealed,
        recording.gaps.keys(),
        length,
    )
    length = await in_steps(outbox.restoring(left, final=is_final, intact=is_whole))
    if not is_final:
        recording.pcm_bytes = length
    if recording.rate is not None:
        outbox.finish_recording(recording.rate)


def _is_wav(state: CallState) -> bool:
    return state.call is not None and state.call["recording"] == "wav"


async def _ended_event(
    state: CallState, outbox: Outbox, uploader: Uploader
) -> dict[str, Any] | None:
    """call-ended, as it is now; as it was built before, where no chunk came on top.

    One that would differ in nothing but counts and reasons is not made: a service that is down for
    a week would get it at each try, and the journal would grow. None if the service has it, or if
    the next turn will know better.
    """
    if _is_cut_off(uploader):
        return None
    if state.ended is not None and not state.is_outdated:
        return None if "call-ended" in state.sent else state.ended
    missing = {chunk.start: chunk.size for chunk in uploader.lost}
    for chunk in state.recording.chunks.values():
        if chunk["result"] != Outcome.OK.value:
            missing[chunk["start"]] = chunk["size"]
    event = state.ended_event(
        uploader.stats.counts(recovered=True), missing.items(), uploader.last_failure
    )
    await in_steps(outbox.appending(ended_records(event)))
    return event


def _is_cut_off(uploader: Uploader) -> bool:
    is_short = uploader.ran_out_of_time and bool(uploader.lost)
    return is_short and uploader.stats.chunks_sent > 0


def _log(recovered: Recovered, call: CallSpool) -> None:
    if recovered.outcome is Outcome.OK:
        logger.info("roark: call %s recovered from the spool", recovered.call_id)
    if recovered.outcome is Outcome.EMPTY:
        logger.warning("roark: a call without a readable journal was removed from the spool")
    if recovered.outcome is Outcome.UNREADABLE:
        text = "roark: a call without a readable journal was set aside in the spool (%s)"
        logger.warning(text, call.path.name)
