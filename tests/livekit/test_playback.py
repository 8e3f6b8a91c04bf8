"""The agent's channel is what its sink played: every sink, every way a speech can go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("livekit.agents")

from livekit import rtc

from offline.audio_io import MemoryAudioOutput
from offline.captions import Captions
from tests.support import livekit_features as has
from tests.support.correlation import find
from tests.support.fake_agent import NoisyAgent, frames_of, spoken, stream, until
from tests.support.observed_calls import Call, a_call, create_session
from tests.support.phone_lines import (
    RATE,
    AvatarOutput,
    LineInput,
    RemoteAvatarOutput,
    RoomOutput,
    sounded,
)
from tests.support.recording_checks import HEARD, PLAYED, TURN, compare, origin

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREETING = "welcome to the desk how can i help"
ORDER, ANSWER = "where is my order please", "it left us yesterday and will be there soon"
REFUND, LONG = "i want a refund now", "i am sorry " + "very " * 20 + "sorry"
SPEECH = "well " * 12 + "well"
COUNTED = "one two three four five six seven eight nine ten eleven twelve"
STOP, STOPPED = "stop that right now", "of course"
ANSWERS: dict[str, Any] = {ORDER: ANSWER, REFUND: LONG, STOP: STOPPED}


class HaltingAgent(NoisyAgent):
    """Its voice falters in one answer, as a TTS does that is slower than speech."""

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: Any
    ) -> AsyncIterator[rtc.AudioFrame]:
        whole = "".join([part async for part in text]).strip()
        for number, frame in enumerate(frames_of(spoken(whole))):
            if whole == ANSWER and number in (5, 10):
                await asyncio.sleep(0.9)
            yield frame


async def converse(folder: Path, ear: Any, agent: NoisyAgent) -> Call:
    """A greeting, an answer, and a long one that is interrupted."""
    async with a_call(folder, agent, ANSWERS, mouth=LineInput(), ear=ear) as call:
        await call.listening(1)
        await call.say(ORDER)
        await call.listening(2)
        await call.say(REFUND)
        before = sounded(ear)
        await until(lambda: sounded(ear) > before + 0.8)
        await call.say(STOP)
        await call.listening(4)
    return call


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    """The same conversation on each sink, all at once."""
    ears = {
        "memory": MemoryAudioOutput(),
        "room": RoomOutput(),
        "avatar": AvatarOutput(),
        "remote avatar": RemoteAvatarOutput(),
    }
    folder = tmp_path_factory.mktemp("calls")
    agents = {name: HaltingAgent(GREETING) for name in ears}
    made = await asyncio.gather(
        *[converse(folder / name.replace(" ", "-"), ears[name], agents[name]) for name in ears]
    )
    return dict(zip(ears, made, strict=True))


SINKS = pytest.mark.parametrize("sink", ["memory", "room", "avatar", "remote avatar"])


@SINKS
async def test_the_agents_channel_is_what_was_played(calls: dict[str, Call], sink: str) -> None:
    """Greeting, a halting voice, an interrupted reply: each in its place, and nothing besides."""
    call = calls[sink]
    rate, sound = call.recording()
    error = compare(sound[:, 1], rate, call.ear.runs, origin(call))
    late = getattr(call.ear, "late", 0.0)  # an avatar's report is all that tells when it played
    assert error.worst < PLAYED + late, error


@SINKS
async def test_the_users_channel_is_what_was_said(calls: dict[str, Call], sink: str) -> None:
    """Also while the agent speaks."""
    call = calls[sink]
    rate, sound = call.recording()
    error = compare(sound[:, 0], rate, call.mouth.words, origin(call))
    assert error.worst < HEARD, error


@SINKS
async def test_every_turn_begins_and_ends_where_its_offsets_say(
    calls: dict[str, Call], sink: str
) -> None:
    """The greeting, and both ends of the interrupted reply, included."""
    call = calls[sink]
    rate, sound = call.recording()
    rows = call.ended["transcript"]
    assert [row["role"][0] for row in rows] == list("auauaua")
    for row in rows:
        text = LONG if row.get("interrupted") else row["content"]
        said, own = spoken(text), 0 if row["role"] == "user" else 1
        start, score = find(said[: rate // 4], rate, sound[:, own], rate)
        assert score > 0.9, text
        assert abs(start - row["audioOffsetMs"] / 1000) < TURN, text
        if row.get("interrupted"):
            continue
        end, score = find(said[-rate // 4 :], rate, sound[:, own], rate)
        assert score > 0.9, text
        assert abs(end + 0.25 - row["endAudioOffsetMs"] / 1000) < TURN, text


def check(call: Call) -> None:
    """The agent's channel is what this call's sink played, without an interruption."""
    rate, sound = call.recording()
    error = compare(sound[:, 1], rate, call.ear.runs, origin(call))
    assert error.worst < PLAYED, error
    (row,) = call.ended["transcript"]
    assert not row.get("interrupted")


@pytest.mark.skipif(not has.PAUSE, reason="sinks cannot pause before livekit-agents 1.2")
async def test_a_pause_is_a_gap_and_what_it_threw_away_was_not_played(tmp_path: Path) -> None:
    """A sink may keep what is queued, or drop it, as RoomIO does."""

    async def paused(ear: Any, folder: Path) -> Call:
        async with a_call(folder, NoisyAgent(SPEECH), mouth=LineInput(), ear=ear) as call:
            await until(lambda: sounded(ear) > 0.73)
            call.session.output.audio.pause()
            await asyncio.sleep(0.6)  # how long the pause is
            call.session.output.audio.resume()
            await call.listening(1)
        return call

    made = await asyncio.gather(
        paused(MemoryAudioOutput(), tmp_path / "memory"), paused(RoomOutput(), tmp_path / "room")
    )
    for call in made:
        assert len(call.ear.runs) == 2
        check(call)


@pytest.mark.skipif(not has.PAUSE, reason="sinks cannot pause before livekit-agents 1.2")
async def test_a_false_interruption_is_recorded_as_it_sounded(tmp_path: Path) -> None:
    """The agent stops for a cough and goes on."""

    async def coughed_at(ear: Any, folder: Path) -> Call:
        options = {"resume_false_interruption": True, "false_interruption_timeout": 0.4}
        async with a_call(
            folder, NoisyAgent(SPEECH), mouth=LineInput(), ear=ear, interruption=options
        ) as call:
            await until(lambda: sounded(ear) > 0.6)
            await call.mouth.spoken(call.mouth.say(spoken("a cough")))
            await call.listening(1)
        return call

    made = await asyncio.gather(
        coughed_at(MemoryAudioOutput(), tmp_path / "memory"),
        coughed_at(RoomOutput(), tmp_path / "room"),
    )
    for call in made:
        check(call)


@pytest.mark.skipif(not has.MESSAGE_METRICS, reason="turns do not say when they began before 1.3.3")
async def test_a_speech_that_is_no_turn_does_not_move_the_next_one(tmp_path: Path) -> None:
    """A filler that is kept out of the conversation (`add_to_chat_ctx=False`)."""
    filler, answer = "one moment please", "and here it is"
    async with a_call(tmp_path, NoisyAgent(GREETING), recording="wav") as call:
        await call.answered(1)
        call.session.say(filler, audio=stream(spoken(filler)), add_to_chat_ctx=False)
        await call.answered(2)
        call.session.say(answer, audio=stream(spoken(answer)))
        await call.answered(3)
    rate, sound = call.recording()
    assert [row["content"] for row in call.ended["transcript"]] == [GREETING, answer]
    place, score = find(spoken(answer)[:2400], RATE, sound[:, 1], rate)
    assert score > 0.9
    assert call.turn(answer)["audioOffsetMs"] / 1000 == pytest.approx(place, abs=TURN)


async def cut_at(seconds: float, folder: Path, captions: Captions | None) -> dict[str, Any]:
    """A long greeting, interrupted: its turn."""
    session = create_session({})
    session.output.transcription = captions
    ear = MemoryAudioOutput(captions=captions)
    async with a_call(folder, NoisyAgent(COUNTED), session=session, ear=ear) as call:
        await call.speaking(1, seconds)
        await session.interrupt()
        await call.listening(1)
    return dict(call.ended["transcript"][0])


async def test_an_interrupted_turn_has_the_words_that_were_played_or_says_that_nobody_knows(
    tmp_path: Path,
) -> None:
    """Some outputs do not tell; then its content is livekit's, which is all of it."""
    told, untold = await asyncio.gather(
        cut_at(1.0, tmp_path / "told", Captions()), cut_at(1.0, tmp_path / "untold", None)
    )
    assert told["interrupted"] and untold["interrupted"]
    if has.CLOSE_REASON:  # 1.0 does not cut what was said, whatever the output tells
        assert COUNTED.startswith(told["content"]) and len(told["content"]) < len(COUNTED)
    for turn in (told, untold):
        assert turn.get("spokenPartUnknown", False) == (turn["content"] == COUNTED)
    assert untold["content"] == COUNTED
