"""What is watched of a session, and when its call is over: with livekit's emitters, out of time."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("livekit.agents")

from livekit import rtc
from livekit.agents.voice import io

from roark_analytics_python_livekit._call.records import EndRecord
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._livekit.agents import MAX_AGENTS, AgentWatch
from roark_analytics_python_livekit._livekit.clock import WallClock
from roark_analytics_python_livekit._livekit.compat import probe
from roark_analytics_python_livekit._livekit.models import ModelWatch
from roark_analytics_python_livekit._livekit.observer import ClosingWatch, Lookout, Observation
from roark_analytics_python_livekit._livekit.subscriptions import Subscriptions
from roark_analytics_python_livekit._livekit.taps import InputTap, OutputTap
from roark_analytics_python_livekit._recording.frames import Cleared, Flushed, Paused, Resumed
from tests.support import livekit_features as has


class Emitter(rtc.EventEmitter[str]):
    """A session or a model, as far as it is looked at."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        vars(self).update(attributes)


class Speech:
    """What the agent says; `finish` is its end."""

    parent = None

    def __init__(self, *, interrupted: bool = False) -> None:
        self.interrupted = interrupted
        self._callbacks: list[Callable[[Any], None]] = []
        self._done = False

    def done(self) -> bool:
        return self._done

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def finish(self) -> None:
        self._done = True
        for callback in self._callbacks:
            callback(self)


class Records(list[Any]):
    """A queue's end that keeps what it is given."""

    def put(self, item: object) -> None:
        self.append(item)

    put_urgent = put_last = put

    def ends(self) -> list[str]:
        """Why the call was over, each time that it was said."""
        return [item["reason"] for item in self if item["type"] == "end"]


def create_session(**attributes: Any) -> Any:
    """A session that is running."""
    agent = SimpleNamespace(id="desk", instructions="Be brief.", tools=[])
    usage = SimpleNamespace(model_usage=[])
    known = {"current_agent": agent, "current_speech": None, "usage": usage, **attributes}
    return Emitter(**known)


def watch_models(session: Emitter) -> tuple[ModelWatch, Records]:
    """A watch of a session that counts usage, and what it records."""
    records = Records()
    subscriptions = Subscriptions(Guard())
    watch = ModelWatch(
        weakref.ref(session), records.put, subscriptions, WallClock(), counts_usage=True
    )
    return watch, records


def measured() -> SimpleNamespace:
    """The metrics of one request."""
    return SimpleNamespace(type="llm_metrics", ttft=0.5)


async def test_a_model_that_is_looked_at_again_and_again_is_subscribed_to_once() -> None:
    """It is looked at ten times a second; one that replaces it is new."""
    session = create_session(llm=Emitter())
    watch, records = watch_models(session)
    for _ in range(3):
        watch.check_replaced()
    session.llm.emit("metrics_collected", measured())
    await asyncio.sleep(0)
    assert len(records) == 1
    session.llm = Emitter()
    watch.check_replaced()
    session.llm.emit("metrics_collected", measured())
    await asyncio.sleep(0)
    assert len(records) == 2


async def test_metrics_are_read_after_the_sessions_own_handler() -> None:
    """It adds the speech's id, and may have subscribed later."""
    model = Emitter()
    watch, records = watch_models(session := create_session(llm=model))
    watch.check_replaced()
    assert session.llm is model
    model.on("metrics_collected", lambda metrics: setattr(metrics, "speech_id", "speech_1"))
    model.emit("metrics_collected", measured())
    await asyncio.sleep(0)
    assert [record["extra"] for record in records] == [{"speechId": "speech_1"}]


async def test_once_cancelled_nothing_is_handled_and_no_emitter_is_kept() -> None:
    """Also not what livekit's loop was about to hand over."""
    handled: list[object] = []
    subscriptions, emitter = Subscriptions(Guard()), Emitter()
    subscriptions.add(emitter, "metrics_collected", handled.append)
    late = subscriptions.guarded("metrics_collected", handled.append)
    subscriptions.cancel()
    late("late")
    emitter.emit("metrics_collected", "later")
    assert handled == [] and not subscriptions.has(emitter)


def test_an_agent_that_always_changes_is_recorded_so_many_times() -> None:
    """A prompt may contain the time."""
    session = create_session()
    records = Records()
    watch = AgentWatch(session, records.put, records_handoffs=False)
    for number in range(MAX_AGENTS + 10):
        session.current_agent.instructions = f"It is now {number}."
        watch.check()
        watch.check()
    assert len(records) == MAX_AGENTS == 50


async def test_what_has_no_event_is_looked_for_again_and_again_until_the_end() -> None:
    """An input that is replaced while nobody speaks: its audio is lost until the next look."""
    looks = 0
    thrice = asyncio.Event()

    def install() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            thrice.set()

    taps: Any = SimpleNamespace(install=install, report_listening=lambda: None)
    other: Any = SimpleNamespace(check_replaced=lambda: None)
    closing = ClosingWatch(SimpleNamespace(), lambda end: None)
    lookout = Lookout(taps, other, other, WallClock(), Guard(), closing)
    lookout.wake()
    await asyncio.wait_for(thrice.wait(), 10)
    lookout.stop()
    timer = lookout._timer
    assert timer is not None and timer.cancelled()


def test_a_session_that_stops_without_a_close_has_closed() -> None:
    """livekit 1.8 tells none where closing fails; one that tells it, does so at once."""
    ends: list[EndRecord] = []
    session: Any = SimpleNamespace(_started=False)
    watch = ClosingWatch(session, ends.append)
    for _ in range(3):  # it is just starting
        watch.look()
    session._started = True
    watch.look()
    session._started = False
    watch.look()
    assert ends == []
    for _ in range(3):
        watch.look()
    assert [end["reason"] for end in ends] == ["session_closed"]


def test_a_session_that_does_not_say_whether_it_runs_is_left_to_its_events() -> None:
    """A stand-in's attributes may be anything."""
    ends: list[EndRecord] = []
    for session in (SimpleNamespace(), SimpleNamespace(_started="no")):
        watch = ClosingWatch(session, ends.append)
        for _ in range(5):
            watch.look()
    assert ends == []


class Sink(io.AudioOutput):
    """Remembers what it was asked to do."""

    def __init__(self) -> None:
        options: dict[str, Any] = {}
        if has.PAUSE:
            options = {"label": "sink", "capabilities": io.AudioOutputCapabilities(pause=True)}
        super().__init__(next_in_chain=None, sample_rate=24_000, **options)
        self.told: list[str] = []

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self.told.append("capture_frame")

    def flush(self) -> None:
        self.told.append("flush")

    def clear_buffer(self) -> None:
        self.told.append("clear_buffer")

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


def test_what_a_sink_is_told_is_reported_and_passed_on() -> None:
    """To the sink itself, in the same order."""
    reports = {"flush": Flushed, "clear_buffer": Cleared}
    if has.PAUSE:
        reports |= {"pause": Paused, "resume": Resumed}
    sink, records = Sink(), Records()
    tap = OutputTap(sink, records, Guard(), probe(), WallClock())
    for name in reports:
        getattr(tap, name)()
    assert sink.told == list(reports)
    assert [type(report) for report in records] == list(reports.values())


class Microphone(io.AudioInput):
    """A user's own input, with something that no other has."""

    def __init__(self) -> None:
        super().__init__(**({"label": "Microphone"} if has.PAUSE else {}))
        self.gain = 1.0

    def louder(self) -> float:
        self.gain *= 2
        return self.gain

    async def __anext__(self) -> rtc.AudioFrame:
        raise StopAsyncIteration


def test_a_tap_passes_on_what_only_the_users_own_input_or_output_has() -> None:
    """Once the session has started they are behind it, and a user calls them all the same."""
    microphone, sink = Microphone(), Sink()
    heard: Any = InputTap(microphone, Records(), Guard(), probe())
    assert (heard.louder(), heard.gain, microphone.gain) == (2.0, 2.0, 2.0)
    played: Any = OutputTap(sink, Records(), Guard(), probe(), WallClock())
    assert played.told is sink.told
    again: Any = InputTap(heard, Records(), Guard(), probe())
    assert again.louder() == 4.0
    for tap in (heard, played):
        assert not hasattr(tap, "nothing_of_the_kind") and not hasattr(tap, "_private")


def observe(session: Emitter) -> tuple[Observation, Records]:
    """An observation of a session, and what it records."""
    records = Records()
    observation = Observation(session, records, Guard(), audio=False)
    observation.attach()
    return observation, records


async def test_a_session_that_closes_in_mid_speech_is_over_with_the_speech() -> None:
    """As 1.0 does it: the message comes after the close."""
    speech = Speech()
    _, records = observe(session := create_session(current_speech=speech))
    session.emit("close", SimpleNamespace(reason="task_completed", error=None))
    assert records.ends() == []
    speech.finish()
    assert records.ends() == ["task_completed"]


async def test_a_job_that_shuts_down_waits_for_the_speech_that_it_cuts_off() -> None:
    """The session closes at the same time, and says why."""
    speech = Speech(interrupted=True)
    observation, records = observe(session := create_session(current_speech=speech))
    ending = asyncio.create_task(observation.end("shutdown", ended_by="worker"))
    await asyncio.sleep(0)
    assert records.ends() == []
    speech.finish()
    session.emit("close", SimpleNamespace(reason="job_shutdown", error=None))
    await ending
    assert records.ends() == ["job_shutdown"]


async def test_a_call_is_over_once() -> None:
    """Whoever says so first."""
    observation, records = observe(session := create_session())
    await observation.end("enough")
    await observation.end("again")
    session.emit("close", SimpleNamespace(reason="job_shutdown", error=None))
    assert records.ends() == ["enough"]
