"""A call from greeting to goodbye: what was said, done and heard is at Roark."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("livekit.agents")

from livekit.agents import ToolError, function_tool

from tests.support.correlation import find, voice_end
from tests.support.fake_agent import NoisyAgent, spoken
from tests.support.observed_calls import Call, a_call

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREETING = "welcome to the desk how can i help"
ORDER = "where is my order please"
ANSWER = "it is on its way"
REFUND = "i want a refund now"
LONG = "i am sorry " + "very " * 20 + "sorry"
STOP = "stop that right now"
STOPPED = "of course"


class Desk(NoisyAgent):
    """Two tools: one answers, one fails."""

    @function_tool
    async def lookup_order(self, order_id: str) -> str:
        """Looks an order up."""
        return f"order {order_id} is on its way"

    @function_tool
    async def issue_refund(self) -> str:
        """Refunds."""
        raise ToolError("refunds are closed")


ANSWERS: dict[str, Any] = {
    ORDER: [("lookup_order", {"order_id": "427"})],
    "order 427 is on its way": ANSWER,
    REFUND: [("issue_refund", {})],
    "refunds are closed": LONG,
    STOP: STOPPED,
}


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["chunks", "wav"])
async def call(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Call]:
    """The call, made once for each way of recording."""
    folder: Path = tmp_path_factory.mktemp("calls")
    async with a_call(
        folder, Desk(GREETING), ANSWERS, recording=request.param, agent_name="Desk", plan="gold"
    ) as call:
        await call.answered(1)
        await call.say(ORDER)
        await call.answered(2)
        await call.say(REFUND)
        await call.speaking(3, 0.8)
        await call.say(STOP)
        await call.answered(4)
        call.handle.add_metadata(solved=True)
    yield call


async def test_every_turn_arrives_in_the_order_spoken(call: Call) -> None:
    """Both roles, the greeting first, and the interrupted reply marked."""
    rows = call.ended["transcript"]
    said = [(row["role"], row["content"]) for row in rows if not row.get("interrupted")]
    assert said == [
        ("assistant", GREETING),
        ("user", ORDER),
        ("assistant", ANSWER),
        ("user", REFUND),
        ("user", STOP),
        ("assistant", STOPPED),
    ]
    (cut,) = [row for row in rows if row.get("interrupted")]
    assert cut["role"] == "assistant" and LONG.startswith(cut["content"][:10])
    assert call.ended["agentSpokeFirst"] is True


async def test_every_turn_is_where_its_offset_says(call: Call) -> None:
    """In its own channel within 50 ms, the greeting from its first sample on."""
    rate, sound = call.recording()
    for row in call.ended["transcript"]:
        text = LONG if row.get("interrupted") else row["content"]
        own = 0 if row["role"] == "user" else 1
        said = spoken(text)
        if row.get("interrupted"):
            said = said[: round(0.5 * rate)]
        offset, score = find(said, rate, sound[:, own], rate)
        _, elsewhere = find(said, rate, sound[:, 1 - own], rate)
        assert score > 0.9 and elsewhere < 0.3, text
        assert abs(offset - row["audioOffsetMs"] / 1000) < 0.05, text


async def test_an_interrupted_reply_ends_where_its_playback_stopped(call: Call) -> None:
    """Nothing of the rest is in the recording, and the turn ends there too."""
    rate, sound = call.recording()
    segment = call.ear.segments[2]
    assert segment.interrupted
    played = len(segment.head.sound()) / rate
    offset, _ = find(spoken(LONG)[: round(0.5 * rate)], rate, sound[:, 1], rate)
    heard = voice_end(spoken(LONG), rate, sound[:, 1], rate, offset)
    assert abs(heard - played) < 0.05
    (cut,) = [row for row in call.ended["transcript"] if row.get("interrupted")]
    assert abs(cut["endAudioOffsetMs"] / 1000 - (offset + heard)) < 0.05


async def test_tools_arrive_with_their_results_and_errors(call: Call) -> None:
    """Joined by id, the failed one marked."""
    calls = {row["toolCallId"]: row for row in call.ended["toolCalls"] if "name" in row}
    results = {row["toolCallId"]: row for row in call.ended["toolCalls"] if "content" in row}
    assert [row["name"] for row in calls.values()] == ["lookup_order", "issue_refund"]
    assert calls["call_1"]["arguments"] == '{"order_id": "427"}'
    assert results["call_1"]["content"] == "order 427 is on its way"
    assert "isError" not in results["call_1"]
    assert results["call_2"]["content"] == "refunds are closed"
    assert results["call_2"]["isError"] is True


async def test_the_recording_is_complete_and_says_so(call: Call) -> None:
    """The manifest counts what the service has, and the time line is as long as the call."""
    rate, sound = call.recording()
    manifest = call.ended["recording"]
    assert manifest["status"] == "complete" and manifest["gaps"] == []
    assert manifest["byteCount"] == sound.nbytes
    assert call.ended["recordingSampleRate"] == rate == 24_000
    assert call.ended["recordingNumChannels"] == 2


async def test_metrics_and_metadata_arrive(call: Call) -> None:
    """Of the kinds that these parts have, and what was added during the call."""
    kinds = {row["kind"] for row in call.ended["metrics"]}
    assert {"llm", "stt", "eou"} <= kinds
    assert call.json["started"]["metadata"] == {"plan": "gold"}
    assert call.ended["metadata"] == {"plan": "gold", "solved": True}


async def test_call_started_came_first_and_call_ended_last(call: Call) -> None:
    """In between the recording, or nothing where it goes as one file before the end."""
    log = call.json["deliveries"]
    events = [row["event"] for row in log if row["endpoint"] == "events"]
    assert events == ["call-started", "call-ended"]
    assert log[0]["event"] == "call-started" and log[-1]["event"] == "call-ended"
    assert {row["status"] for row in log} == {200}


async def test_the_session_keeps_nothing_of_the_observation_alive(call: Call) -> None:
    """The delivery is over, and its counts add up."""
    stats = call.handle.stats
    assert stats.done and stats.undelivered == () and stats.events_sent == 2
    assert stats.retries == 0 and not stats.dropped
