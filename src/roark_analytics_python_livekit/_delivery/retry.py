"""(outcome, attempt, time left) → a delay, or stop. Pure: clock and randomness are passed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum

# The client's statuses that pass with time, and each of a server: CDNs have some of their own (520
# to 530) for a service that is down.
RETRYABLE_STATUS = frozenset({408, 425, 429, *range(500, 600)})
MAX_RETRY_AFTER = 60.0  # seconds; a service that asks for more is not waited for that long


class Outcome(Enum):
    """What became of a request, as far as the next step depends on it."""

    OK = "ok"
    RETRY = "retry"  # the same request may succeed later
    REFUSED = "refused"  # this request never will
    UNAUTHORIZED = "unauthorized"  # no request with this key will
    UNTRUSTED = "untrusted"  # whoever answers is not who he should be: nothing is sent there
    EXPIRED = "expired"  # a presigned URL is used up: a fresh one may do


@dataclass(frozen=True)
class RetryPolicy:
    """Full jitter: before retry n, wait a random part of min(cap, base * 2**n) seconds."""

    base: float = 0.5
    cap: float = 15.0

    def delay(
        self,
        attempt: int,
        *,
        jitter: float,
        time_left: float,
        retry_after: float | None = None,
        quota: float = 0.0,
    ) -> float | None:
        """Seconds to wait after failed attempt number `attempt` (from 0), or None to stop.

        Args:
            attempt: Which attempt failed, counted from 0.
            jitter: A random number from [0, 1).
            time_left: Seconds until the deadline; a retry that would begin after it is not made.
            retry_after: What the service asked for, in seconds: a minimum, clamped to 60.
            quota: Seconds that the retry quota asks for, a minimum too.
        """
        ceiling = min(self.cap, self.base * 2.0 ** min(attempt, 16))
        wait = jitter * ceiling
        if retry_after is not None:
            wait += min(retry_after, MAX_RETRY_AFTER)
        wait = max(wait, quota)
        return wait if wait < time_left else None


class RetryQuota:
    """A bucket of retries for one call: a burst at once, then so many a second.

    Retries of all requests share it, so that a service in trouble is not hit by three uploads'
    worth of repetitions; an empty bucket makes a retry wait, it does not forbid it.

    Args:
        burst: Retries that may come at once.
        rate: Retries a second after that.
    """

    def __init__(self, burst: int = 20, rate: float = 1.0) -> None:
        self._burst = burst
        self._rate = rate
        self._tokens = float(burst)
        self._at = 0.0

    def take(self, now: float) -> float:
        """Takes a retry out; returns the seconds to wait until it may be made.

        Args:
            now: Monotonic seconds.
        """
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)


def roark_outcome(status: int) -> Outcome:
    """What an answer of Roark's own endpoints means."""
    if 200 <= status < 300:
        return Outcome.OK
    if status in (401, 403):
        return Outcome.UNAUTHORIZED
    return Outcome.RETRY if status in RETRYABLE_STATUS else Outcome.REFUSED


def upload_outcome(status: int) -> Outcome:
    """What an answer of a presigned URL means."""
    if 200 <= status < 300:
        return Outcome.OK
    if status == 403:
        return Outcome.EXPIRED
    return Outcome.RETRY if status in RETRYABLE_STATUS else Outcome.REFUSED


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Seconds from a Retry-After header (seconds or an HTTP date), or None where it says nothing.

    Args:
        value: The header's text.
        now: The current time, with a time zone.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:12]), 10**9))
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - now).total_seconds())
