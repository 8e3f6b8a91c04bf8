"""One vocabulary of what can become of things that are sent, and one set of counts for a call."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from .._types import DeliveryCounts


class Outcome(Enum):
    """What became of a request, an event, a chunk, a record, or a recovered call.

    The values stand in journals and in `delivery.dropped` of call-ended: they keep their strings.
    """

    OK = "ok"  # accepted
    LATER = "later"  # the same may succeed later
    REFUSED = "refused"  # it never will
    EXPIRED = "expired"  # the presigned URL is used up: a fresh one may do
    UNAUTHORIZED = "unauthorized"  # nothing that is sent with this key will
    UNTRUSTED = "untrusted"  # whoever answers is not the service: nothing is sent there
    NO_ENDPOINT = "no_endpoint"  # the service has no such path: nothing is sent there
    TIME = "time"  # there was no time left for it
    FULL = "full"  # there was no room for the chunk
    DAMAGED = "damaged"  # lost on disk

    QUEUE_FULL = "queue_full"  # the agent's side handed over more than the worker took
    UNUSABLE = "unusable"  # the record is not JSON
    STORY_FULL = "story_full"  # the call has more records than fit
    PAUSED = "paused"  # left out by `pause_recording(transcripts=False)`
    REDACTION_FAILED = "redaction_failed"  # `redact` raised: a marker stands in the text's place
    INTERNAL_ERROR = "internal_error"

    FOREIGN = "foreign"  # the spooled call is another key's, or another service's
    UNREADABLE = "unreadable"  # nobody can say whose the spooled call is: it was set aside
    EMPTY = "empty"  # there is nothing of the spooled call: it was removed

    @property
    def stops_the_call(self) -> bool:
        """Whether every other request of the call would fare the same."""
        return self in (Outcome.UNAUTHORIZED, Outcome.UNTRUSTED, Outcome.NO_ENDPOINT)


@dataclass
class CallStats:
    """Counts of one call, at the moment they were asked for.

    Attributes:
        events_sent: call-started and call-ended, as far as Roark accepted them.
        chunks_sent: Pieces of the recording that were accepted.
        bytes_sent: Their length in bytes.
        attempts: Tries of an event or a chunk; asking where a chunk goes is part of its try.
        retries: How many of them were repetitions.
        spooled: Events and chunks that wait on disk for the next process.
        dropped: What was given up, by reason.
        undelivered: Events that Roark has not accepted (yet).
        done: Whether the delivery is over.
    """

    events_sent: int = 0
    chunks_sent: int = 0
    bytes_sent: int = 0
    attempts: int = 0
    retries: int = 0
    spooled: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    undelivered: tuple[str, ...] = ()
    done: bool = True

    def attempt(self, *, again: bool) -> None:
        """Counts a try; `again` if it is a repetition."""
        self.attempts += 1
        self.retries += again

    def begin_event(self, name: str) -> None:
        """Counts an event as undelivered, until it is sent."""
        self.undelivered += (name,)

    def event_sent(self, name: str) -> None:
        """Counts an event that was accepted."""
        self.events_sent += 1
        self.undelivered = tuple(other for other in self.undelivered if other != name)

    def chunk_sent(self, size: int) -> None:
        """Counts a chunk of `size` bytes that was accepted."""
        self.chunks_sent += 1
        self.bytes_sent += size

    def drop(self, reason: Outcome, count: int = 1) -> None:
        """Counts what is given up."""
        self.dropped_so_far(reason, self.dropped.get(reason.value, 0) + count)

    def dropped_so_far(self, reason: Outcome, total: int) -> None:
        """Takes over a count that is kept elsewhere: so much was given up until now."""
        if total:
            self.dropped[reason.value] = total

    def snapshot(self, *, done: bool) -> CallStats:
        """A copy that does not change any more."""
        return replace(self, dropped=dict(self.dropped), done=done)

    def counts(self, *, recovered: bool = False) -> DeliveryCounts:
        """The counts as call-ended has them."""
        return {
            "attempts": self.attempts,
            "retries": self.retries,
            "dropped": dict(self.dropped),
            "recovered": recovered,
        }
