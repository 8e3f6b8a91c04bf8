"""Who is in the room, and which keys they press: with livekit's own emitter of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("livekit.agents")

from livekit import rtc

from roark_analytics_python_livekit.redaction import redact_pii
from tests.support.fake_agent import NoisyAgent
from tests.support.observed_calls import Call, FakeJob, a_call

NUMBER = "+15105550100"
SIP = {
    "sip.phoneNumber": NUMBER,
    "sip.trunkPhoneNumber": "+15105550199",
    "sip.callID": "SCL_1",
    "other": "not of the call",
}


class Room(rtc.EventEmitter[str]):
    """As livekit's, without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "a-room"
        self.remote_participants: dict[str, Any] = {}

    def join(self, participant: SimpleNamespace) -> None:
        """Somebody comes in."""
        self.remote_participants[participant.identity] = participant
        self.emit("participant_connected", participant)

    def press(self, digits: str, participant: Any = None) -> None:
        """Somebody presses keys."""
        for digit in digits:
            self.emit("sip_dtmf_received", rtc.SipDTMF(1, digit, participant))


def somebody(identity: str, kind: str, **more: Any) -> SimpleNamespace:
    """A participant, as far as it is looked at."""
    number = rtc.ParticipantKind.Value(f"PARTICIPANT_KIND_{kind.upper()}")
    fields = {"identity": identity, "kind": number, "sid": f"PA_{identity}", "name": ""}
    return SimpleNamespace(**{**fields, "attributes": {}, **more})


@asynccontextmanager
async def a_call_in(room: Room, folder: Path, **options: Any) -> AsyncIterator[Call]:
    """A call without a word, in this room."""
    job = FakeJob()
    job.room = room  # type: ignore[assignment]  # more of a room than the stand-in
    async with a_call(folder, NoisyAgent(), with_audio=False, job=job, **options) as call:
        yield call


async def test_a_caller_who_is_there_already_is_told_of(tmp_path: Path) -> None:
    """Identity, kind, name, why they left, and what LiveKit knows of the telephone call."""
    room = Room()
    room.join(somebody("caller", "sip", name="Phone", attributes=SIP))
    async with a_call_in(room, tmp_path) as call:
        room.remote_participants["caller"].disconnect_reason = rtc.DisconnectReason.USER_REJECTED
    assert call.json["started"]["participantIdentity"] == "caller"
    assert call.ended["participant"] == {
        "identity": "caller",
        "kind": "sip",
        "name": "Phone",
        "sid": "PA_caller",
        "disconnectReason": "user_rejected",
        "attributes": {name: value for name, value in SIP.items() if name != "other"},
    }


@pytest.mark.parametrize("kind", ["agent", "egress", "ingress"])
async def test_the_caller_is_the_first_who_is_a_person(tmp_path: Path, kind: str) -> None:
    """Also one who joins later; who comes after them is not the caller."""
    room = Room()
    room.join(somebody("machine", kind))
    async with a_call_in(room, tmp_path) as call:
        room.join(somebody("another machine", kind))
        room.join(somebody("caller", "standard", name="Jo"))
        room.join(somebody("supervisor", "standard"))
    assert "participantIdentity" not in call.json["started"]
    assert call.ended["participant"] == {
        "identity": "caller",
        "kind": "standard",
        "name": "Jo",
        "sid": "PA_caller",
    }


async def test_what_becomes_known_of_the_caller_later_is_told_too(tmp_path: Path) -> None:
    """SIP attributes come while it rings."""
    room, caller = Room(), somebody("caller", "sip")
    async with a_call_in(room, tmp_path) as call:
        room.join(caller)
        caller.attributes = {"sip.callStatus": "active"}
    assert call.ended["participant"]["attributes"] == {"sip.callStatus": "active"}


async def test_a_room_with_machines_only_has_no_caller(tmp_path: Path) -> None:
    """A key that is not known is not there."""
    room = Room()
    room.join(somebody("machine", "agent"))
    async with a_call_in(room, tmp_path) as call:
        pass
    assert "participant" not in call.ended


@pytest.mark.parametrize(
    ("redact", "digits"), [(None, ["4", "2", "#"]), (redact_pii, ["*", "*", "*"])]
)
async def test_keys_are_told_in_order_and_masked_where_there_is_something_to_redact(
    tmp_path: Path, redact: Callable[[str], str] | None, digits: list[str]
) -> None:
    """Each with its time; a number that is typed in comes key by key."""
    room, caller = Room(), somebody("caller", "sip")
    async with a_call_in(room, tmp_path, redact=redact) as call:
        room.join(caller)
        room.press("42", caller)
        room.press("#")
    rows = call.ended["dtmf"]
    assert [row["digit"] for row in rows] == digits
    assert all({"timestamp", "audioOffsetMs"} <= set(row) for row in rows)


async def test_phone_numbers_pass_through_redaction_wherever_they_stand(tmp_path: Path) -> None:
    """In the identity, the name and the attributes of a caller; in the room's name."""
    room = Room()
    room.join(somebody(f"sip_{NUMBER}", "sip", name=f"Phone {NUMBER}", attributes=SIP))
    room.name = f"call-_{NUMBER}_abc"
    job = FakeJob()
    job.job.room.name, job.room = room.name, room  # type: ignore[assignment]  # as above
    async with a_call(
        tmp_path, NoisyAgent(), with_audio=False, job=job, redact=lambda t: t.replace(NUMBER, "[x]")
    ) as call:
        pass
    assert call.json["started"]["participantIdentity"] == "sip_[x]"
    assert call.json["started"]["roomName"] == "call-_[x]_abc"
    assert call.ended["participant"]["identity"] == "sip_[x]"
    assert call.ended["participant"]["name"] == "Phone [x]"
    assert call.ended["participant"]["attributes"]["sip.phoneNumber"] == "[x]"


async def test_after_the_call_nothing_listens_to_the_room(tmp_path: Path) -> None:
    """Another session of the job may go on in it."""
    room = Room()
    async with a_call_in(room, tmp_path) as call:
        await call.handle.aflush()
        room.join(somebody("late", "standard"))
        room.press("1")
    assert not any(room._events.values())
    assert "participant" not in call.ended and call.ended["dtmf"] == []


async def test_participants_that_cannot_be_read_cost_nothing_else(tmp_path: Path) -> None:
    """Mocks of somebody's tests, or a kind that a newer LiveKit has."""
    room = Room()
    async with a_call_in(room, tmp_path) as call:
        odd = {"kind": 4711, "attributes": None, "name": None}
        room.join(SimpleNamespace(identity="caller", sid="PA_caller", **odd))
        room.press("7")
    assert call.ended["participant"] == {
        "identity": "caller",
        "kind": "unknown",
        "sid": "PA_caller",
    }
    assert [row["digit"] for row in call.ended["dtmf"]] == ["7"]
