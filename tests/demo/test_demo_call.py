"""The call of the demo, made once, and looked at from all sides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import pairwise

import numpy as np
import pytest
import pytest_asyncio
from correlate import find, voice_end
from livekit.agents import AgentSession, JobContext
from offline import caller, speech
from offline.agents import SUPPORT_VOICE
from offline.call import CallTruth, Progress, Utterance, run_call

LONGEST = 60.0
"""Seconds a call may take."""

pytestmark = pytest.mark.timeout(120)


class Observer:
    """Observes a call as the library would, and notes when."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.progress: list[Progress] = []

    async def __call__(self, ctx: JobContext, session: AgentSession[None]) -> str:
        """Look at the session before it has started, and ask to be told of the job's end."""
        assert session.input.audio is not None and session.output.audio is not None
        assert ctx.job.room.sid
        self.order.append(f"observed {session.agent_state}")

        async def on_shutdown(reason: str) -> None:
            self.order.append(f"shutdown: {reason}")

        ctx.add_shutdown_callback(on_shutdown)
        session.on("close", lambda _: self.order.append("close"))
        return "the handle"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def made() -> AsyncIterator[tuple[CallTruth, Observer]]:
    """Make the call once for this module."""
    observer = Observer()
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
    assert explanation.text.startswith("I am sorry, but I cannot refund this order.")
    assert billing.start - explanation.start == pytest.approx(caller.PATIENCE_SECONDS, abs=0.1)
    assert billing.start + 0.3 < explanation.end < billing.end
    assert len(explanation.samples) < len(explanation.intended) / 3


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
    """Observed before the start, closed, then shut down; in under a minute."""
    assert observer.order == ["observed initializing", "close", "shutdown: call ended"]
    assert truth.observed == "the handle"
    assert truth.started < truth.utterances[0].start < truth.utterances[-1].end < truth.closed
    assert truth.ended - truth.started < LONGEST


def test_progress_is_told_as_it_happens(truth: CallTruth, observer: Observer) -> None:
    """In order, with every line and tool, and the close last."""
    times = [progress.at for progress in observer.progress]
    assert times == sorted(times)
    assert [one.text for one in observer.progress if one.kind == "heard"] == truth.heard
    assert [one.who for one in observer.progress if one.kind == "tool"] == [
        tool.name for tool in truth.tools
    ]
    assert "closed" in {one.kind for one in observer.progress[-2:]}
