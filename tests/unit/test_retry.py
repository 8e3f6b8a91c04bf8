"""Retry decisions: what is worth another try, and how long to wait for it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roark_analytics_python_livekit._delivery.limits import MAX_RETRY_AFTER, RetryPolicy
from roark_analytics_python_livekit._delivery.retry import RetryQuota
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._http import (
    event_outcome,
    parse_retry_after,
    roark_outcome,
    upload_outcome,
)

NOW = datetime(2025, 11, 24, 8, 19, 3, tzinfo=timezone.utc)
EVER = float("inf")


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.OK, [200, 201, 202, 204, 299]),
        (Outcome.LATER, [408, 425, 429, *range(500, 600)]),
        (Outcome.UNAUTHORIZED, [401, 403]),
        (Outcome.REFUSED, [100, 301, 302, 307, 308, 304, 400, 404, 405, 409, 413, 422, 451, 600]),
    ],
)
def test_what_an_answer_of_roark_means(outcome: Outcome, statuses: list[int]) -> None:
    """Retried is only what can succeed."""
    assert {status: roark_outcome(status) for status in statuses} == dict.fromkeys(
        statuses, outcome
    )


def test_an_event_finds_no_path() -> None:
    """The base URL is wrong; whatever else is answered means the same for an event."""
    assert event_outcome(404) is event_outcome(405) is Outcome.NO_ENDPOINT
    others = [status for status in range(100, 600) if status not in (404, 405)]
    assert list(map(event_outcome, others)) == list(map(roark_outcome, others))


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.OK, [200, 204]),
        (Outcome.LATER, [408, 425, 429, *range(500, 600)]),
        (Outcome.EXPIRED, [403]),
        (Outcome.REFUSED, [301, 307, 400, 401, 404, 411, 413, 600]),
    ],
)
def test_what_an_answer_of_a_presigned_url_means(outcome: Outcome, statuses: list[int]) -> None:
    """403 says that the URL is used up: that is not the API key's fault."""
    assert {status: upload_outcome(status) for status in statuses} == dict.fromkeys(
        statuses, outcome
    )


@given(
    attempt=st.integers(0, 10_000),
    jitter=st.floats(0, 1, exclude_max=True),
    base=st.floats(0.01, 10),
    cap=st.floats(0.01, 100),
)
def test_a_wait_is_a_random_part_of_a_doubling_that_is_capped(
    attempt: int, jitter: float, base: float, cap: float
) -> None:
    """Full jitter: never above min(cap, base * 2**attempt), however many tries there were."""
    wait = RetryPolicy(base, cap).delay(attempt, jitter=jitter, time_left=EVER)
    assert wait is not None
    assert 0 <= wait <= min(cap, base * 2.0 ** min(attempt, 50))


def test_the_ceiling_doubles_until_the_cap() -> None:
    """With the default policy: 0.5, 1, 2, 4, 8, then 15 seconds."""
    policy = RetryPolicy()
    waits = [policy.delay(attempt, jitter=1.0, time_left=EVER) for attempt in range(7)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


@given(
    attempt=st.integers(0, 100),
    jitter=st.floats(0, 1, exclude_max=True),
    time_left=st.floats(0, 100),
    retry_after=st.none() | st.floats(0, 1e9),
)
def test_no_retry_begins_after_the_deadline(
    attempt: int, jitter: float, time_left: float, retry_after: float | None
) -> None:
    """There is a wait that ends within the time left, or none at all."""
    wait = RetryPolicy().delay(attempt, jitter=jitter, time_left=time_left, retry_after=retry_after)
    assert wait is None or 0 <= wait < time_left


@given(jitter=st.floats(0, 1, exclude_max=True), retry_after=st.floats(0, 1e9))
def test_retry_after_is_a_minimum_up_to_a_minute(jitter: float, retry_after: float) -> None:
    """What the service asks for is waited at least, and never for ever."""
    policy = RetryPolicy()
    wait = policy.delay(0, jitter=jitter, time_left=EVER, retry_after=retry_after)
    assert wait is not None
    assert min(retry_after, MAX_RETRY_AFTER) <= wait <= MAX_RETRY_AFTER + policy.base


def test_without_time_there_is_no_retry() -> None:
    """Not even one that would begin at once."""
    assert RetryPolicy().delay(0, jitter=0.0, time_left=0.0) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1000000000", 1e9),
        ("9" * 300, 1e9),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("soon", None),
        ("７", None),
        ("²", None),
        ("Mon, 24 Nov 2025 08:19:33 GMT", 30.0),
        ("Monday, 24-Nov-25 08:19:33 GMT", 30.0),
        ("Mon Nov 24 08:19:33 2025", 30.0),
        ("Mon, 24 Nov 2025 09:19:33 +0100", 30.0),
        ("Mon, 24 Nov 2025 08:19:33", 30.0),
        ("Sun, 23 Nov 2025 08:19:33 GMT", 0.0),
        ("Mon, 24 Nov 99999999999999 08:19:33 GMT", None),
        ("Mon, 24 Nov 2025 08:19:33 +999999999999", None),
        ("Mon, 99 Nov 2025 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(text: str | None, seconds: float) -> None:
    """Whatever a proxy puts there: a number of seconds from 0 on, or None."""
    assert parse_retry_after(text, now=NOW) == seconds


@given(st.integers(-(10**9), 10**9))
def test_an_http_date_counts_from_now(seconds: int) -> None:
    """A date that has passed asks for no wait."""
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(date, now=NOW) == max(0, seconds)


@given(st.text(st.sampled_from("0123456789 :,+-GMTJanDecMon\0é"), max_size=40) | st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    """A header is the service's word, not a promise."""
    seconds = parse_retry_after(text, now=NOW)
    assert seconds is None or seconds >= 0


class TestQuota:
    """Retries of all requests share a bucket."""

    def test_a_burst_is_free_and_then_each_waits_its_turn(self) -> None:
        """Twenty at once, one a second after that."""
        quota = RetryQuota(burst=20, rate=1.0)
        assert [quota.take(100.0) for _ in range(20)] == [0.0] * 20
        assert [quota.take(100.0) for _ in range(3)] == [1.0, 2.0, 3.0]

    def test_time_fills_it_up_to_the_burst(self) -> None:
        """An hour of rest is worth no more than a minute."""
        quota = RetryQuota(burst=2, rate=1.0)
        for _ in range(4):
            quota.take(0.0)
        assert quota.take(3.0) == 0.0
        assert [quota.take(3600.0) for _ in range(3)] == [0.0, 0.0, 1.0]

    @given(st.lists(st.floats(0, 1e6), max_size=50))
    def test_it_never_lets_more_through_than_it_may(self, times: list[float]) -> None:
        """Whatever the clock does, backwards included."""
        quota = RetryQuota(burst=5, rate=2.0)
        free = sum(quota.take(now) == 0.0 for now in times)
        assert free <= 5 + 2.0 * (max(times, default=0.0)) + 1
