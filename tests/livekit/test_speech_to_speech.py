"""A realtime model hears and speaks by itself: the recording and the turns are as ever."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("livekit.agents")

from livekit.agents import AgentSession

from tests.livekit.fake_realtime_model import ScriptedRealtime
from tests.support.fake_agent import NoisyAgent, spoken, until
from tests.support.observed_calls import a_call
from tests.support.phone_lines import LineInput, RoomOutput, sounded
from tests.support.recording_checks import HEARD, PLAYED, TURN, compare, origin

HELLO, ANSWER = "hello you there", "yes what can i do"
STORY, LONG = "tell me a story please", "once " * 20 + "upon"
STOP, STOPPED = "stop that right now", "of course"


async def test_a_realtime_session_is_recorded_like_any_other(tmp_path: Path) -> None:
    """An answer, and one that the caller interrupts: both channels and every turn's place."""
    script = [(HELLO, ANSWER), (STORY, LONG), (STOP, STOPPED)]
    session = AgentSession(llm=ScriptedRealtime(script))
    mouth, ear = LineInput(), RoomOutput()
    async with a_call(tmp_path, NoisyAgent(), session=session, mouth=mouth, ear=ear) as call:
        await mouth.spoken(mouth.say(spoken(HELLO), after=0.3))
        await call.listening(1)
        await mouth.spoken(mouth.say(spoken(STORY)))
        before = sounded(ear)
        await until(lambda: sounded(ear) > before + 0.8)
        await mouth.spoken(mouth.say(spoken(STOP)))
        await call.listening(3)
    rate, sound = call.recording()
    zero = origin(call)
    played = compare(sound[:, 1], rate, ear.runs, zero)
    assert played.worst < PLAYED, played
    heard = compare(sound[:, 0], rate, mouth.words, zero)
    assert heard.worst < HEARD, heard
    rows = call.ended["transcript"]
    assert [row["content"] for row in rows if row["role"] == "user"] == [HELLO, STORY, STOP]
    assert [bool(r.get("interrupted")) for r in rows if r["role"] == "assistant"] == [
        False,
        True,
        False,
    ]
    true = {"user": [w.start for w in mouth.words], "assistant": [r.start for r in ear.runs]}
    for role, starts in true.items():
        offsets = [row["audioOffsetMs"] / 1000 for row in rows if row["role"] == role]
        for offset, start in zip(offsets, starts, strict=True):
            assert abs(offset - (start - zero)) < TURN, (role, offset, start - zero)
