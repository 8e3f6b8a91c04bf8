"""Wires one call together on the worker's loop: records and audio in, events and chunks out."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ._call.ended import ended_records
from ._call.facts import CallFacts, call_record
from ._call.pauses import TranscriptFilter
from ._call.privacy import Redact
from ._call.records import EndRecord, MetadataRecord, Record, SwitchRecord, end_record
from ._call.redactor import Journal
from ._call.state import CallState
from ._call.tool_calls import in_json
from ._call.turns import place_played
from ._config import RecordingMode
from ._delivery.call_spool import CallSpool, encode_record
from ._delivery.claim import heartbeat
from ._delivery.journal_file import Reopening
from ._delivery.limits import DEFAULT_LIMITS, Deadline, Limits
from ._delivery.outbox import Outbox
from ._delivery.private_files import SpoolError
from ._delivery.spool import Spool
from ._delivery.stats import Outcome
from ._delivery.uploader import Uploader
from ._diagnostics import Guard, logger
from ._metadata import sendable
from ._process import recoveries
from ._queue import EventQueue
from ._recorder import AUDIO, Recorder, ignore
from ._recording.mixer import ResamplerFactory
from ._recovery import recover_all
from ._serialize import clean_text
from ._steps import in_steps
from ._summary import log_summary
from .client import RoarkClient

ROWS_SHARE = 0.85  # of the budget, in which call-ended has its rows: the rest is to send it


@dataclass(frozen=True)
class CallSetup:
    """What one call is made of."""

    facts: CallFacts
    metadata: Mapping[str, Any]
    recording: RecordingMode
    spool_dir: Path | None  # where it is kept until it is delivered; None is in memory
    budget: float  # seconds for the delivery once the call is over
    redact: Redact | None = None  # applied to each private text before it is stored or sent

    def without_metadata(self) -> CallSetup:
        """What is needed once the metadata is written: its values may be whatever is observed."""
        return replace(self, metadata={})


class CallPipeline:
    """One call, on the worker: opens its spool, runs it, and says how it went."""

    def __init__(
        self,
        setup: CallSetup,
        client: RoarkClient,
        make_resampler: ResamplerFactory,
        *,
        guard: Guard,
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.call: Call | None = None
        self._setup = setup
        self._client = client
        self._make_resampler = make_resampler
        self._guard = guard
        self._limits = limits
        self._clock = clock

    async def run(self, queue: EventQueue) -> None:
        """Receives and delivers until both are done."""
        client, guard = self._client, self._guard
        spool, call_spool = self._open_spool()
        reopen = None if self._setup.spool_dir is None else self._reopen_spool
        call = self.call = Call(
            self._setup,
            client,
            call_spool,
            self._make_resampler,
            guard,
            self._limits,
            self._clock,
            reopen,
        )
        setup = self._setup = self._setup.without_metadata()
        finished = False
        try:
            async with client, heartbeat(), self._recovering(spool):
                await call.run(queue)
                finished = call.uploader.is_complete
        except Exception as error:
            guard.swallow("delivery", error)
        finally:
            with guard("closing the outbox"):
                call.outbox.close(finished=finished)
            log_summary(
                setup.facts.call_id,
                call.uploader,
                broke_off=not finished and call.uploader.is_complete,
                redaction_failures=call.journal.failures,
                has_no_audio=setup.recording != "off" and not call.recorder.pcm_bytes,
            )

    def _open_spool(self) -> tuple[Spool | None, CallSpool | None]:
        """The spool, and this call's place in it; None where they cannot be used."""
        spool = None
        try:
            if self._setup.spool_dir is not None:
                spool = Spool(self._setup.spool_dir)
                return spool, spool.begin(self._setup.facts.call_id)
        except SpoolError as error:
            logger.warning("roark: no spool, this call is kept in memory only: %s", error)
        return spool, None

    def _reopen_spool(self) -> CallSpool | None:
        """Another place in the spool, once there is one."""
        with suppress(SpoolError):
            if self._setup.spool_dir is not None:
                return Spool(self._setup.spool_dir).begin(self._setup.facts.call_id)
        return None

    def _recovering(self, spool: Spool | None) -> AbstractAsyncContextManager[None]:
        """Delivers what dead processes left, while this call or another with its key goes on."""
        if spool is None:
            return nullcontext()
        client, limits, clock = self._client, self._limits, self._clock
        kind = (self._setup.spool_dir, client.base_url, client.api_key)
        return recoveries.join(kind, lambda: _recover(spool, client, limits, clock))


async def _recover(
    spool: Spool, client: RoarkClient, limits: Limits, clock: Callable[[], float]
) -> None:
    """May outlast the call that began it, of which it therefore holds nothing."""
    guard = Guard()
    with guard("recovery"):
        async with client:
            await recover_all(spool, client, guard, limits=limits, clock=clock)


class Call:
    """One call while it goes on: routes each item of the queue to the part that takes it."""

    def __init__(
        self,
        setup: CallSetup,
        client: RoarkClient,
        spool: CallSpool | None,
        make_resampler: ResamplerFactory,
        guard: Guard,
        limits: Limits,
        clock: Callable[[], float],
        reopen: Callable[[], CallSpool | None] | None = None,
    ) -> None:
        state = self._state = CallState()
        self.outbox = Outbox(
            spool,
            whole=setup.recording == "wav",
            limits=limits,
            on_record=state.apply,
            reopening=None if reopen is None else Reopening(reopen, state.records),
        )
        self.uploader = Uploader(
            client, setup.facts.call_id, self.outbox, guard=guard, limits=limits, clock=clock
        )
        self.recorder = Recorder(self.outbox, make_resampler, state.pauses.silences)
        self.journal = Journal(self._write, setup.redact, guard)
        self._setup = setup.without_metadata()
        self._guard = guard
        self._clock = clock
        self._sendable = partial(sendable, api_key=client.api_key)
        self._filter = TranscriptFilter(state.pauses)
        self._journal_room = limits.max_journal  # bytes
        self._end: EndRecord | None = None
        self._deadline = Deadline(clock)
        is_recorded = setup.recording != "off"
        self._audio = self.recorder.takes if is_recorded else dict.fromkeys(AUDIO, ignore)
        self._routes: Mapping[str, Callable[[Any], None]] = {
            "turn": self._on_turn,
            "metadata": self._on_metadata,
            "switch": self._on_switch,
            "end": self._on_end,
        }
        origin = {"base_url": client.base_url, "api_key": client.api_key}
        self.journal.begin(
            call_record(
                setup.facts,
                self._sendable(setup.metadata),
                recording=setup.recording,
                **origin,
            )
        )

    async def run(self, queue: EventQueue) -> None:
        """Receives, redacts and uploads side by side, until call-ended is sent or given up."""
        receiving = asyncio.ensure_future(self._receive(queue))
        receiving.add_done_callback(lambda _: self._received(queue))
        writing = asyncio.ensure_future(self.journal.run())
        try:
            await self.journal.begun()
            await self.uploader.run(self._state.started_event(), self._make_ended)
            if receiving.done():
                receiving.result()  # what made it break off is what the call broke off of
        finally:
            for task in (receiving, writing):
                task.cancel()
            await asyncio.gather(receiving, writing, return_exceptions=True)

    def _received(self, queue: EventQueue) -> None:
        """Nothing more comes, whatever the reason: the call has to end."""
        self._close(queue)
        self.uploader.recording_finished()

    def _close(self, queue: EventQueue) -> None:
        queue.close()
        for closing in (self.uploader, self._deadline):
            closing.close(self._setup.budget)

    async def _receive(self, queue: EventQueue) -> None:
        """Takes what the agent's side hands over, until the call is over."""
        queue.needs_ticks = self._setup.recording != "off"
        while self._end is None:
            await queue.wait()
            now, goes_on = self._clock(), not queue.is_abandoned
            for item in await queue.take():
                try:  # and no guard around each frame: there are 200 a second
                    if (take := self._audio.get(type(item))) is not None:
                        take(item)
                    else:
                        self._route(item)
                except Exception as error:
                    self._guard.swallow("receiving", error)
            if self._end is None and not goes_on:  # and all that it left has been taken
                self._end = end_record(self._clock(), "process_exit")
            if self._end is None:
                with self._guard("recording"):
                    self.recorder.settle(now)
                    self.uploader.chunk_ready()
        self._close(queue)
        self.uploader.stats.dropped_so_far(Outcome.QUEUE_FULL, queue.dropped)
        self._finish(self._end)
        self.recorder.note_lost(queue.lost)
        await self.journal.finish(self._setup.budget / 2)
        self.uploader.recording_finished()

    async def _make_ended(self) -> dict[str, Any]:
        """The call-ended event; better one without its rows than none."""
        try:
            event = self._ended_event()
        except TimeoutError:  # not kept: where this one does not arrive, the next process has time
            self.uploader.stats.drop(Outcome.TIME, len(self._state.happened))
            return self._ended_event(without_rows=True)
        except Exception as error:
            self._guard.swallow("call-ended", error)
            event = self._ended_event(without_rows=True)
        await in_steps(self.outbox.appending(ended_records(event)))
        return event

    def _ended_event(self, *, without_rows: bool = False) -> dict[str, Any]:
        uploader, capture = self.uploader, self.recorder.capture
        uploader.stats.dropped_so_far(Outcome.INTERNAL_ERROR, self._guard.count)
        uploader.stats.dropped_so_far(Outcome.REDACTION_FAILED, self.journal.failures)
        uploader.stats.dropped_so_far(Outcome.PAUSED, self._filter.left_out)
        missing = [(chunk.start, chunk.size) for chunk in uploader.lost]
        gaps = Counter(gap.get("reason") for gap in self._state.recording.gaps_beside(missing))
        uploader.stats.dropped_so_far(Outcome.FULL, gaps[Outcome.FULL.value])
        uploader.stats.dropped_so_far(Outcome.DAMAGED, gaps[None])
        return self._state.ended_event(
            uploader.stats.counts(),
            missing,
            uploader.last_failure,
            voiced=capture.voiced if capture is not None else None,
            without_rows=without_rows,
            has_time=lambda: self._deadline.time_left(ROWS_SHARE) > 0,
        )

    # One item

    def _route(self, item: Any) -> None:
        self._routes.get(item["type"], self._on_happened)(item)

    def _on_turn(self, turn: Any) -> None:
        capture = self.recorder.capture
        if turn["role"] == "assistant" and capture is not None:
            with self._guard("placing a turn"):
                place_played(turn, capture.take_played())
        self._on_happened(turn)

    def _on_happened(self, record: Any) -> None:
        kept = self._filter.filter(record)
        self.journal.append(self._filter.withheld(record) if kept is None else in_json(kept))

    def _on_metadata(self, record: MetadataRecord) -> None:
        self.journal.append({"type": "metadata", "values": self._sendable(record["values"])})

    def _on_switch(self, record: SwitchRecord) -> None:
        """A pause holds from this moment, whatever still waits to be redacted."""
        self.outbox.append_record(record)

    def _on_end(self, record: EndRecord) -> None:
        self._end = self._end or {**record, "reason": clean_text(record["reason"])}

    def _finish(self, end: EndRecord) -> None:
        with self._guard("recording"):
            self.recorder.finish(end["at"])
        end["pcm_bytes"] = self.recorder.pcm_bytes
        if (sha256 := self.recorder.sha256) is not None:
            end["sha256"] = sha256
        self.journal.append(end)

    def _write(self, record: Record) -> None:
        """Keeps a record, if it is plain JSON and there is room for it."""
        try:
            encoded = encode_record(record)
        except (TypeError, ValueError, RecursionError):
            self.uploader.stats.drop(Outcome.UNUSABLE)
            return
        if len(encoded) > self._journal_room and record["type"] != "end":
            self.uploader.stats.drop(Outcome.STORY_FULL)
            return
        self._journal_room -= len(encoded)
        self.outbox.append_record(record, encoded)
