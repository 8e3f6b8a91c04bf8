"""A call's journal, record by record, folded into what its events say: alive or after a crash.

The process that observes a call applies each record as it writes it; the one that recovers the call
reads them back. The same records in the same order give the same events.
"""

from __future__ import annotations

import contextlib
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from .._steps import Steps, at_once
from .._types import DeliveryCounts, Pause, Recording
from .ended import EndedRows, ended_records
from .facts import CallFacts, facts_of
from .pauses import PauseLog
from .payloads import TimeLine, call_ended, call_started
from .records import (
    FRAME_BYTES,
    MAX_PCM,
    CallRecord,
    ChunkRecord,
    EndedRecord,
    EndedRowsRecord,
    EndRecord,
    GapRecord,
    Happened,
    Record,
    SealedRecord,
    SwitchRecord,
)
from .turns import Voiced

_STEP = 8  # records, each of up to some 64 KiB
_GAP_REASONS = {"full": "no room", "queue_full": "the process was too busy"}
DIED = "process_died"  # callEndedReason of a call whose process was killed


@dataclass
class RecordingState:
    """The recording, as the journal's records describe it."""

    rate: int | None = None  # samples a second; None before there is a recording
    origin: float | None = None  # when its first sample was, in monotonic seconds
    pcm_bytes: int = 0
    sha256: str | None = None  # of its whole PCM, where it is known
    sealed: dict[int, SealedRecord] = field(default_factory=dict)  # by index
    chunks: dict[int, ChunkRecord] = field(default_factory=dict)  # by index
    gaps: dict[int, GapRecord] = field(default_factory=dict)  # by their first byte

    @property
    def seconds(self) -> float:
        """Its length."""
        return self._seconds(self.pcm_bytes)

    @property
    def length_ms(self) -> int:
        """Its length in milliseconds."""
        return self._milliseconds(self.pcm_bytes)

    def gaps_beside(self, missing: Iterable[tuple[int, int]]) -> list[GapRecord]:
        """Those that are not in what is `missing` at the service anyway: (start, size) in bytes."""
        lost = sorted(missing)
        starts = [start for start, _ in lost]

        def is_beside(at: int) -> bool:
            before = bisect_right(starts, at) - 1
            return before < 0 or at >= sum(lost[before])

        return [gap for gap in self.gaps.values() if is_beside(gap["start"])]

    def manifest(
        self,
        missing: Iterable[tuple[int, int]],
        failure: str | None,
        pauses: list[Pause],
        *,
        is_off: bool,
    ) -> Recording:
        """What call-ended says of it; (start, size) in bytes is `missing` at the service.

        Of a WAV that is its header too.
        """
        missing = list(missing)
        gaps = self.gaps_beside(missing)
        lost = [(start, min(start + size, self.pcm_bytes)) for start, size in missing]
        silent = [(gap["start"], min(gap["start"] + gap["size"], self.pcm_bytes)) for gap in gaps]
        delivered = sum(chunk["result"] == "ok" for chunk in self.chunks.values())
        manifest: Recording = {
            "status": "complete",
            "chunkCount": delivered,
            "byteCount": self.pcm_bytes - sum(end - start for start, end in lost),
            "durationMs": self.length_ms,
            "gaps": [
                {
                    "startMs": self._milliseconds(start),
                    "endMs": self._milliseconds(end),
                }
                for start, end in sorted([*lost, *silent])
            ],
            "pauses": pauses,
        }
        if is_off:
            manifest["status"], manifest["reason"] = "disabled", "recording is off"
        elif not self.pcm_bytes:
            manifest["status"], manifest["reason"] = "disabled", "the session had no audio"
        elif lost:
            manifest["status"] = "partial" if delivered else "failed"
            manifest["reason"] = failure or "no answer"
        elif gaps:
            reasons = {_GAP_REASONS.get(gap.get("reason", ""), "lost on disk") for gap in gaps}
            manifest["status"], manifest["reason"] = "partial", ", ".join(sorted(reasons))
        elif self.sha256 is not None:
            manifest["sha256"] = self.sha256
        return manifest

    def _milliseconds(self, size: int) -> int:
        return round(self._seconds(size) * 1000)

    def _seconds(self, size: int) -> float:
        return size / FRAME_BYTES / (self.rate or 1)


class CallState:
    """What is known of a call from its journal."""

    def __init__(self) -> None:
        self.call: CallRecord | None = None  # opened the journal
        self.facts: CallFacts | None = None
        self.metadata: dict[str, Any] = {}
        self.happened: list[Happened] = []
        self.switches: list[SwitchRecord] = []
        self.end: EndRecord | None = None  # while it goes on, or if its process died
        self.recording = RecordingState()
        self.pauses = PauseLog()
        self.withheld = 0  # how much was left out, because transcripts were paused
        self.sent: set[str] = set()  # events that the service has accepted
        self.ended: dict[str, Any] | None = None  # the call-ended event as it was built last
        self.is_outdated = False  # a chunk was accepted since: `ended` says too little of the sound
        self._ended_rows = EndedRows()

    def apply(self, record: Mapping[str, Any]) -> None:
        """Takes the next record; KeyError, TypeError or ValueError if it is damaged."""
        match record.get("type"):
            case "call":
                call = cast(CallRecord, record)
                self.call, self.facts = call, facts_of(call)
                self.metadata = dict(call["metadata"])
            case "metadata":
                self.metadata.update(record["values"])
            case "recording":
                self.recording.rate, self.recording.origin = record["rate"], record["origin"]
            case "switch":
                self.pauses.switch(cast(SwitchRecord, record))
                self.switches.append(cast(SwitchRecord, record))
            case "end":
                self._finish(cast(EndRecord, record))
            case "sealed":
                self.recording.sealed[_count(record["index"])] = cast(SealedRecord, record)
            case "chunk":
                _count(record["start"] + _count(record["size"]))
                self.recording.chunks[_count(record["index"])] = cast(ChunkRecord, record)
                self.is_outdated |= self.ended is not None and record["result"] == "ok"
            case "gap":
                _count(record["start"] + _count(record["size"]))
                self.recording.gaps[_count(record["start"])] = cast(GapRecord, record)
            case "sent":
                self.sent.add(record["event"])
            case "ended_rows":
                self._ended_rows.add(cast(EndedRowsRecord, record))
            case "ended":
                self.ended = self._ended_rows.event(cast(EndedRecord, record))
                self.is_outdated = False
                self.sent.discard("call-ended")  # that was an older one
            case kind:
                if not math.isfinite(record["at"]):  # nor is one of a later version's own
                    raise ValueError("no moment")
                self.happened.append(cast(Happened, record))
                if kind == "withheld":
                    self.withheld = _count(record["count"])

    def _finish(self, record: EndRecord) -> None:
        if "at" not in record or "reason" not in record:
            raise KeyError("a damaged end")
        self.recording.pcm_bytes = _count(record.get("pcm_bytes", 0))
        self.recording.sha256 = record.get("sha256")
        self.end = record

    def records(self) -> Iterator[Record]:
        """Records that give this very state: the journal, for a disk that has lost it."""
        if self.call is not None:
            yield self.call
            if self.metadata != self.call["metadata"]:
                yield {"type": "metadata", "values": self.metadata}
        recording = self.recording
        if recording.origin is not None:
            yield {"type": "recording", "rate": recording.rate, "origin": recording.origin}
        yield from self.switches
        yield from self.happened
        for about in (recording.sealed, recording.chunks, recording.gaps):
            yield from about.values()
        if self.end is not None:
            yield self.end
        if self.ended is not None and not self.is_outdated:
            yield from ended_records(self.ended)
        for event in self.sent:
            yield {"type": "sent", "event": event}

    # The events

    def started_event(self) -> dict[str, Any]:
        """The call-started event, always the same for the same beginning."""
        assert self.facts is not None and self.call is not None
        return cast("dict[str, Any]", call_started(self.facts, self.call["metadata"]))

    def ended_event(
        self,
        delivery: DeliveryCounts,
        missing: Iterable[tuple[int, int]],
        failure: str | None,
        *,
        voiced: Voiced | None = None,
        without_rows: bool = False,
        has_time: Callable[[], bool] = lambda: True,
    ) -> dict[str, Any]:
        """The call-ended event, `without_rows` if need be: better than none.

        Raises TimeoutError where it `has_time` no more. `missing` are (start, size) in bytes of PCM
        of each chunk that the service does not have.
        """
        assert self.facts is not None and self.call is not None
        recording = self.recording
        pauses = self.pauses.rows(self._offset_ms, recording.length_ms)
        event = call_ended(
            self.facts,
            self.end or {"type": "end", "at": self._last_moment(), "reason": DIED},
            [] if without_rows else self._happened_while(has_time),
            TimeLine(self._offset_ms, recording.rate, voiced)
            if recording.pcm_bytes
            else TimeLine(self._offset_ms),
            recording.manifest(missing, failure, pauses, is_off=self.call["recording"] == "off"),
            delivery,
            self.metadata,
        )
        return cast("dict[str, Any]", event)

    def _happened_while(self, has_time: Callable[[], bool]) -> Iterator[Happened]:
        for record in self.happened:
            if not has_time():
                raise TimeoutError
            yield record

    def _last_moment(self) -> float:
        assert self.facts is not None
        times = [float(record["at"]) for record in self.happened]
        if self.recording.origin is not None and self.recording.rate:
            times.append(self.recording.origin + self.recording.seconds)
        return max([self.facts.started, *times])

    def _offset_ms(self, at: float) -> int:
        """A moment's place on the recording; without one, since the call's beginning."""
        assert self.facts is not None
        origin = self.recording.origin
        return max(0, round((at - (self.facts.started if origin is None else origin)) * 1000))


def read_state(records: Iterable[Mapping[str, Any]]) -> CallState | None:
    """The state that a journal's records give; None where they do not say which call it is."""
    return at_once(reading_state(records))


def reading_state(records: Iterable[Mapping[str, Any]]) -> Steps[CallState | None]:
    """`read_state`, in steps."""
    state = CallState()
    for number, record in enumerate(records):
        # another version's, or damaged: the others still count
        with contextlib.suppress(KeyError, TypeError, ValueError):
            state.apply(record)
        if number % _STEP == 0:
            yield
    return state if state.facts is not None else None


def _count(value: Any) -> int:
    """A number of bytes or chunks; ValueError where it cannot be one."""
    if not isinstance(value, int) or not 0 <= value <= MAX_PCM:
        raise ValueError("no count")
    return value
