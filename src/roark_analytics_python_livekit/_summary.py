"""The one line that a call leaves in the log: a warning if something of it was not delivered."""

from __future__ import annotations

from ._delivery.uploader import Uploader
from ._diagnostics import logger


def log_summary(
    call_id: str,
    uploader: Uploader,
    *,
    broke_off: bool,
    redaction_failures: int,
    has_no_audio: bool,
) -> None:
    """Says how the delivery of a call went; `broke_off` by an error that left the rest unsent."""
    if redaction_failures:
        logger.warning(
            "roark: call %s: `redact` failed on %d texts; a marker stands in their place",
            call_id,
            redaction_failures,
        )
    stats = uploader.stats
    missing = sorted(stats.undelivered, key=lambda event: event != "call-started")
    if uploader.lost:
        chunks = count_of(len(uploader.lost), "recording chunk")
        missing.insert(missing.count("call-started"), chunks)
    if broke_off:
        missing.append("the rest, after an internal error")
    dropped = [f"{count} {reason.replace('_', ' ')}" for reason, count in stats.dropped.items()]
    counts = (
        f"sent {count_of(stats.events_sent, 'event')}, {count_of(stats.chunks_sent, 'chunk')}"
        f" ({count_of(stats.bytes_sent, 'byte')}); "
        f"{stats.retries} {'retry' if stats.retries == 1 else 'retries'}, "
        f"{stats.spooled} kept in the spool, dropped {', '.join(dropped) or 'nothing'}"
    )
    if has_no_audio:
        counts += "; no recording: the session had no audio"
    if missing:
        logger.warning(
            "roark: call %s: not delivered: %s (last failure: %s); %s",
            call_id,
            ", ".join(missing),
            uploader.last_failure or "no answer",
            counts,
        )
    else:
        logger.info("roark: call %s delivered: %s", call_id, counts)


def count_of(number: int, thing: str) -> str:
    """A number of things, as English has it."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
