"""A call's story: journal entries folded into what its events tell, alive or after a crash.

The same entries, in the same order, give the same events: the process that observes a call applies
each entry as it writes it to the journal, and the one that recovers the call reads them back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, TypedDict, cast

from .._delivery.outbox import CHANNELS, CHUNK_BYTES, Chunk
from .._delivery.uploader import DeliveryStats
from .._serialize import json_safe
from .._types import DeliveryCounts, Pause, Recording
from .payloads import CallEnd, CallFacts, RecordingFacts, call_ended, call_started
from .records import Record

BYTES_PER_FRAME = 2 * CHANNELS
DIED = "process_died"  # callEndedReason of a call whose process was killed

Voiced = Callable[[float, float], tuple[float, float]]


class CallEntry(TypedDict):
    """The first entry of a journal.

    `account` tells keys apart without telling the key: calls are recovered only by a process that
    has the key they belong to.
    """

    type: Literal["call"]
    facts: dict[str, Any]
    metadata: dict[str, Any]
    base_url: str
    account: str
    recording: str


def account_of(api_key: str) -> str:
    """Tells one key from another without telling anything of it."""
    return hashlib.sha256(b"roark spool account\0" + api_key.encode()).hexdigest()[:16]


def call_entry(
    facts: CallFacts,
    metadata: Mapping[str, Any],
    *,
    base_url: str,
    account: str,
    recording: str,
) -> CallEntry:
    """The entry that opens a call's journal."""
    values = asdict(facts) | {"started_at": facts.started_at.isoformat()}
    return {
        "type": "call",
        "facts": json_safe(values),
        "metadata": json_safe(metadata),
        "base_url": base_url,
        "account": account,
        "recording": recording,
    }


@dataclass
class CallState:
    """What is known of a call, from its journal's entries.

    Attributes:
        call: The entry that opened the journal.
        facts: What was known at the beginning.
        metadata: What the agent's code said.
        records: What happened.
        end: How the call ended; None while it goes on, or if its process died.
        rate: Samples a second of the recording; None before there is one.
        origin: When the recording's first sample was, in monotonic seconds.
        pauses: [start, end] of silenced spans in monotonic seconds; the last end may be missing.
        untranscribed: Which of them are left out of the transcript too.
        sent: The events that Roark has accepted.
        ended: The call-ended event as it was last built.
        outdated: A chunk was accepted since then: what it says of the recording holds no more.
        chunks: What became of the recording's chunks, by index.
        gaps: Stretches of the recording that were lost on disk, by their first byte: silence.
    """

    call: CallEntry | None = None
    facts: CallFacts | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    end: CallEnd | None = None
    rate: int | None = None
    origin: float | None = None
    pcm_bytes: int = 0
    sha256: str | None = None
    pauses: list[list[float]] = field(default_factory=list)
    untranscribed: set[int] = field(default_factory=set)
    sent: list[str] = field(default_factory=list)
    ended: dict[str, Any] | None = None
    outdated: bool = False
    chunks: dict[int, dict[str, Any]] = field(default_factory=dict)
    gaps: dict[int, Chunk] = field(default_factory=dict)
    recovered: bool = False

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Takes the next entry."""
        handler = getattr(self, f"_apply_{entry.get('type')}", None)
        if handler is None:
            self.records.append(cast(Record, entry))
        else:
            handler(entry)

    def _apply_call(self, entry: Mapping[str, Any]) -> None:
        facts = dict(entry["facts"])
        facts["started_at"] = datetime.fromisoformat(facts["started_at"])
        self.call, self.facts = cast(CallEntry, entry), CallFacts(**facts)
        self.metadata = dict(entry["metadata"])

    def _apply_metadata(self, entry: Mapping[str, Any]) -> None:
        self.metadata.update(entry["values"])

    def _apply_recording(self, entry: Mapping[str, Any]) -> None:
        self.rate, self.origin = entry["rate"], entry["origin"]

    def _apply_switch(self, entry: Mapping[str, Any]) -> None:
        open_pause = bool(self.pauses) and len(self.pauses[-1]) == 1
        if entry.get("transcripts") is False:
            self.untranscribed.add(len(self.pauses) - open_pause)
        if entry["on"] and open_pause:
            self.pauses[-1].append(entry["at"])
        elif not entry["on"] and not open_pause:
            self.pauses.append([entry["at"]])

    def _apply_end(self, entry: Mapping[str, Any]) -> None:
        self.end = CallEnd(entry["at"], entry["reason"], entry.get("error"), entry.get("ended_by"))
        self.sha256 = entry.get("sha256")
        self.pcm_bytes = entry.get("pcm_bytes", 0)

    def _apply_chunk(self, entry: Mapping[str, Any]) -> None:
        self.chunks[entry["index"]] = dict(entry)
        self.outdated |= self.ended is not None and entry["result"] == "ok"

    def _apply_gap(self, entry: Mapping[str, Any]) -> None:
        start = entry["start"]
        index = start // CHUNK_BYTES
        self.gaps[start] = Chunk(index, start, entry["size"], "audio/pcm", bytes)

    def _apply_ended(self, entry: Mapping[str, Any]) -> None:
        self.ended, self.outdated = entry["event"], False
        self.sent = [name for name in self.sent if name != "call-ended"]  # that was an older one

    def _apply_sent(self, entry: Mapping[str, Any]) -> None:
        self.sent.append(entry["event"])

    # What is told of it

    def started_event(self) -> dict[str, Any]:
        """The call-started event, always the same for the same beginning."""
        assert self.facts is not None and self.call is not None
        return cast(dict[str, Any], call_started(self.facts, self.call["metadata"]))

    def ended_event(
        self,
        stats: DeliveryStats,
        missing: list[Chunk],
        failure: str | None,
        *,
        voiced: Voiced | None = None,
        records: list[Record] | None = None,
    ) -> dict[str, Any]:
        """The call-ended event.

        Args:
            stats: Counts of the delivery.
            missing: Chunks that Roark does not have.
            failure: Why, in a few words.
            voiced: Finds where the user's speech really begins and ends, where it is known.
            records: Instead of the story's own.
        """
        assert self.facts is not None
        event = call_ended(
            self.facts,
            self.end or CallEnd(self._last_moment(), DIED),
            self.records if records is None else records,
            RecordingFacts(
                self._manifest(missing, failure),
                sample_rate=self.rate if self.pcm_bytes else None,
                offset_ms=self._offset_ms,
                voiced=voiced if self.pcm_bytes else None,
            ),
            self._counts(stats),
            self.metadata,
        )
        return cast(dict[str, Any], event)

    def _last_moment(self) -> float:
        assert self.facts is not None
        times = [float(record["at"]) for record in self.records]
        if self.origin is not None and self.rate:
            times.append(self.origin + self.pcm_bytes / BYTES_PER_FRAME / self.rate)
        return max([self.facts.started, *times])

    def _offset_ms(self, at: float) -> int:
        """A moment's place on the recording; without one, since the call's beginning."""
        assert self.facts is not None
        origin = self.facts.started if self.origin is None else self.origin
        return max(0, round((at - origin) * 1000))

    def _manifest(self, missing: list[Chunk], failure: str | None) -> Recording:
        length = self._milliseconds(self.pcm_bytes)
        gaps = [
            gap
            for gap in self.gaps.values()
            if not any(chunk.start <= gap.start < chunk.end for chunk in missing)
        ]
        manifest: Recording = {
            "status": "complete",
            "chunkCount": sum(chunk["result"] == "ok" for chunk in self.chunks.values()),
            "byteCount": self.pcm_bytes,
            "durationMs": length,
            "gaps": [
                {
                    "startMs": self._milliseconds(chunk.start),
                    "endMs": self._milliseconds(min(chunk.end, self.pcm_bytes)),
                }
                for chunk in sorted([*missing, *gaps], key=lambda chunk: chunk.start)
            ],
            "pauses": [
                self._pause(number, pause, length) for number, pause in enumerate(self.pauses)
            ],
        }
        if self.sha256 is not None and self.pcm_bytes:
            manifest["sha256"] = self.sha256
        if self.call is not None and self.call["recording"] == "off":
            manifest["status"], manifest["reason"] = "disabled", "recording is off"
        elif not self.pcm_bytes:
            manifest["status"], manifest["reason"] = "disabled", "the session had no audio"
        elif missing:
            manifest["status"] = "partial" if manifest["chunkCount"] else "failed"
            manifest["reason"] = failure or "no answer"
        elif gaps:
            manifest["status"], manifest["reason"] = "partial", "lost on disk"
        return manifest

    def _pause(self, number: int, pause: list[float], length: int) -> Pause:
        start = self._offset_ms(pause[0])
        end = self._offset_ms(pause[1]) if len(pause) > 1 else max(start, length)
        row: Pause = {"startMs": start, "endMs": end}
        if number in self.untranscribed:
            row["transcripts"] = False
        return row

    def _milliseconds(self, size: int) -> int:
        return round(size / BYTES_PER_FRAME / (self.rate or 1) * 1000)

    def _counts(self, stats: DeliveryStats) -> DeliveryCounts:
        return {
            "attempts": stats.attempts,
            "retries": stats.retries,
            "dropped": dict(stats.dropped),
            "recovered": self.recovered,
        }
