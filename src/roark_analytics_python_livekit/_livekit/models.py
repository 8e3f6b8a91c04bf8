"""Metrics of the session's models → records: as they come, and sums at the call's end."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .._call.records import Record
from . import metrics
from .clock import WallClock
from .compat import current_agent
from .subscriptions import Subscriptions

_MODELS = ("stt", "llm", "tts", "vad", "turn_detection")  # attributes of sessions and of agents


@dataclass
class ModelWatch:
    """Subscribes to the metrics of the models in use.

    A session that counts usage (1.5) has its own `metrics_collected` deprecated: then it is the
    models that are subscribed to.
    """

    session: weakref.ref[Any]  # a model may outlive it, and has the handlers
    put: Callable[[Record], None]
    subscriptions: Subscriptions
    clock: WallClock
    counts_usage: bool
    vad: metrics.VadSummary = field(default_factory=metrics.VadSummary)

    def begin(self) -> None:
        """Subscribes to the session, where it does not count usage."""
        if not self.counts_usage:
            self.subscriptions.add(
                self.session(), "metrics_collected", lambda event: self._take(event.metrics)
            )

    def check_replaced(self) -> None:
        """Subscribes to models that are new."""
        if self.counts_usage:
            for model in self._models():
                if not self.subscriptions.has(model):
                    self.subscriptions.add(model, "metrics_collected", self._on_metrics)

    def end(self, at: float) -> None:
        self._put_all(self.vad.records(at))
        if self.counts_usage and (session := self.session()) is not None:
            self._put_all(metrics.usage_records(session.usage.model_usage, at))

    def _models(self) -> Iterator[Any]:
        session = self.session()
        agent = current_agent(session)
        for owner in (session, agent):
            for name in _MODELS:
                model = getattr(owner, name, None)
                if callable(getattr(model, "on", None)):
                    yield model
        try:
            realtime = agent.realtime_llm_session
        except Exception:  # RuntimeError: the agent is not running, or has no realtime model
            return
        yield realtime

    def _on_metrics(self, collected: Any) -> None:
        # The session's own handler adds the speech's id to this object, perhaps after this one.
        take = self.subscriptions.guarded("metrics_collected", self._take)
        asyncio.get_running_loop().call_soon(take, collected)

    def _take(self, collected: Any) -> None:
        if metrics.type_of(collected) == metrics.VAD:
            self.vad.add(collected)
        else:
            self._put_all(metrics.request_records(collected, self.clock.monotonic))

    def _put_all(self, records: Iterable[Record]) -> None:
        for record in records:
            self.put(record)
