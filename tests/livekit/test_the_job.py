"""What a job says of itself: the call's id and facts, in rooms, consoles and tests."""

from __future__ import annotations

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

pytest.importorskip("livekit.agents")

import httpx
from livekit import rtc

from roark_analytics_python_livekit import RoarkClient, observe_session
from roark_analytics_python_livekit._livekit.job import call_id, job_facts
from tests.support.observed_calls import KEY, FakeJob, create_session


class Room:
    """A room whose sid is known, or only later."""

    def __init__(self, sid: str | None) -> None:
        self._sid = sid
        self.name = "a-room"
        self.remote_participants: dict[str, Any] = {}

    @property
    async def sid(self) -> str:
        if self._sid is None:
            await asyncio.Event().wait()
        return self._sid or ""


def a_job(sid: str = "", job_id: str = "", room: object = None) -> Any:
    """A job context, as far as it is looked at."""
    return SimpleNamespace(
        job=SimpleNamespace(id=job_id, room=SimpleNamespace(sid=sid, name="a-room")), room=room
    )


def test_the_rooms_session_id_is_the_calls() -> None:
    """As the job has it, before everything else."""
    assert call_id(a_job("RM_1", "AJ_1", Room("RM_2"))) == "RM_1"


def test_else_the_connected_rooms() -> None:
    """It is awaited in livekit; here only if it is at hand."""
    assert call_id(a_job("", "AJ_1", Room("RM_2"))) == "RM_2"


def test_a_room_that_is_not_connected_is_not_waited_for() -> None:
    """The job's id does as well."""
    assert call_id(a_job("", "AJ_1", Room(None))) == "AJ_1"


@pytest.mark.parametrize("ctx", [None, object(), MagicMock(), a_job(" ")])
def test_what_is_no_id_is_not_taken_for_one(ctx: Any) -> None:
    """A console's mocks, or nothing at all."""
    assert call_id(ctx) is None
    assert all(isinstance(value, str) for value in job_facts(ctx).values())


async def test_a_mock_job_gets_an_id_of_its_own() -> None:
    """Random, and observed like any other."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503)

    client = RoarkClient(KEY, base_url="https://roark.test", transport=httpx.MockTransport(refuse))
    handle = await observe_session(
        MagicMock(), create_session({}), agent_id="agent", client=client, shutdown_timeout=0.1
    )
    assert uuid.UUID(handle.livekit_call_id)
    await handle.aflush()


async def test_an_id_that_is_given_is_taken() -> None:
    """Whatever the job says."""

    async def accept(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200)

    client = RoarkClient(KEY, base_url="https://roark.test", transport=httpx.MockTransport(accept))
    handle = await observe_session(
        FakeJob(),  # type: ignore[arg-type]  # a stand-in
        create_session({}),
        agent_id="agent",
        livekit_call_id="mine",
        client=client,
    )
    assert handle.livekit_call_id == "mine"
    await handle.aflush()
    assert handle.stats.events_sent == 2


def test_the_caller_is_the_first_participant_that_is_no_agent() -> None:
    """As far as somebody is there already."""
    room = Room("RM_1")
    agent = SimpleNamespace(identity="bot", kind=rtc.ParticipantKind.PARTICIPANT_KIND_AGENT)
    caller = SimpleNamespace(identity="caller", kind=rtc.ParticipantKind.PARTICIPANT_KIND_SIP)
    room.remote_participants = {"bot": agent, "caller": caller}
    assert job_facts(a_job("RM_1", "AJ_1", room)) == {
        "jobId": "AJ_1",
        "roomName": "a-room",
        "roomSid": "RM_1",
        "participantIdentity": "caller",
    }
