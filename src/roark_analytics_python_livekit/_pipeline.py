"""What the shipping thread does with one call: records and audio in, events and chunks out."""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ._call.pauses import Withheld
from ._call.payloads import CallEnd, CallFacts
from ._call.records import Record, TurnRecord
from ._call.redaction_worker import Scribe
from ._call.redactor import Redact
from ._call.state import CallState, account_of, call_entry
from ._config import RecordingMode
from ._delivery.outbox import Outbox
from ._delivery.spool import CallSpool, Spool, SpoolError
from ._delivery.uploader import Uploader
from ._delivery.worker import EventQueue
from ._diagnostics import Guard, logger
from ._recording.frames import AgentFrame, Listening, Opened, Report, UserFrame
from ._recording.mixer import ResamplerFactory
from ._recovery import recover_all
from ._serialize import json_length, json_safe
from .audio import AudioCapture
from .client import RoarkClient

MAX_STORY = 16 * 1024 * 1024  # bytes of one call's records: hundreds of hours of talk


@dataclass(frozen=True)
class RecordingSwitched:
    """Both channels fall silent (`on=False`) or come back at `at`; transcripts too, if asked."""

    at: float
    on: bool
    transcripts: bool = True


@dataclass(frozen=True)
class MetadataAdded:
    """The agent's code knows more about the call."""

    values: Mapping[str, Any]


class CallPipeline:
    """One call, on the shipping thread.

    Args:
        facts: What is known of the call from its beginning.
        metadata: What the agent's code said of it.
        client: Where it goes.
        recording: Whether and how its audio is uploaded.
        spool_dir: Where it is kept until it is delivered; None is in memory.
        make_resampler: For audio that has not the recording's rate.
        budget: Seconds for the delivery once the call is over.
        guard: Counts what goes wrong in here.
        redact: What is applied to every text before it is stored or sent.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        facts: CallFacts,
        metadata: Mapping[str, Any],
        client: RoarkClient,
        make_resampler: ResamplerFactory,
        *,
        recording: RecordingMode,
        spool_dir: Path | None,
        budget: float,
        guard: Guard,
        redact: Redact | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.delivery: Uploader | None = None
        self._facts = facts
        self._metadata = dict(metadata)
        self._client = client
        self._recording = recording
        self._spool_dir = spool_dir
        self._make_resampler = make_resampler
        self._budget = budget
        self._guard = guard
        self._clock = clock
        self._story = CallState()
        self._scribe = Scribe(lambda entry: self._store.note(entry), redact, guard)
        self._withheld = Withheld()
        self._silences: list[tuple[float, float]] = []
        self._store = Outbox()
        self._capture: AudioCapture | None = None
        self._digest = hashlib.sha256()
        self._pcm_bytes = 0
        self._story_size = 0
        self._end: CallEnd | None = None

    async def run(self, queue: EventQueue) -> None:
        """Receives and delivers until both are done."""
        spool = self._open_spool()
        self._store = Outbox(
            self._begin_spooling(spool), whole=self._recording == "wav", tell=self._story.apply
        )
        self._begin_story()
        delivery = Uploader(
            self._client, self._facts.call_id, self._store, guard=self._guard, clock=self._clock
        )
        self.delivery = delivery
        receiving = asyncio.ensure_future(self._receive(queue, delivery))
        recovering = asyncio.ensure_future(self._recover(spool))
        writing = asyncio.ensure_future(self._scribe.run())
        try:
            await self._scribe.begun()
            await delivery.run(self._story.started_event(), self._make_ended)
        except Exception as error:
            self._guard.swallow("delivery", error)
        finally:
            for task in (receiving, recovering, writing):
                task.cancel()
            await asyncio.gather(receiving, recovering, writing, return_exceptions=True)
            await self._client.aclose()
            with self._guard("closing the store"):
                self._store.close(finished=delivery.is_complete)
            self._say_how_it_went(delivery)

    # The spool

    def _open_spool(self) -> Spool | None:
        if self._spool_dir is None:
            return None
        try:
            return Spool(self._spool_dir)
        except SpoolError as error:
            logger.warning("roark: no spool, this call is kept in memory only: %s", error)
            return None

    def _begin_spooling(self, spool: Spool | None) -> CallSpool | None:
        if spool is None:
            return None
        try:
            return spool.begin(self._facts.call_id)
        except SpoolError as error:
            logger.warning("roark: no spool, this call is kept in memory only: %s", error)
            return None

    async def _recover(self, spool: Spool | None) -> None:
        """Delivers what dead processes left, for as long as this call goes on."""
        if spool is not None:
            with self._guard("recovery"):
                await recover_all(spool, self._client, self._guard, clock=self._clock)

    def _begin_story(self) -> None:
        entry = call_entry(
            self._facts,
            self._metadata,
            base_url=self._client.base_url,
            account=account_of(self._client.api_key),
            recording=self._recording,
        )
        self._scribe.begin(cast(dict[str, Any], entry))

    # Receiving

    async def _receive(self, queue: EventQueue, delivery: Uploader) -> None:
        while self._end is None:
            now = self._clock()
            for item in await queue.take():
                with self._guard("receiving"):
                    self._on_item(item)
            if self._end is None and not threading.main_thread().is_alive():
                self._end = CallEnd(self._clock(), "process_exit")
            if self._end is None:
                with self._guard("recording"):
                    self._settle(now, delivery)
        queue.close()
        delivery.close(self._budget)
        if queue.dropped:
            delivery.stats.dropped["queue_full"] = queue.dropped
        with self._guard("recording"):
            self._finish(self._end)
        await self._scribe.finish(self._budget / 2)
        delivery.sealed()

    def _on_item(self, item: object) -> None:
        if isinstance(item, UserFrame):
            if self._capture is not None:
                self._capture.heard(item)
        elif isinstance(item, AgentFrame):
            if self._capture is not None:
                self._capture.captured(item)
        elif isinstance(item, Report):
            if self._capture is not None:
                self._capture.report(item)
        elif isinstance(item, Listening):
            if self._capture is not None:
                self._capture.listening(item)
        elif isinstance(item, Opened):
            self._on_opened(item)
        elif isinstance(item, RecordingSwitched):
            self._on_switched(item)
        elif isinstance(item, MetadataAdded):
            self._note({"type": "metadata", "values": json_safe(dict(item.values))})
        elif isinstance(item, CallEnd):
            self._end = self._end or item
        else:
            self._on_record(cast(Record, item))

    def _on_opened(self, opened: Opened) -> None:
        if self._recording == "off":
            return
        if self._capture is None:
            self._capture = AudioCapture(
                opened, self._make_resampler, silences=self._silences_within
            )
        else:
            self._capture.reopened(opened)

    def _on_switched(self, switched: RecordingSwitched) -> None:
        if switched.on:
            self._withheld.end(switched.at)
        elif not switched.transcripts:
            self._withheld.begin(switched.at)
        self._silence(switched)
        entry: dict[str, Any] = {"type": "switch", "at": switched.at, "on": switched.on}
        if not switched.transcripts:
            entry["transcripts"] = False
        self._scribe.note(entry)

    def _silence(self, switched: RecordingSwitched) -> None:
        silent = bool(self._silences) and self._silences[-1][1] == math.inf
        if switched.on and silent:
            self._silences[-1] = (self._silences[-1][0], switched.at)
        elif not switched.on and not silent:
            self._silences.append((switched.at, math.inf))

    def _silences_within(self, start: float, end: float) -> list[tuple[float, float]]:
        return [span for span in self._silences if span[0] < end and start < span[1]]

    def _on_record(self, record: Record) -> None:
        if record["type"] == "turn" and record["role"] == "assistant":
            with self._guard("placing a turn"):
                self._place_agent_turn(record)
        kept = self._withheld.filter(record)
        if kept is not None:
            self._note(kept)

    def _note(self, entry: Mapping[str, Any]) -> None:
        """Keeps what the agent's side tells, if it is plain JSON and there is room for it."""
        try:
            size = json_length(entry)
        except (TypeError, ValueError, RecursionError):
            self._drop("unusable")
            return
        if self._story_size + size > MAX_STORY:
            self._drop("story_full")
            return
        self._story_size += size
        self._scribe.note(entry)

    def _drop(self, reason: str) -> None:
        if self.delivery is not None:
            self.delivery.stats.dropped[reason] += 1

    def _place_agent_turn(self, turn: TurnRecord) -> None:
        """What was played since the agent's turn before is this turn: livekit adds it then.

        Where it says when the turn began, a speech before that was none (`add_to_chat_ctx=False`).
        """
        played = self._capture.take_played() if self._capture is not None else []
        played = [one for one in played if one.ended_at > turn.get("start", one.started_at)]
        if played:
            turn["start"], turn["end"] = played[0].started_at, played[-1].ended_at

    # The recording

    def _settle(self, now: float, delivery: Uploader) -> None:
        if self._capture is not None:
            self._keep(self._capture, self._capture.settle(now))
            delivery.chunk_ready()

    def _finish(self, end: CallEnd) -> None:
        if self._capture is not None:
            self._keep(self._capture, self._capture.finish(end.at))
            self._store.seal(self._capture.rate or 0)
        entry: dict[str, Any] = {"type": "end", "at": end.at, "reason": end.reason}
        entry["pcm_bytes"] = self._pcm_bytes
        if end.ended_by is not None:
            entry["ended_by"] = end.ended_by
        if end.error is not None:
            entry["error"] = end.error
        if self._pcm_bytes:
            entry["sha256"] = self._digest.hexdigest()
        self._scribe.note(entry)

    def _keep(self, capture: AudioCapture, pcm: bytes) -> None:
        if not pcm:
            return
        if not self._pcm_bytes:
            for _ in range(2):  # one may be damaged on disk: the sound is of no use without
                entry = {"type": "recording", "rate": capture.rate, "origin": capture.origin}
                self._store.note(entry)
        self._digest.update(pcm)
        self._pcm_bytes += len(pcm)
        self._store.append(pcm)

    # The end

    async def _make_ended(self) -> dict[str, Any]:
        event: dict[str, Any] | None = None
        with self._guard("call-ended"):
            event = self._ended_event()
        if event is None:
            event = self._ended_event(records=[])  # better a call without its rows than none
        self._store.note({"type": "ended", "event": event})
        return event

    def _ended_event(self, records: list[Record] | None = None) -> dict[str, Any]:
        delivery, capture = self.delivery, self._capture
        assert delivery is not None
        if self._guard.count:
            delivery.stats.dropped["internal_error"] = self._guard.count
        if self._scribe.failures:
            delivery.stats.dropped["redaction_failed"] = self._scribe.failures
        return self._story.ended_event(
            delivery.stats,
            delivery.lost,
            "no room" if self._store.dropped else delivery.last_failure,
            voiced=capture.voiced if capture is not None else None,
            records=records,
        )

    def _say_how_it_went(self, delivery: Uploader) -> None:
        """The one line of a call: a warning if something of it is not at Roark."""
        if self._scribe.failures:
            logger.warning(
                "roark: call %s: `redact` failed on %d texts; a marker stands in their place",
                self._facts.call_id,
                self._scribe.failures,
            )
        stats = delivery.stats
        chunks = [f"{len(delivery.lost)} recording chunks"] if delivery.lost else []
        missing = [*(e for e in delivery.undelivered if e == "call-started"), *chunks]
        missing += [e for e in delivery.undelivered if e != "call-started"]
        counts = (
            f"sent {stats.events} events, {stats.chunks} chunks ({stats.bytes} bytes); "
            f"{stats.retries} retries, {stats.spooled} kept in the spool, "
            f"dropped {dict(stats.dropped) or 'nothing'}"
        )
        if self._recording != "off" and not self._pcm_bytes:
            counts += "; no recording: the session had no audio"
        if missing:
            logger.warning(
                "roark: call %s: not delivered: %s (last failure: %s); %s",
                self._facts.call_id,
                ", ".join(missing),
                delivery.last_failure or "no answer",
                counts,
            )
        else:
            logger.info("roark: call %s delivered: %s", self._facts.call_id, counts)
