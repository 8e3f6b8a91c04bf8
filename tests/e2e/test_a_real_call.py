"""A call as production has it: a livekit-server, a worker in its own process, WebRTC, a caller."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

pytest.importorskip("livekit.agents")

from livekit import api

from offline import caller as script
from offline.agents import ORDERS, SUPPORT_VOICE
from offline.sound import Samples, resample
from offline.speech import SAMPLE_RATE, synthesize
from tests.e2e.conftest import RoarkServer, Worker
from tests.e2e.livekit_server import LOOPBACK, LiveKitServer
from tests.e2e.phone_caller import Caller, calling
from tests.support.correlation import find_in_pieces
from tests.support.fake_roark import recording, taken_at

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.allow_hosts([LOOPBACK]),
    pytest.mark.timeout(180),
]

ROOM = "support-line"
CALLER = "synthetic-caller"
GREETING = "Hello, this is the support desk."
QUESTION = script.ORDER
ANSWER = ORDERS["427"]

PATIENCE = 40.0
"""Seconds for what takes a few on a machine that has nothing else to do."""

SOON = 2.0
"""Seconds after the caller's leaving within which the call is to be complete at Roark. The session
itself waits 0.5 s for last words (its `session_close_transcript_timeout`, by default 2 s)."""

SURE = 0.7
UNLIKE = 0.4
"""The likeness of a voice that is in a channel is above the one, of any other below the other. Seen
through WebRTC: 0.88 and 0.27, on a busy machine."""

ABOUT = 0.75
"""Seconds between where a turn says it is and where its voice is. Mostly some 0.02; but LiveKit
takes a speech for begun while it waits for its listener, half a second if the machine is busy."""


async def test_a_call_reaches_roark_as_it_was(
    livekit: LiveKitServer, roark: RoarkServer, worker: Worker
) -> None:
    """One call with a question, a tool and an answer; then the caller hangs up."""
    async with calling(livekit, ROOM, CALLER) as caller:
        await _ask_and_hear_the_answer(caller)
        left_at = await caller.hang_up()
        call = await asyncio.wait_for(roark.the_call(_is_complete), PATIENCE)

    _assert_it_started(call)
    _assert_it_was_sent_while_it_went_on(call, left_at)
    _assert_it_ended_soon(call, left_at)
    _assert_it_was_the_caller(call)
    _assert_transcript(call["ended"]["transcript"])
    _assert_tool_call(call["ended"]["toolCalls"])
    _assert_recording_is_whole(call)
    _assert_voices_in_their_channels(call, roark)
    _assert_nothing_private_logged(worker.log.read_text(), livekit, roark)


async def test_a_closed_room_ends_the_call_and_the_worker_can_stop(
    livekit: LiveKitServer, roark: RoarkServer, worker: Worker
) -> None:
    """The room is closed over the caller's head; nothing of the call keeps the worker alive."""
    async with calling(livekit, ROOM, CALLER) as caller:
        await caller.agent_goes_through("speaking", "listening", seconds=PATIENCE)
        await _close_room(livekit)
        call = await asyncio.wait_for(roark.the_call(_is_complete), PATIENCE)
    worker.process.terminate()
    status = await asyncio.to_thread(worker.process.wait, PATIENCE)

    assert status == 0
    assert "did not exit in time" not in worker.log.read_text()
    assert [turn["role"] for turn in call["ended"]["transcript"]] == ["assistant"]
    _assert_recording_is_whole(call)


async def _ask_and_hear_the_answer(caller: Caller) -> None:
    await caller.agent_goes_through("speaking", "listening", seconds=PATIENCE)
    await caller.say(_voice(QUESTION, script.CALLER_VOICE, SAMPLE_RATE), SAMPLE_RATE)
    await caller.agent_goes_through("speaking", "listening", seconds=PATIENCE)


async def _close_room(livekit: LiveKitServer) -> None:
    async with api.LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret) as service:
        await service.room.delete_room(api.DeleteRoomRequest(room=ROOM))


def _is_complete(call: dict[str, Any]) -> bool:
    """Whether the call has ended, and every chunk that it counts has come."""
    ended = call["ended"]
    return (
        ended is not None and len(call["recording"]["chunks"]) == (ended["recording"]["chunkCount"])
    )


def _voice(text: str, voice: str, rate: int) -> Samples:
    return resample(synthesize(text, voice), SAMPLE_RATE, rate)


def _assert_it_started(call: dict[str, Any]) -> None:
    assert call["started"]["event"] == "call-started"
    assert call["started"]["livekitCallId"] == call["ended"]["livekitCallId"]
    assert call["started"]["livekitCallId"].startswith("RM_")
    assert call["started"]["roomName"] == ROOM


def _assert_it_was_sent_while_it_went_on(call: dict[str, Any], left_at: float) -> None:
    [started_at] = taken_at(call, event="call-started")
    assert started_at < left_at
    assert min(taken_at(call, endpoint="uploads")) < left_at


def _assert_it_was_the_caller(call: dict[str, Any]) -> None:
    participant = call["ended"]["participant"]
    assert participant["identity"] == CALLER
    assert (participant["kind"], participant["disconnectReason"]) == (
        "standard",
        "client_initiated",
    )
    assert call["ended"]["endedBy"] == "caller"


def _assert_it_ended_soon(call: dict[str, Any], left_at: float) -> None:
    [ended_at] = taken_at(call, event="call-ended")
    assert left_at < ended_at < left_at + SOON


def _assert_transcript(turns: list[dict[str, Any]]) -> None:
    assert [turn["role"] for turn in turns] == ["assistant", "user", "assistant"]
    greeting, question, answer = (turn["content"] for turn in turns)
    assert greeting.startswith(GREETING)
    assert "where is my order four two seven" in question
    assert ANSWER in answer
    offsets = [turn["audioOffsetMs"] for turn in turns]
    assert offsets == sorted(offsets)


def _assert_tool_call(rows: list[dict[str, Any]]) -> None:
    called, returned = rows
    assert (called["kind"], called["name"]) == ("tool_call", "lookup_order")
    assert json.loads(called["arguments"]) == {"order_id": "427"}
    assert (returned["kind"], returned["content"]) == ("tool_result", ANSWER)
    assert called["toolCallId"] == returned["toolCallId"]


def _assert_recording_is_whole(call: dict[str, Any]) -> None:
    recording, stated = call["recording"], call["ended"]["recording"]
    assert stated["status"] == "complete"
    assert (recording["missing"], recording["problem"]) == ([], None)
    assert recording["channels"] == call["ended"]["recordingNumChannels"] == 2
    assert recording["durationMs"] == pytest.approx(stated["durationMs"], abs=1)


def _assert_voices_in_their_channels(call: dict[str, Any], roark: RoarkServer) -> None:
    rate, sound = recording(roark.root, call["ended"]["livekitCallId"])
    caller = _voice(QUESTION, script.CALLER_VOICE, rate)
    agent = _voice(GREETING, SUPPORT_VOICE, rate)
    asked_at, caller_on_the_left = find_in_pieces(caller, sound[:, 0], rate)
    greeted_at, agent_on_the_right = find_in_pieces(agent, sound[:, 1], rate)

    assert caller_on_the_left > SURE
    assert agent_on_the_right > SURE
    assert find_in_pieces(caller, sound[:, 1], rate)[1] < UNLIKE
    assert find_in_pieces(agent, sound[:, 0], rate)[1] < UNLIKE
    greeting, question, _ = (turn["audioOffsetMs"] / 1000 for turn in call["ended"]["transcript"])
    assert greeting == pytest.approx(greeted_at, abs=ABOUT)
    assert question == pytest.approx(asked_at, abs=ABOUT)


def _assert_nothing_private_logged(log: str, livekit: LiveKitServer, roark: RoarkServer) -> None:
    assert "roark" in log
    for secret in (roark.api_key, livekit.api_secret, "signature=", "order four two seven"):
        assert secret not in log
