"""Attaching: it waits for nothing, raises nothing, and says once what cannot work."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("livekit.agents")

import httpx
from livekit.agents.voice import events, io

from local_roark import Faults
from offline.audio_io import MemoryAudioOutput
from roark_analytics_python_livekit import RoarkClient, observe_session
from tests.support import livekit_features as has
from tests.support.correlation import find
from tests.support.fake_agent import NoisyAgent, spoken
from tests.support.observed_calls import KEY, FakeJob, a_call, close_for, create_session

GREETING = "good morning to you"


class Unanswering(httpx.AsyncBaseTransport):
    """A service that takes a request and never answers."""

    def __init__(self) -> None:
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        await asyncio.Event().wait()
        raise AssertionError


def hanging_client() -> RoarkClient:
    """A client of that service."""
    return RoarkClient(KEY, base_url="https://roark.test", transport=Unanswering())


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What this package warned of."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "roark_analytics_python_livekit" and record.levelno >= logging.WARNING
    ]


async def test_it_returns_without_suspending_even_if_the_service_never_answers() -> None:
    """Not one step of the agent's event loop passes while it attaches."""
    session = create_session({})
    attaching = observe_session(
        FakeJob(),  # type: ignore[arg-type]  # a stand-in
        session,
        agent_id="agent",
        client=hanging_client(),
        shutdown_timeout=0.2,
    )
    with pytest.raises(StopIteration) as finished:
        attaching.send(None)
    handle = finished.value.value
    assert handle
    await handle.aflush()
    assert handle.stats.done


async def test_a_hanging_service_costs_the_budget_and_says_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The conversation is as ever; then one line names what was not delivered."""
    async with a_call(
        tmp_path, NoisyAgent(GREETING), client=hanging_client(), shutdown_timeout=0.5
    ) as call:
        await call.answered(1)
    assert [s.interrupted for s in call.ear.segments] == [False]
    assert call.handle.stats.done
    (line,) = warnings_of(caplog)
    assert "call-started" in line and "call-ended" in line and "recording chunk" in line


@pytest.mark.parametrize("spec", ["*:status=500", "*:drop"])
async def test_a_failing_service_changes_nothing_for_the_agent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spec: str
) -> None:
    """Errors of every request are repeated, counted, and said once."""
    async with a_call(
        tmp_path, NoisyAgent(GREETING), faults=Faults.parse(spec), shutdown_timeout=0.5
    ) as call:
        await call.answered(1)
    assert call.handle.stats.events_sent == 0 and call.handle.stats.retries > 0
    assert len(warnings_of(caplog)) == 1


async def test_a_service_that_recovers_gets_everything(tmp_path: Path) -> None:
    """Each endpoint fails twice, and then takes it; nothing arrives twice."""
    faults = Faults.parse(
        "events:status=503,count=2", "chunk-upload-url:drop,count=2", "uploads:status=500,count=2"
    )
    async with a_call(tmp_path, NoisyAgent(GREETING), faults=faults, shutdown_timeout=40.0) as call:
        await call.answered(1)
    assert call.ended["recording"]["status"] == "complete"
    assert call.ended["delivery"]["retries"] >= 4
    _, sound = call.recording()
    assert sound.nbytes == call.ended["recording"]["byteCount"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"api_key": ""}, "API key"),
        ({"api_key": None}, "API key"),
        ({"api_key": "rk_live_\nreplace_me"}, "API key"),
        ({"api_key": "rk_live_ключ"}, "API key"),
        ({"api_key": KEY, "base_url": "http://example.com"}, "https"),
        ({"api_key": KEY, "base_url": "https://[bad"}, "parsed"),
        ({"api_key": KEY, "base_url": "https://user:word@example.com"}, "credentials"),
        ({"api_key": KEY, "recording": "mp3"}, "recording"),
        ({"api_key": KEY, "agent_id": ""}, "agent_id"),
        ({"api_key": KEY, "agent_id": 42}, "agent_id must be a non-empty string, not 42"),
        ({"api_key": 1234}, "the API key must be a string, not int"),
        ({"client": object()}, "client must be a RoarkClient, not object"),
        ({"api_key": KEY, "capture_audio": "no"}, "capture_audio must be True or False, not 'no'"),
        ({"api_key": KEY, "redct": str.upper}, "'redct' is no option: write redact"),
    ],
)
async def test_bad_settings_are_one_warning_and_the_call_goes_on(
    options: dict[str, Any], word: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The handle is inert and falsy; nothing secret is echoed (fault 13, fault 14)."""
    session = create_session({})
    handle = await observe_session(
        FakeJob(),  # type: ignore[arg-type]  # a stand-in
        session,
        **{"agent_id": "agent", **options},
    )
    assert not handle and handle.livekit_call_id == ""
    await handle.aflush()
    handle.add_metadata(more=1)
    (line,) = warnings_of(caplog)
    assert word in line and "replace_me" not in line and "word@" not in line


async def test_half_a_surrogate_pair_in_an_id_costs_nothing(tmp_path: Path) -> None:
    """Ids come from anywhere: it is sent as the id that UTF-8 has a place for."""
    async with a_call(tmp_path, NoisyAgent(GREETING), livekit_call_id="RM_\ud800x") as call:
        await call.answered(1)
    assert call.handle.livekit_call_id == "RM_?x"
    assert (call.handle.stats.events_sent, call.handle.stats.dropped) == (2, {})


async def test_without_a_home_directory_a_call_is_kept_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, with what to do, and the call arrives whole (fault 15)."""
    async with a_call(
        tmp_path, NoisyAgent(GREETING), spool_dir="~nobody-of-this-name/spool"
    ) as call:
        await call.answered(1)
    assert call.ended["recording"]["status"] == "complete"
    (line,) = warnings_of(caplog)
    assert "no spool, this call is kept in memory only" in line and "ROARK_SPOOL_DIR" in line


@pytest.mark.parametrize("session", [None, object(), SimpleNamespace(input=None)])
async def test_what_is_no_session_is_one_warning(
    session: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A mock or nothing at all in its place does no harm."""
    handle = await observe_session(
        FakeJob(),  # type: ignore[arg-type]  # a stand-in
        session,
        api_key=KEY,
        agent_id="agent",
    )
    assert not handle
    assert len(warnings_of(caplog)) == 1


async def test_the_kill_switch_leaves_the_session_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is subscribed, nothing is registered, and nothing said."""
    monkeypatch.setenv("ROARK_OBSERVABILITY_ENABLED", "False")
    session, job = create_session({}), FakeJob()
    handle = await observe_session(job, session, api_key="", agent_id="agent")  # type: ignore[arg-type]  # a stand-in
    assert not handle and not job.callbacks


async def test_a_switch_that_says_neither_yes_nor_no_observes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails closed, and says so (fault 36)."""
    monkeypatch.setenv("ROARK_OBSERVABILITY_ENABLED", "disabled")
    session, job = create_session({}), FakeJob()
    handle = await observe_session(job, session, api_key=KEY, agent_id="agent")  # type: ignore[arg-type]  # a stand-in
    assert not handle and not job.callbacks
    (line,) = warnings_of(caplog)
    assert line == (
        "roark: nothing is observed: ROARK_OBSERVABILITY_ENABLED must be true or false,"
        " not 'disabled'"
    )


async def test_options_that_are_misspelt_are_said_and_no_key_is_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The call arrives, with what is metadata (fault 36)."""
    wrong = {"api_keyy": KEY, "agent_nme": "Zoe", "token": f"Bearer {KEY}", "capture_logs": False}
    more = {"plan": "gold"}
    async with a_call(
        tmp_path, NoisyAgent(GREETING), metadata=more, shutdown_timeout=60, **wrong
    ) as call:
        call.handle.add_metadata(again=KEY)
        await call.answered(1)
    sent = {"agent_nme": "Zoe", "token": "Bearer rk_...", "plan": "gold"}
    assert call.json["started"]["metadata"] == sent
    assert call.ended["metadata"] == {**sent, "again": "rk_..."}
    said = "\n".join(warnings_of(caplog))
    assert "'api_keyy' is no option" in said and "'agent_nme' is no option" in said
    assert said.count("an API key in the metadata is not sent") == 2
    assert "shutdown_timeout is 60 s" in said and KEY not in said


async def test_observing_twice_gives_the_same_handle_and_one_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second time is a warning; the first observation goes on."""
    async with a_call(tmp_path, NoisyAgent(GREETING)) as call:
        again = await observe_session(
            call.job,  # type: ignore[arg-type]  # a stand-in
            call.session,
            api_key=KEY,
            agent_id="agent",
        )
        assert again is call.handle
        await call.answered(1)
    assert len(call.ended["transcript"]) == 1
    assert len(warnings_of(caplog)) == 1


@pytest.mark.skipif(not has.CLOSE_REASON, reason="livekit-agents 1.0 does not start one again")
async def test_a_session_that_is_observed_and_started_again_is_another_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the next id, and with the audio of its own: also on the same line as before."""
    async with a_call(tmp_path, NoisyAgent(GREETING)) as first:
        await first.answered(1)
        tapped = first.session.input.audio, first.session.output.audio
    again = "and good evening to you"
    line = {"mouth": tapped[0], "ear": tapped[1], "session": first.session, "job": first.job}
    heard = len(first.ear.segments)
    async with a_call(tmp_path, NoisyAgent(again), **line) as second:
        await first.ear.until(lambda: len([s for s in first.ear.segments if s.finished]) > heard)
        await second.listening(1)
    assert [first.handle.livekit_call_id, second.handle.livekit_call_id] == ["RM_test", "RM_test-2"]
    assert [row["content"] for row in first.ended["transcript"]] == [GREETING]
    assert [row["content"] for row in second.ended["transcript"]] == [again]
    assert [call.ended["recording"]["status"] for call in (first, second)] == ["complete"] * 2
    rate, sound = second.recording()
    offset, score = find(spoken(again), rate, sound[:, 1], rate)
    assert score > 0.9
    assert abs(offset * 1000 - second.turn(again)["audioOffsetMs"]) < 50
    assert warnings_of(caplog) == []


async def test_observing_after_start_says_what_is_missing_and_gets_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The greeting may be lost; what comes after it is there, with its sound."""
    answers = {"are you there": "yes i am here"}
    async with a_call(tmp_path, NoisyAgent(GREETING), answers, observe_after_start=True) as call:
        await call.answered(1)
        await call.say("are you there")
        await call.answered(2)
    assert ["are you there", "yes i am here"] == [
        row["content"] for row in call.ended["transcript"]
    ][-2:]
    assert any("after session.start()" in line for line in warnings_of(caplog))
    rate, sound = call.recording()
    for text, channel in (("are you there", 0), ("yes i am here", 1)):
        offset, score = find(spoken(text), rate, sound[:, channel], rate)
        assert score > 0.9
        assert abs(offset * 1000 - call.turn(text)["audioOffsetMs"]) < 50


async def test_a_session_without_audio_has_a_call_without_recording(tmp_path: Path) -> None:
    """Text-only: the transcript arrives, and the manifest says why there is no sound."""
    answers = {"hi": "hello there"}
    async with a_call(tmp_path, NoisyAgent(), answers, with_audio=False) as call:
        speech = call.session.generate_reply(user_input="hi")
        await speech
    assert "hello there" in [row["content"] for row in call.ended["transcript"]]
    assert call.ended["recording"]["status"] == "disabled"
    assert "recordingSampleRate" not in call.ended
    assert call.json["recording"]["file"] is None


@pytest.mark.parametrize("options", [{"recording": "off"}, {"capture_audio": False}])
async def test_recording_off_taps_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    """The session's input and output stay what they were."""
    async with a_call(tmp_path, NoisyAgent(GREETING), **options) as call:
        await call.answered(1)
        assert call.session.output.audio is call.ear
        assert call.session.input.audio is call.mouth
    assert call.ended["recording"]["status"] == "disabled"
    assert len(call.ended["transcript"]) == 1


async def test_a_raising_sink_is_heard_by_the_agent_not_hidden_by_the_tap(tmp_path: Path) -> None:
    """The tap passes errors of the sink through as they are."""

    class Broken(MemoryAudioOutput):
        async def capture_frame(self, frame: Any) -> None:
            raise RuntimeError("the sink is broken")

    async with a_call(tmp_path, NoisyAgent()) as call:
        call.session.output.audio = Broken()
        speech = call.session.say("anything", audio=_one_frame())
        await asyncio.wait([asyncio.ensure_future(speech.wait_for_playout())], timeout=5)
        assert not isinstance(call.session.output.audio, Broken)  # tapped
        assert isinstance(call.session.output.audio, io.AudioOutput)
    assert call.ended["event"] == "call-ended"


async def _one_frame() -> AsyncIterator[Any]:
    from tests.support.fake_agent import frames_of

    yield frames_of(spoken("anything"))[0]


async def test_the_job_shutting_down_ends_a_call_whose_session_never_closed(tmp_path: Path) -> None:
    """The shutdown callback is the backstop."""
    async with a_call(tmp_path, NoisyAgent(GREETING)) as call:
        await call.answered(1)
        await call.job.shut_down("worker is going away")
        assert call.handle.stats.done
    assert call.ended["callEndedReason"] == "worker is going away"


async def test_aflush_is_idempotent_and_its_reason_is_sent(tmp_path: Path) -> None:
    """As code for 0.1.0 calls it, twice."""
    async with a_call(tmp_path, NoisyAgent(GREETING)) as call:
        await call.answered(1)
        await call.handle.aflush(reason="hung_up")
        await call.handle.aflush(reason="again")
    assert call.ended["callEndedReason"] == "hung_up"
    assert call.handle.livekit_call_id == "RM_test"


async def test_a_paused_recording_is_silent_and_its_time_line_goes_on(tmp_path: Path) -> None:
    """Paused before the agent speaks: the words are in the transcript, not in the sound."""
    async with a_call(tmp_path, NoisyAgent(GREETING)) as call:
        call.handle.pause_recording()
        await call.answered(1)
        call.handle.resume_recording()
    _, sound = call.recording()
    (pause,) = call.ended["recording"]["pauses"]
    assert not sound[: round(pause["endMs"] * 24)].any()
    assert len(sound) / 24 >= pause["endMs"]


async def test_two_calls_at_once_do_not_mix(tmp_path: Path) -> None:
    """Two sessions in one process, one event loop: two calls at Roark."""
    first = a_call(tmp_path, NoisyAgent("i am the first"), livekit_call_id="one")
    second = a_call(tmp_path, NoisyAgent("i am the second"), livekit_call_id="two")
    async with first as one, second as two:
        await asyncio.gather(one.answered(1), two.answered(1))
    assert [row["content"] for row in one.ended["transcript"]] == ["i am the first"]
    assert [row["content"] for row in two.ended["transcript"]] == ["i am the second"]


async def test_each_session_of_a_job_is_a_call_of_its_own(tmp_path: Path) -> None:
    """Both at once, in the same room: neither takes the other's id, nor its words."""
    job = FakeJob()
    first = a_call(tmp_path, NoisyAgent("i am the first"), job=job)
    second = a_call(tmp_path, NoisyAgent("i am the second"), job=job)
    async with first as one, second as two:
        await asyncio.gather(one.answered(1), two.answered(1))
    assert [one.handle.livekit_call_id, two.handle.livekit_call_id] == ["RM_test", "RM_test-2"]
    assert [row["content"] for row in one.ended["transcript"]] == ["i am the first"]
    assert [row["content"] for row in two.ended["transcript"]] == ["i am the second"]
    for call in (one, two):
        assert call.json["started"]["roomSid"] == "RM_test"
        assert call.ended["recording"]["status"] == "complete"


async def test_sessions_one_after_the_other_do_not_overwrite_each_other() -> None:
    """Also where the one before is gone, and with an id that is given; other jobs are free."""
    job, ids = FakeJob(), []
    for of_job, given in (
        (job, None),
        (job, None),
        (job, "mine"),
        (job, "mine"),
        (FakeJob(), None),
    ):
        session = create_session({})
        handle = await observe_session(
            of_job,  # type: ignore[arg-type]  # a stand-in
            session,
            agent_id="agent",
            livekit_call_id=given,
            client=hanging_client(),
            shutdown_timeout=0.01,
        )
        ids.append(handle.livekit_call_id)
        await handle.aflush()
        del session, handle
        gc.collect()
    assert ids == ["RM_test", "RM_test-2", "mine", "mine-2", "RM_test"]


async def test_a_job_that_cannot_be_a_key_is_observed_too() -> None:
    """A stand-in of somebody's own tests."""
    job = SimpleNamespace(job=SimpleNamespace(id="AJ_1"), add_shutdown_callback=lambda _: None)
    handle = await observe_session(
        job,  # type: ignore[arg-type]  # a stand-in
        create_session({}),
        agent_id="agent",
        client=hanging_client(),
        shutdown_timeout=0.01,
    )
    assert handle.livekit_call_id == "AJ_1"
    await handle.aflush()


@pytest.mark.skipif(not has.CLOSE_REASON, reason="livekit-agents 1.0 keeps closed sessions itself")
async def test_a_handle_that_is_kept_keeps_no_session(tmp_path: Path) -> None:
    """Its models, agents and history are the agent's, and go when the agent lets them go."""
    async with a_call(tmp_path, NoisyAgent(), {"hi": "hello"}, with_audio=False) as call:
        await call.session.generate_reply(user_input="hi")
    handle, session = call.handle, weakref.ref(call.session)
    del call
    for _ in range(50):  # livekit's own tasks have their last steps to make
        gc.collect()
        if session() is None:
            break
        await asyncio.sleep(0.01)
    assert session() is None
    assert handle.stats.done


async def test_what_comes_after_a_flush_is_kept_nowhere(tmp_path: Path) -> None:
    """The call goes on, unobserved: nobody takes its audio from the queue any more."""
    async with a_call(tmp_path, NoisyAgent(), {"hello": "hi there"}) as call:
        await call.handle.aflush(reason="enough")
        assert call.handle._parts is not None
        queue = call.handle._parts.worker.queue
        await call.say("hello")
        await call.answered(1)
        assert not queue._items and not queue.dropped
    assert call.ended["callEndedReason"] == "enough"
    assert call.ended["transcript"] == []


async def test_a_prompt_that_is_never_the_same_does_not_fill_the_call(tmp_path: Path) -> None:
    """It may hold the time: it is looked at when something happens, and 50 times at most."""

    class Timed(NoisyAgent):
        looks = 0

        @property
        def instructions(self) -> str:
            self.looks += 1
            return f"It is now {self.looks}."

    async with a_call(tmp_path, Timed(GREETING), {"hello": "hi there"}) as call:
        await call.answered(1)
        await call.say("hello")
        await call.answered(2)
    assert 1 <= len(call.ended["agents"]) <= 50
    assert len(call.ended["transcript"]) == 3


ENDED_BY = {
    "error": "error",
    "job_shutdown": "worker",
    "participant_disconnected": "caller",
    "user_initiated": "agent",
    "task_completed": "agent",
}


@pytest.mark.skipif(not has.CLOSE_REASON, reason="this livekit-agents gives none")
async def test_each_close_reason_says_who_ended_the_call(tmp_path: Path) -> None:
    """All that the installed livekit-agents has: a new one fails here until it has its row."""

    async def end(reason: str) -> tuple[str, str]:
        async with a_call(tmp_path / reason, NoisyAgent(), with_audio=False) as call:
            await close_for(call, reason.upper())
        return call.ended["callEndedReason"], call.ended["endedBy"]

    reasons = [reason.value for reason in events.CloseReason]
    told = await asyncio.gather(*(end(reason) for reason in reasons))
    assert told == [(reason, ENDED_BY[reason]) for reason in reasons]
