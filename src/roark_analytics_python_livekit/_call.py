"""What the shipping thread does with one call: records and audio in, events and chunks out."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ._audio_items import AgentFrame, Opened, Report, UserFrame
from ._delivery import Delivery
from ._guard import Guard, logger
from ._mixer import ResamplerFactory
from ._payloads import CallEnd, CallFacts, RecordingFacts, call_ended, call_started
from ._records import Record, TurnRecord
from ._shipper import Mailbox
from ._store import CHANNELS, RecordingStore
from ._types import Recording
from .audio import AudioCapture
from .client import RoarkClient

BYTES_PER_FRAME = 2 * CHANNELS


@dataclass(frozen=True)
class RecordingSwitched:
    """Both channels fall silent (`on=False`) or come back at `at`."""

    at: float
    on: bool


@dataclass(frozen=True)
class MetadataAdded:
    """The agent's code knows more about the call."""

    values: Mapping[str, Any]


class CallShipment:
    """One call, on the shipping thread.

    Args:
        facts: What is known of the call from its beginning.
        metadata: What the agent's code said of it.
        client: Where it goes.
        make_store: Opens the place where its recording waits; None for a call without one.
        make_resampler: For audio that has not the recording's rate.
        budget: Seconds for the delivery once the call is over.
        guard: Counts what goes wrong in here.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        facts: CallFacts,
        metadata: Mapping[str, Any],
        client: RoarkClient,
        make_store: Callable[[], RecordingStore] | None,
        make_resampler: ResamplerFactory,
        *,
        budget: float,
        guard: Guard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.delivery: Delivery | None = None
        self._facts = facts
        self._metadata = dict(metadata)
        self._client = client
        self._make_store = make_store
        self._store: RecordingStore | None = None
        self._make_resampler = make_resampler
        self._budget = budget
        self._guard = guard
        self._clock = clock
        self._records: list[Record] = []
        self._capture: AudioCapture | None = None
        self._digest = hashlib.sha256()
        self._pcm_bytes = 0
        self._end: CallEnd | None = None
        self._dropped_items = 0

    async def run(self, mailbox: Mailbox) -> None:
        """Receives and delivers until both are done."""
        self._open_store()
        delivery = Delivery(
            self._client,
            self._facts.call_id,
            self._store or _NoRecording(),
            guard=self._guard,
            clock=self._clock,
        )
        self.delivery = delivery
        receiving = asyncio.ensure_future(self._receive(mailbox, delivery))
        try:
            started = call_started(self._facts, self._metadata)
            await delivery.run(cast(dict[str, Any], started), self._make_ended)
        except Exception as error:
            self._guard.note("delivery", error)
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            await self._client.aclose()
            if self._store is not None:
                self._store.close()
            self._say_how_it_went(delivery)

    def _open_store(self) -> None:
        if self._make_store is not None:
            with self._guard("opening the store"):
                self._store = self._make_store()

    # Receiving

    async def _receive(self, mailbox: Mailbox, delivery: Delivery) -> None:
        while self._end is None:
            now = self._clock()
            for item in await mailbox.take():
                with self._guard("receiving"):
                    self._on_item(item)
            if self._end is None and not threading.main_thread().is_alive():
                self._end = CallEnd(now, "process_exit")
            if self._end is None:
                with self._guard("recording"):
                    self._settle(now, delivery)
        delivery.close(self._budget)
        self._dropped_items = mailbox.dropped
        with self._guard("recording"):
            self._finish_recording(self._end.at)
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
        elif isinstance(item, Opened):
            self._on_opened(item)
        elif isinstance(item, RecordingSwitched):
            self._on_switched(item)
        elif isinstance(item, MetadataAdded):
            self._metadata.update(item.values)
        elif isinstance(item, CallEnd):
            self._end = self._end or item
        else:
            self._on_record(cast(Record, item))

    def _on_opened(self, opened: Opened) -> None:
        if self._store is None:
            return
        if self._capture is None:
            self._capture = AudioCapture(opened, self._make_resampler)
        else:
            self._capture.reopened(opened)

    def _on_switched(self, switched: RecordingSwitched) -> None:
        if self._capture is not None:
            (self._capture.resume if switched.on else self._capture.pause)(switched.at)

    def _on_record(self, record: Record) -> None:
        if record["type"] == "turn" and record["role"] == "assistant":
            with self._guard("placing a turn"):
                self._place_agent_turn(record)
        self._records.append(record)

    def _place_agent_turn(self, turn: TurnRecord) -> None:
        """What was played since the agent's turn before is this turn: livekit adds it then."""
        played = self._capture.take_played() if self._capture is not None else []
        if played:
            turn["start"], turn["end"] = played[0].start, played[-1].end

    # The recording

    def _settle(self, now: float, delivery: Delivery) -> None:
        if self._capture is not None:
            self._keep(self._capture.settle(now))
            delivery.chunk_ready()

    def _finish_recording(self, at: float) -> None:
        if self._capture is not None and self._store is not None:
            self._keep(self._capture.finish(at))
            self._store.seal(self._capture.rate or 0)

    def _keep(self, pcm: bytes) -> None:
        if pcm and self._store is not None:
            self._digest.update(pcm)
            self._pcm_bytes += len(pcm)
            self._store.append(pcm)

    # The end

    async def _make_ended(self) -> dict[str, Any]:
        with self._guard("call-ended"):
            return self._ended_with(self._records)
        return self._ended_with([])  # better a call without its rows than none

    def _ended_with(self, records: list[Record]) -> dict[str, Any]:
        end = self._end
        assert end is not None
        event = call_ended(
            self._facts,
            end,
            records,
            self._recording_facts(),
            self._delivery_counts(),
            self._metadata,
        )
        return cast(dict[str, Any], event)

    def _recording_facts(self) -> RecordingFacts:
        capture = self._capture
        manifest = self._manifest()
        if capture is None or not self._pcm_bytes:
            offset = capture.offset_ms if capture is not None else self._offset_from_start
            return RecordingFacts(manifest, offset_ms=offset)
        return RecordingFacts(
            manifest,
            sample_rate=capture.rate,
            offset_ms=capture.offset_ms,
            voiced=capture.voiced,
        )

    def _offset_from_start(self, at: float) -> int:
        """Without a recording, offsets count from the call's beginning."""
        return max(0, round((at - self._facts.started) * 1000))

    def _manifest(self) -> Recording:
        delivery, capture = self.delivery, self._capture
        assert delivery is not None
        rate = (capture.rate if capture is not None else None) or 1
        manifest: Recording = {
            "status": "complete",
            "chunkCount": delivery.stats.chunks,
            "byteCount": self._pcm_bytes,
            "durationMs": capture.duration_ms if capture is not None else 0,
            "gaps": [
                {
                    "startMs": _ms(lost.start, rate),
                    "endMs": _ms(min(lost.start + lost.size, self._pcm_bytes), rate),
                }
                for lost in sorted(delivery.lost, key=lambda lost: lost.start)
            ],
            "pauses": [
                {"startMs": start, "endMs": end}
                for start, end in (capture.pauses if capture is not None else [])
            ],
        }
        if self._pcm_bytes:
            manifest["sha256"] = self._digest.hexdigest()
        return self._with_status(manifest, delivery)

    def _with_status(self, manifest: Recording, delivery: Delivery) -> Recording:
        if self._store is None:
            manifest["status"], manifest["reason"] = "disabled", "recording is off"
        elif not self._pcm_bytes:
            manifest["status"], manifest["reason"] = "disabled", "the session had no audio"
        elif delivery.lost:
            nothing = not delivery.stats.chunks
            manifest["status"] = "failed" if nothing else "partial"
            full = "no room" if self._store.dropped else None
            manifest["reason"] = full or delivery.last_failure or "no answer"
        return manifest

    def _delivery_counts(self) -> Any:
        delivery = self.delivery
        assert delivery is not None
        dropped = dict(delivery.stats.dropped)
        if self._dropped_items:
            dropped["queue_full"] = self._dropped_items
        if self._guard.count:
            dropped["internal_error"] = self._guard.count
        return {
            "attempts": delivery.stats.attempts,
            "retries": delivery.stats.retries,
            "dropped": dropped,
            "recovered": False,
        }

    def _say_how_it_went(self, delivery: Delivery) -> None:
        stats = delivery.stats
        recorded = self._pcm_bytes or self._store is None
        silent = "" if recorded else "; no recording: the session had no audio"
        missing = list(delivery.undelivered)
        if delivery.lost:
            missing.insert(-1 if missing else 0, f"{len(delivery.lost)} recording chunks")
        if missing:
            logger.warning(
                "roark: call %s: not delivered: %s (last failure: %s; sent %d events, %d chunks)",
                self._facts.call_id,
                ", ".join(missing),
                delivery.last_failure or "no answer",
                stats.events,
                stats.chunks,
            )
        else:
            logger.info(
                "roark: call %s delivered: %d events, %d chunks (%d bytes), %d retries%s",
                self._facts.call_id,
                stats.events,
                stats.chunks,
                stats.bytes,
                stats.retries,
                silent,
            )


class _NoRecording:
    """The store of a call that is not recorded."""

    dropped = ()
    waiting = 0

    def append(self, pcm: bytes) -> None: ...

    def seal(self, rate: int) -> None: ...

    def take(self) -> None:
        return None

    def put_back(self, chunk: object) -> None: ...

    def close(self) -> None: ...


def _ms(byte: int, rate: int) -> int:
    return round(byte / BYTES_PER_FRAME / rate * 1000)
