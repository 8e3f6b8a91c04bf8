"""Delivers the calls that dead processes left in the spool, as far as this key can."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from ._call.facts import account_of
from ._call.records import CallRecord, EndedRecord
from ._call.state import CallState, read_state
from ._delivery.call_spool import CallSpool
from ._delivery.chunks import wav_data_bytes
from ._delivery.limits import DEFAULT_LIMITS, Limits
from ._delivery.outbox import Outbox
from ._delivery.record_file import Contents
from ._delivery.spool import Spool
from ._delivery.stats import Outcome
from ._delivery.uploader import Uploader
from ._diagnostics import Guard, logger
from .client import RoarkClient

FRUITLESS = 2  # calls in a row of which nothing is taken, until the others are left for later
TRIES = 4  # of each request; a service that is down then is tried again by the next process
BUDGET = 24 * 3600.0  # seconds for one call: a day, for uplinks that are slow but work

Owner = Literal["ours", "other key", "elsewhere"]  # elsewhere is at another service


@dataclass(frozen=True)
class Recovered:
    """What became of one call."""

    call_id: str | None  # None where the journal is not readable
    outcome: Outcome  # OK, LATER (kept), FOREIGN, UNREADABLE (set aside) or EMPTY (removed)
    chunks: int = 0  # delivered now
    events: int = 0  # delivered now
    reason: str | None = None  # why it is kept
    hopeless: bool = False  # the next call would fare no better


async def recover_all(
    spool: Spool,
    client: RoarkClient,
    guard: Guard,
    *,
    any_key: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    clock: Callable[[], float] = time.monotonic,
    on_call: Callable[[Recovered], None] = lambda recovered: None,
) -> None:
    """Claims and delivers abandoned calls of this service, one after the other.

    Those of other keys are left alone unless `any_key`. Stops where the key is refused or nobody
    answers, and after two calls in a row of which the service takes nothing: the next would fare
    no better. What was tried in vain comes last the next time; a call that is cancelled in the
    middle is left as it is. The size of a chunk in `limits` is that of the dead processes.
    """
    recovery = _Recovery(client, guard, replace(limits, tries=TRIES), clock, any_key)
    spool.evict()
    fruitless = 0
    for call in spool.abandoned():
        recovered: Recovered | None = None
        with guard("recovery"):
            recovered = await recovery.recover(call)
        if recovered is None:
            continue
        on_call(recovered)
        _log(recovered, call)
        if recovered.outcome is Outcome.OK or recovered.events or recovered.chunks:
            fruitless = 0
        elif recovered.outcome is Outcome.LATER:
            fruitless += 1
        if recovered.hopeless or fruitless == FRUITLESS:
            return


def owner_of(call: CallRecord, base_url: str, api_key: str) -> Owner:
    """Whose a call is, seen from a key at a service."""
    if call["base_url"] != base_url:
        return "elsewhere"
    return "ours" if call["account"] == account_of(api_key) else "other key"


@dataclass(frozen=True)
class _Recovery:
    """Delivers one claimed call after the other, with one client."""

    client: RoarkClient
    guard: Guard
    limits: Limits
    clock: Callable[[], float]
    any_key: bool

    async def recover(self, call: CallSpool) -> Recovered:
        """Delivers a call, or leaves it to others; it is claimed no more afterwards."""
        try:
            journal = call.read_journal()
            state = read_state(journal.records)
            if state is None or state.facts is None or state.call is None:
                return Recovered(None, _put_away(call, journal))
            if not self._may_deliver(state.call):
                return Recovered(state.facts.call_id, Outcome.FOREIGN)
            return await self._deliver(call, journal, state, state.facts.call_id)
        finally:
            call.release()

    def _may_deliver(self, call: CallRecord) -> bool:
        owner = owner_of(call, self.client.base_url, self.client.api_key)
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
            return _ended_event(state, outbox, uploader)

        finished = False
        try:
            _restore_recording(state, outbox, is_whole=journal.is_whole)
            damaged = len(state.recording.gaps) + journal.damaged
            uploader.stats.dropped_so_far(Outcome.DAMAGED, damaged)
            uploader.close(BUDGET)
            uploader.recording_finished()
            started = None if "call-started" in state.sent else state.started_event()
            await uploader.run(started, make_ended)
            finished = uploader.is_complete
            if not finished:
                call.postpone()
        finally:
            outbox.close(finished=finished)
        return Recovered(
            call_id,
            Outcome.OK if finished else Outcome.LATER,
            chunks=uploader.stats.chunks_sent,
            events=uploader.stats.events_sent,
            reason=uploader.last_failure,
            hopeless=not finished and uploader.is_hopeless,
        )


def _put_away(call: CallSpool, journal: Contents) -> Outcome:
    """What becomes of a call when nobody can say whose it is."""
    if call.chunk_indices() or journal.damaged or journal.records:
        call.set_aside()
        return Outcome.UNREADABLE
    call.remove()
    return Outcome.EMPTY


def _restore_recording(state: CallState, outbox: Outbox, *, is_whole: bool) -> None:
    recording = state.recording
    chunks, gaps = recording.chunks, list(recording.gaps.values())
    # one for which there was no room is delivered as silence, perhaps again
    full = Outcome.FULL.value
    settled = [index for index, chunk in chunks.items() if chunk["result"] != full]
    if state.end is not None:
        outbox.restore(settled, recording.pcm_bytes, final=True, intact=is_whole, gaps=gaps)
    else:
        known = max((chunk["start"] + chunk["size"] for chunk in chunks.values()), default=0)
        if known and _is_wav(state):
            known = wav_data_bytes(known)  # it was the one file
        recording.pcm_bytes = outbox.restore(settled, known, intact=is_whole, gaps=gaps)
    if recording.rate is not None:
        outbox.finish_recording(recording.rate)


def _is_wav(state: CallState) -> bool:
    return state.call is not None and state.call["recording"] == "wav"


def _ended_event(state: CallState, outbox: Outbox, uploader: Uploader) -> dict[str, Any] | None:
    """call-ended, as it is now; as it was built before, where no chunk came on top.

    One that would differ in nothing but counts and reasons is not made: a service that is down for
    a week would get it at each try, and the journal would grow.
    """
    if state.ended is not None and not state.is_outdated:
        return None if "call-ended" in state.sent else state.ended
    missing = {chunk.start: chunk.size for chunk in uploader.lost}
    for chunk in state.recording.chunks.values():
        if chunk["result"] != Outcome.OK.value:
            missing[chunk["start"]] = chunk["size"]
    event = state.ended_event(
        uploader.stats.counts(recovered=True), missing.items(), uploader.last_failure
    )
    ended: EndedRecord = {"type": "ended", "event": event}
    outbox.append_record(ended)
    return event


def _log(recovered: Recovered, call: CallSpool) -> None:
    if recovered.outcome is Outcome.OK:
        logger.info("roark: call %s recovered from the spool", recovered.call_id)
    if recovered.outcome is Outcome.EMPTY:
        logger.warning("roark: a call without a readable journal was removed from the spool")
    if recovered.outcome is Outcome.UNREADABLE:
        text = "roark: a call without a readable journal was set aside in the spool (%s)"
        logger.warning(text, call.path.name)
