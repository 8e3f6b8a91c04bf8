"""The call of the demo, made once and observed: what really happened, and what arrived of it."""

from __future__ import annotations

import json
import wave
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("livekit.agents.testing")  # the examples want livekit-agents 1.8

import httpx
import numpy as np
from livekit.agents import AgentSession, JobContext

from local_roark import create_app
from offline import caller, speech
from offline.agents import SUPPORT_VOICE
from offline.call import CallTruth, Progress, Utterance, run_call
from roark_analytics_python_livekit import RoarkClient, observe_session
from tests.support.correlation import find, voice_end

pytestmark = pytest.mark.timeout(120)


class Observer:
    """Observes a call with the library, delivers it in-process, and notes what it saw."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.order: list[str] = []
        self.progress: list[Progress] = []

    async def __call__(self, ctx: JobContext, session: AgentSession[None]) -> Any:
        """Look at the session before it has started, and ask to be told of the job's end."""
        assert session.input.audio is not None and session.output.audio is not None
        assert ctx.job.room.sid
        self.order.append(f"observed {session.agent_state}")

        async def on_shutdown(reason: str) -> None:
            self.order.append(f"shutdown: {reason}")

        ctx.add_shutdown_callback(on_shutdown)
        session.on("close", lambda _: self.order.append("close"))
        client = RoarkClient(
            "rk_live_replace_me",
            base_url="https://roark.test",
            transport=httpx.ASGITransport(create_app(self.folder)),
        )
        return await observe_session(
            ctx, session, agent_id="support-desk", client=client, caller_plan="gold", ticket=1234
        )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def made(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[CallTruth, Observer]]:
    """Make the call once for this module."""
    observer = Observer(tmp_path_factory.mktemp("calls"))
    yield await run_call(observer, on_progress=observer.progress.append), observer


@pytest.fixture
def truth(made: tuple[CallTruth, Observer]) -> CallTruth:
    """What really happened."""
    return made[0]


@pytest.fixture
def observer(made: tuple[CallTruth, Observer]) -> Observer:
    """Who looked on."""
    return made[1]


def _of(truth: CallTruth, speaker: str) -> list[Utterance]:
    return [utterance for utterance in truth.utterances if utterance.speaker == speaker]


def test_the_caller_is_understood(truth: CallTruth) -> None:
    """Every line, word by word, whatever its punctuation."""
    assert truth.heard == [line.replace(",", "") for line in caller.LINES]
    assert [utterance.text for utterance in _of(truth, "caller")] == list(caller.LINES)


def test_the_tools_answer_and_fail_as_scripted(truth: CallTruth) -> None:
    """One answers, one fails, one hands over, one ends the call."""
    assert [(tool.name, tool.is_error) for tool in truth.tools] == [
        ("lookup_order", False),
        ("issue_refund", True),
        ("transfer_to_billing", False),
        ("end_call", False),
    ]
    assert json.loads(truth.tools[0].arguments) == {"order_id": "427"}
    assert "arrives on Friday" in truth.tools[0].output
    assert "refunds are closed" in truth.tools[1].output


def test_billing_takes_over_and_says_goodbye(truth: CallTruth) -> None:
    """The agents speak in turn, and the second closes the session."""
    assert truth.agents == ["support_agent", "billing_agent"]
    names = [utterance.name for utterance in _of(truth, "agent")]
    assert names == ["support_agent"] * 4 + ["billing_agent"] * 2
    assert "Goodbye" in _of(truth, "agent")[-1].text
    assert truth.close_reason == "user_initiated"


def test_only_the_explanation_is_interrupted(truth: CallTruth) -> None:
    """The caller talks into it for a moment, then the agent is silent."""
    cut = [utterance for utterance in truth.utterances if utterance.interrupted]
    assert len(cut) == 1
    (explanation,) = cut
    billing = _of(truth, "caller")[2]
    assert explanation.text.startswith("I am sorry")
    assert "I am sorry, but I cannot refund this order.".startswith(explanation.text)
    assert billing.start - explanation.start > caller.PATIENCE_SECONDS - 0.05
    assert billing.start < explanation.end
    assert len(explanation.samples) < len(explanation.intended) / 2


def test_nobody_else_talks_at_the_same_time(truth: CallTruth) -> None:
    """Apart from the interruption, one utterance follows the other."""
    for before, after in pairwise(truth.utterances):
        assert before.end <= after.start or before.interrupted
    for one, other in ((one, other) for one in truth.utterances for other in truth.utterances):
        if one is not other and one.speaker == other.speaker:
            assert one.end <= other.start or other.end <= one.start


def test_the_truth_is_what_was_synthesized(truth: CallTruth) -> None:
    """What was played is what the voices say, from the first sample; nothing came late."""
    greeting = _of(truth, "agent")[0]
    first_sentence = speech.synthesize("Hello, this is the support desk.", SUPPORT_VOICE)
    offset, score = find(first_sentence, speech.SAMPLE_RATE, greeting.samples, greeting.rate)
    assert offset == pytest.approx(0.0, abs=1e-3) and score > 0.98
    for utterance in truth.utterances:
        played = len(utterance.samples)
        assert np.array_equal(utterance.samples, utterance.intended[:played])
        assert played == len(utterance.intended) or utterance.interrupted


def test_the_instrument_finds_the_interruption(truth: CallTruth) -> None:
    """Laid out as in a recording, the cut is found where it was."""
    (cut,) = [utterance for utterance in truth.utterances if utterance.interrupted]
    channel = np.concatenate([np.zeros(cut.rate, dtype=np.int16), cut.samples, np.zeros(99_999)])
    end = voice_end(cut.intended, cut.rate, channel, cut.rate, 1.0)
    assert end == pytest.approx(cut.end - cut.start, abs=0.05)


def test_a_call_goes_as_a_job_does(truth: CallTruth, observer: Observer) -> None:
    """Observed before the start, closed, then shut down."""
    assert observer.order == ["observed initializing", "close", "shutdown: call ended"]
    assert truth.observed.stats.done
    assert truth.started < truth.utterances[0].start < truth.utterances[-1].end < truth.closed


def test_progress_is_told_as_it_happens(truth: CallTruth, observer: Observer) -> None:
    """In order, with every line and tool, and the close last."""
    times = [progress.at for progress in observer.progress]
    assert times == sorted(times)
    assert [one.text for one in observer.progress if one.kind == "heard"] == truth.heard
    assert [one.who for one in observer.progress if one.kind == "tool"] == [
        tool.name for tool in truth.tools
    ]
    assert "closed" in {one.kind for one in observer.progress[-2:]}


# What arrived of it


@pytest.fixture
def arrived(truth: CallTruth, observer: Observer) -> dict[str, Any]:
    """The call as local Roark keeps it."""
    text = (observer.folder / truth.observed.livekit_call_id / "call.json").read_text()
    return dict(json.loads(text))


@pytest.fixture
def turns(truth: CallTruth, arrived: dict[str, Any]) -> list[tuple[Utterance, dict[str, Any]]]:
    """Each utterance with its row of the transcript."""
    return list(zip(truth.utterances, arrived["ended"]["transcript"], strict=True))


@pytest.fixture
def channels(truth: CallTruth, observer: Observer) -> Iterator[tuple[int, np.ndarray]]:
    """(rate, samples x (left, right)) of the recording."""
    path = observer.folder / truth.observed.livekit_call_id / "recording.wav"
    with wave.open(str(path)) as wav:
        samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
        assert wav.getnchannels() == 2
        yield wav.getframerate(), samples.reshape(-1, 2)


def test_left_is_the_caller_and_right_the_agent(
    truth: CallTruth, channels: tuple[int, np.ndarray]
) -> None:
    """Every utterance is found in its own channel, and not in the other."""
    rate, sound = channels
    for one in truth.utterances:
        own = 0 if one.speaker == "caller" else 1
        _, score = find(one.samples, one.rate, sound[:, own], rate)
        _, elsewhere = find(one.samples, one.rate, sound[:, 1 - own], rate)
        assert score > 0.9 and elsewhere < 0.5, one.text


def test_every_turn_is_within_50_ms_of_its_offset(
    turns: list[tuple[Utterance, dict[str, Any]]], channels: tuple[int, np.ndarray]
) -> None:
    """The greeting included."""
    rate, sound = channels
    for one, row in turns:
        caller_spoke = one.speaker == "caller"
        assert row["role"] == ("user" if caller_spoke else "assistant")
        offset, _ = find(one.samples, one.rate, sound[:, 0 if caller_spoke else 1], rate)
        assert abs(offset - row["audioOffsetMs"] / 1000) < 0.05, one.text


def test_the_recording_is_as_long_apart_as_the_truth(
    truth: CallTruth, channels: tuple[int, np.ndarray]
) -> None:
    """From utterance to utterance the recording keeps the time that really passed."""
    rate, sound = channels
    shifts = []
    for one in truth.utterances:
        own = 0 if one.speaker == "caller" else 1
        offset, _ = find(one.samples, one.rate, sound[:, own], rate)
        shifts.append(one.start - offset)
    assert max(shifts) - min(shifts) < 0.05


def test_the_interrupted_reply_stops_where_its_playback_stopped(
    turns: list[tuple[Utterance, dict[str, Any]]], channels: tuple[int, np.ndarray]
) -> None:
    """In the right channel, and in its turn's end."""
    rate, sound = channels
    ((cut, row),) = [(one, row) for one, row in turns if one.interrupted]
    assert row["interrupted"] is True
    offset, _ = find(cut.samples, cut.rate, sound[:, 1], rate)
    heard = voice_end(cut.intended, cut.rate, sound[:, 1], rate, offset)
    assert abs(heard - (cut.end - cut.start)) < 0.05
    assert abs(row["endAudioOffsetMs"] / 1000 - (offset + cut.end - cut.start)) < 0.05


def test_tool_results_the_tool_error_and_metadata_arrive(arrived: dict[str, Any]) -> None:
    """Everything that the table of the demo shows is in `call.json`."""
    ended = arrived["ended"]
    names = {row["toolCallId"]: row["name"] for row in ended["toolCalls"] if "name" in row}
    results = {names[row["toolCallId"]]: row for row in ended["toolCalls"] if "content" in row}
    assert "arrives on Friday" in results["lookup_order"]["content"]
    assert "refunds are closed" in results["issue_refund"]["content"]
    assert results["issue_refund"]["isError"] is True
    assert "isError" not in results["lookup_order"]
    assert arrived["started"]["metadata"] == {"caller_plan": "gold", "ticket": 1234}
    assert [row["toAgentId"] for row in ended["handoffs"]] == ["support_agent", "billing_agent"]
    assert ended["recording"]["status"] == "complete"


def test_the_agent_that_spoke_is_named(
    truth: CallTruth, turns: list[tuple[Utterance, dict[str, Any]]]
) -> None:
    """Each turn of an agent says which one."""
    for one, row in turns:
        if one.speaker == "agent":
            assert row["agentId"] == one.name
