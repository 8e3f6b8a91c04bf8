"""How much of a call waits, is sent at once, and how often: every number that delivery goes by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of one call's delivery.

    Attributes:
        chunk_bytes: The size of each chunk but the last one: about what the service expects.
        max_memory: Bytes of PCM that may wait in memory, 11 minutes at 24 kHz. A chunk on top of
            that becomes silence.
        max_journal: Bytes of what happened in a call: hundreds of hours of talk. Records on top of
            that are dropped.
        in_flight: Chunks that are uploaded at the same time.
        tries_in_a_row: Tries of one chunk before the others get their turn.
        fresh_urls: Presigned URLs for one chunk that may turn out to be expired.
        started_share: The part of the budget after which call-started is given up.
        chunks_share: The part of the budget after which the chunks are given up. The rest belongs
            to call-ended, which matters most.
        tries: Of each request; None makes as many as the time allows. The rest of the call is not
            tried once call-started had so many, nor the other chunks once the first few had.
    """

    chunk_bytes: int = 256 * 1024
    max_memory: int = 64 * 1024**2
    max_journal: int = 16 * 1024**2
    in_flight: int = 3
    tries_in_a_row: int = 4
    fresh_urls: int = 4
    started_share: float = 0.3
    chunks_share: float = 0.7
    tries: int | None = None


DEFAULT_LIMITS = Limits()
