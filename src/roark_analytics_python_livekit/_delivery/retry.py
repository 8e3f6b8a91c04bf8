"""Where retries happen and stop: the quota, and the loop that makes one request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .._diagnostics import Guard, logger
from ..client import RequestError
from .limits import Deadline, RetryPolicy
from .stats import CallStats, Outcome

_STOPPED = {
    Outcome.UNAUTHORIZED: "the API key was refused",
    Outcome.UNTRUSTED: "the service cannot be trusted",
    Outcome.NO_ENDPOINT: "the service has no such path: check base_url and ROARK_BASE_URL",
}


class RetryQuota:
    """A bucket of retries for one call: a burst at once, then so many a second.

    All requests share it: a service in trouble is not hit by three uploads' worth of repetitions.
    An empty bucket makes a retry wait, it does not forbid it.
    """

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._tokens = float(burst)
        self._at = 0.0

    def take(self, now: float) -> float:
        """Takes a retry out at `now`; returns the seconds to wait until it may be made."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)


@dataclass
class Retrier:
    """Makes the requests of one call, each until it succeeds, cannot succeed, or had its tries."""

    call_id: str
    stats: CallStats
    deadline: Deadline
    guard: Guard
    policy: RetryPolicy
    quota: RetryQuota
    clock: Callable[[], float]
    jitter: Callable[[], float]
    stopped: Outcome | None = None  # why no request is made any more
    last_failure: str | None = None  # in a few words
    answered: bool = False  # the service did, in whichever way

    async def make(
        self,
        request: Callable[[], Awaitable[None]],
        *,
        tries: int | None = None,
        again: bool = False,
    ) -> Outcome:
        """Makes a request, `tries` times at most; `again` if it was tried before."""
        attempt = 0
        while self.stopped is None:
            self.stats.attempt(again=again or attempt > 0)
            outcome, retry_after = await self._try(request)
            if outcome is not Outcome.LATER:
                return outcome
            delay = self.policy.delay(
                attempt,
                jitter=self.jitter(),
                time_left=self.deadline.time_left(),
                retry_after=retry_after,
                quota=self.quota.take(self.clock()),
            )
            if delay is None:
                return Outcome.TIME
            await self.deadline.pause(delay)
            attempt += 1
            if tries is not None and attempt >= tries:
                return Outcome.LATER
        return self.stopped

    def stop(self, outcome: Outcome) -> Outcome:
        """Makes no more requests; returns the first reason why."""
        self.stopped = self.stopped or outcome
        return self.stopped

    async def _try(self, request: Callable[[], Awaitable[None]]) -> tuple[Outcome, float | None]:
        """(what became of one try, the seconds that the service asked to wait)."""
        try:
            await request()
        except RequestError as error:
            self.answered |= error.status is not None
            self.last_failure = error.reason
            if error.outcome.stops_the_call:
                return self._stop_for(error), None
            return error.outcome, error.retry_after
        except Exception as error:
            # Nobody refused it, another process may fare better: what is spooled stays there.
            self.last_failure = type(error).__name__
            self.guard.swallow("a request", error)
            return Outcome.TIME, None
        self.answered = True
        return Outcome.OK, None

    def _stop_for(self, error: RequestError) -> Outcome:
        if self.stopped is None:
            why = _STOPPED[error.outcome]
            text = "roark: call %s: %s (%s); no more of it is sent"
            logger.warning(text, self.call_id, why, error.reason)
        return self.stop(error.outcome)
