"""Delivers the calls that dead processes left in the spool, as far as this key can."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ._call.facts import account_of
from ._call.records import CallRecord
from ._call.state import CallState, read_state
from ._delivery.outbox import Outbox
from ._delivery.spool import CallSpool, Spool
from ._delivery.uploader import Uploader
from ._delivery.wav import wav_data_bytes
from ._diagnostics import Guard, logger
from .client import RoarkClient

FRUITLESS = 2  # calls in a row of which nothing is taken, until the others are left for later
TRIES = 4  # of each request; a service that is down then is tried again by the next process
BUDGET = 24 * 3600.0  # seconds for one call: a day, for uplinks that are slow but work

Owner = Literal["ours", "other key", "elsewhere"]  # elsewhere is at another service


@dataclass(frozen=True)
class Recovered:
    """What became of one call.

    Attributes:
        call_id: Its `livekitCallId`; None where the journal is not readable.
        result: "delivered", "kept" (for a later try), "foreign" (another key's or service's),
            "unreadable" (set aside: nobody can tell whose it is) or "empty" (there is nothing of
            it; removed).
        chunks: Pieces of the recording that were delivered now.
        reason: Why it is kept, in a few words.
        events: call-started and call-ended, as far as they were delivered now.
        hopeless: The next call would fare no better.
    """

    call_id: str | None
    result: str
    chunks: int = 0
    reason: str | None = None
    events: int = 0
    hopeless: bool = False


async def recover_all(
    spool: Spool,
    client: RoarkClient,
    guard: Guard,
    *,
    any_key: bool = False,
    clock: Callable[[], float] = time.monotonic,
    on_call: Callable[[Recovered], None] = lambda recovered: None,
) -> None:
    """Claims and delivers abandoned calls, one after the other.

    Stops where the key is refused or nobody answers, and after two calls in a row of which the
    service takes nothing: the next would fare no better. What was tried in vain comes last the next
    time. Cancelled in the middle, the call in work is left as it is for the next process.

    Args:
        spool: Where they are.
        client: Where they go; calls of another key or service are left alone.
        guard: Counts what goes wrong in here.
        any_key: Calls of other keys are delivered, too, with the client's.
        clock: Monotonic seconds.
        on_call: Told of each call.
    """
    spool.evict()
    fruitless = 0
    for call in spool.abandoned():
        outcome: Recovered | None = None
        with guard("recovery"):
            outcome = await _recover(call, client, guard, clock, any_key=any_key)
        if outcome is None:
            continue
        on_call(outcome)
        if outcome.result == "delivered":
            logger.info("roark: call %s recovered from the spool", outcome.call_id)
        if outcome.result == "empty":
            logger.warning("roark: a call without a readable journal was removed from the spool")
        if outcome.result == "unreadable":
            logger.warning(
                "roark: a call without a readable journal was set aside in the spool (%s)",
                call.path.name,
            )
        if outcome.result in ("kept", "delivered"):
            fruitless = 0 if _took_something(outcome) else fruitless + 1
        if outcome.hopeless or fruitless == FRUITLESS:
            return


def _took_something(outcome: Recovered) -> bool:
    return outcome.result == "delivered" or outcome.events + outcome.chunks > 0


async def _recover(
    call: CallSpool,
    client: RoarkClient,
    guard: Guard,
    clock: Callable[[], float],
    *,
    any_key: bool,
) -> Recovered:
    store = Outbox(call)
    finished = False
    try:
        state = read_state(call.records())
        intact = call.torn == 0  # of its journal: nothing else was read yet
        if state is None or state.facts is None or state.call is None:
            finished = not (call.chunks() or call.damaged or call.records())
            if not finished:
                call.set_aside()
            return Recovered(None, "empty" if finished else "unreadable")
        call_id = state.facts.call_id
        owner = owner_of(state.call, client.base_url, client.api_key)
        if owner == "elsewhere" or (owner == "other key" and not any_key):
            return Recovered(call_id, "foreign")
        whole = state.call["recording"] == "wav"
        store = Outbox(call, whole=whole, tell=state.apply)
        damaged = call.damaged
        delivery = await _deliver(
            state, store, client, guard, clock, intact=intact, damaged=damaged
        )
        finished = delivery.is_complete
        if not finished:
            call.postpone()
        return Recovered(
            call_id,
            "delivered" if finished else "kept",
            delivery.stats.chunks,
            delivery.last_failure,
            delivery.stats.events,
            not finished and delivery.is_hopeless,
        )
    finally:
        store.close(finished=finished)


def owner_of(call: CallRecord, base_url: str, api_key: str) -> Owner:
    """Whose a call is, seen from a key at a service."""
    if call["base_url"] != base_url:
        return "elsewhere"
    return "ours" if call["account"] == account_of(api_key) else "other key"


async def _deliver(
    state: CallState,
    store: Outbox,
    client: RoarkClient,
    guard: Guard,
    clock: Callable[[], float],
    *,
    intact: bool,
    damaged: int,
) -> Uploader:
    assert state.facts is not None
    _restore_recording(state, store, intact=intact)
    delivery = Uploader(client, state.facts.call_id, store, guard=guard, clock=clock, tries=TRIES)
    if state.recording.gaps or damaged:
        delivery.stats.dropped["damaged"] = len(state.recording.gaps) + damaged
    delivery.close(BUDGET)
    delivery.sealed()

    async def make_ended() -> dict[str, Any] | None:
        return _ended_event(state, store, delivery)

    started = None if "call-started" in state.sent else state.started_event()
    await delivery.run(started, make_ended)
    return delivery


def _restore_recording(state: CallState, store: Outbox, *, intact: bool) -> None:
    recording = state.recording
    # one for which there was no room is delivered as silence, perhaps again
    settled = [index for index, chunk in recording.chunks.items() if chunk["result"] != "full"]
    gaps = list(recording.gaps.values())
    if state.end is not None:
        store.restore(settled, recording.pcm_bytes, final=True, intact=intact, gaps=gaps)
    else:
        ends = [chunk["start"] + chunk["size"] for chunk in recording.chunks.values()]
        known = max(ends, default=0)
        if known and state.call is not None and state.call["recording"] == "wav":
            known = wav_data_bytes(known)  # it was the one file
        recording.pcm_bytes = store.restore(settled, known, intact=intact, gaps=gaps)
    if recording.rate is not None:
        store.seal(recording.rate)


def _ended_event(state: CallState, store: Outbox, delivery: Uploader) -> dict[str, Any] | None:
    """call-ended, as it is now; as it was built before, where no chunk came on top.

    One that would differ in nothing but counts and reasons is not made: a service that is down for
    a week would be told, and the journal would grow, at each try.
    """
    if state.ended is not None and not state.is_outdated:
        return None if "call-ended" in state.sent else state.ended
    missing = {chunk.start: chunk.size for chunk in delivery.lost}
    for chunk in state.recording.chunks.values():
        if chunk["result"] != "ok":
            missing[chunk["start"]] = chunk["size"]
    event = state.ended_event(
        delivery.counts(recovered=True), missing.items(), delivery.last_failure
    )
    store.note({"type": "ended", "event": event})
    return event
