"""The counts of a call, and the words that stand for what became of a thing."""

from __future__ import annotations

from dataclasses import fields

from roark_analytics_python_livekit._delivery.stats import CallStats, Outcome
from roark_analytics_python_livekit.session import CallStats as PublicStats


def test_the_words_of_spools_and_of_the_wire_are_these() -> None:
    """Spools outlive upgrades, and whoever reads `delivery.dropped` knows these."""
    assert {outcome.value for outcome in Outcome} == {
        *("ok", "later", "refused", "expired", "unauthorized", "untrusted"),
        "no_endpoint",
        *("time", "full", "damaged"),
        *("queue_full", "unusable", "story_full", "redaction_failed", "internal_error", "paused"),
        *("foreign", "unreadable", "empty"),
    }


def test_only_what_concerns_the_key_or_the_service_stops_a_call() -> None:
    """Everything else is one request's own."""
    stops = {outcome for outcome in Outcome if outcome.stops_the_call}
    assert stops == {Outcome.UNAUTHORIZED, Outcome.UNTRUSTED, Outcome.NO_ENDPOINT}


def test_what_users_read_is_the_same_class_with_these_fields() -> None:
    """The handle's `stats`, in this order."""
    assert PublicStats is CallStats
    assert [field.name for field in fields(CallStats)] == [
        *("events_sent", "chunks_sent", "bytes_sent", "attempts", "retries", "spooled"),
        *("dropped", "undelivered", "done"),
    ]
    assert CallStats() == CallStats(0, 0, 0, 0, 0, 0, {}, (), True)


def test_everything_is_counted_once() -> None:
    """Each method is one thing that happened."""
    stats = CallStats(done=False)
    stats.attempt(again=False)
    stats.attempt(again=True)
    stats.begin_event("call-started")
    stats.begin_event("call-ended")
    stats.event_sent("call-started")
    stats.chunk_sent(10)
    stats.chunk_sent(5)
    stats.spooled += 1
    stats.drop(Outcome.TIME)
    stats.drop(Outcome.TIME, 2)
    assert stats == CallStats(1, 2, 15, 2, 1, 1, {"time": 3}, ("call-ended",), False)


def test_a_count_that_is_kept_elsewhere_is_taken_over_as_it_is() -> None:
    """As often as it is asked for; nothing is no reason."""
    stats = CallStats()
    for total in (0, 2, 3):
        stats.dropped_so_far(Outcome.INTERNAL_ERROR, total)
    stats.dropped_so_far(Outcome.QUEUE_FULL, 0)
    assert stats.dropped == {"internal_error": 3}


def test_a_snapshot_does_not_change_any_more() -> None:
    """The delivery goes on behind it."""
    stats = CallStats(done=False)
    stats.drop(Outcome.FULL)
    snapshot = stats.snapshot(done=True)
    stats.drop(Outcome.FULL)
    stats.chunk_sent(10)
    assert snapshot == CallStats(dropped={"full": 1}, done=True)


def test_call_ended_has_its_part_of_them() -> None:
    """As they are at that moment."""
    stats = CallStats(attempts=5, retries=2, dropped={"time": 1})
    counts = stats.counts(recovered=True)
    stats.drop(Outcome.TIME)
    assert counts == {"attempts": 5, "retries": 2, "dropped": {"time": 1}, "recovered": True}
    assert stats.counts()["recovered"] is False
