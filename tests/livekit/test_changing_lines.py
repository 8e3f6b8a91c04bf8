"""Inputs and outputs that come late, are replaced, or end in the middle: what sounded is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("livekit.agents")

from livekit import rtc
from livekit.agents import CloseEvent

from calls import Call, a_call
from fakes import NoisyAgent, frames_of, spoken, until
from lines import RATE, Ear, LineInput, RoomOutput, sounded
from offline.sound import from_frame, resample, to_frame
from truth import HEARD, PLAYED, compare, origin

CLOSES_FIRST = "reason" not in CloseEvent.model_fields
"""livekit-agents 1.0 says that it closes before it does."""

HELLO, QUESTION, LONG = "hello you there", "what time is it", "well " * 16 + "well"
ANSWERS: dict[str, Any] = {HELLO: "yes i am here", QUESTION: "it is noon"}


class AgentAt(NoisyAgent):
    """Its voice has another rate."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self._rate = rate

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: Any
    ) -> AsyncIterator[rtc.AudioFrame]:
        whole = "".join([part async for part in text]).strip()
        for frame in frames_of(resample(spoken(whole), RATE, self._rate)):
            yield to_frame(from_frame(frame), self._rate)


def assert_true(call: Call, ears: list[Any], mouths: list[Any]) -> None:
    """The recording is what these lines heard and played, and nothing else."""
    rate, sound = call.recording()
    zero = origin(call)
    played = compare(sound[:, 1], rate, [run for ear in ears for run in ear.runs], zero)
    assert max(played.start, played.end, played.shift) < PLAYED, played
    heard = compare(sound[:, 0], rate, [word for mouth in mouths for word in mouth.words], zero)
    assert max(heard.start, heard.end, heard.shift) < HEARD, heard


async def test_audio_that_appears_later_is_recorded_from_there(tmp_path: Path) -> None:
    """A text chat that becomes a call."""
    mouth, ear = LineInput(), Ear()
    async with a_call(
        tmp_path, NoisyAgent(), ANSWERS, with_audio=False, mouth=mouth, ear=ear
    ) as call:
        await call.session.generate_reply(user_input=HELLO)
        call.session.input.audio, call.session.output.audio = mouth, ear
        await until(lambda: call.session.input.audio is not mouth)  # it was noticed
        await call.say(QUESTION)
        await call.answered(1)
    assert_true(call, [ear], [mouth])
    assert "yes i am here" in [row["content"] for row in call.ended["transcript"]]


async def test_an_output_and_an_input_replaced_in_mid_call_are_recorded_too(
    tmp_path: Path,
) -> None:
    """Old ones up to there, new ones from there on."""
    old, new = (LineInput(), Ear()), (LineInput(), RoomOutput())
    async with a_call(tmp_path, NoisyAgent(), ANSWERS, mouth=old[0], ear=old[1]) as call:
        await call.say(HELLO)
        await call.answered(1)
        await new[1].start()
        call.session.input.audio, call.session.output.audio = new[0], new[1].sink
        await until(lambda: call.session.input.audio is not new[0])  # it was noticed
        call.mouth, call.ear = new
        await call.say(QUESTION)
        await call.listening(2)
    assert_true(call, [old[1], new[1]], [old[0], new[0]])


async def test_a_replaced_tail_is_heard_by_the_tap_before_it(tmp_path: Path) -> None:
    """`replace_audio_tail`, where livekit-agents has it (1.6.1)."""
    old, new = Ear(), Ear()
    async with a_call(tmp_path, NoisyAgent(), ANSWERS, mouth=LineInput(), ear=old) as call:
        if not hasattr(call.session.output, "replace_audio_tail"):
            pytest.skip("this livekit-agents cannot do it")
        await call.say(HELLO)
        await call.answered(1)
        call.session.output.replace_audio_tail(new)
        call.ear = new
        await call.say(QUESTION)
        await call.listening(2)
    assert_true(call, [old, new], [call.mouth])


async def test_a_sink_without_a_rate_is_recorded_at_any_rate_of_the_voice(tmp_path: Path) -> None:
    """16 and 22.05 kHz as the TTS speaks them, brought to that of the recording."""

    async def speak(rate: int) -> Call:
        ear = Ear(rate=None)
        async with a_call(
            tmp_path / str(rate), AgentAt(rate), ANSWERS, mouth=LineInput(), ear=ear
        ) as call:
            await call.say(HELLO)
            await call.answered(1)
        return call

    for call in await asyncio.gather(speak(16_000), speak(22_050)):
        assert_true(call, [call.ear], [call.mouth])


async def test_a_session_that_closes_in_mid_speech_keeps_what_was_played(tmp_path: Path) -> None:
    """The last reply is in the transcript, interrupted, and its sound ends where it stopped."""

    async def close_on(ear: Any, folder: Path) -> Call:
        async with a_call(folder, NoisyAgent(LONG), mouth=LineInput(), ear=ear) as call:
            await until(lambda: sounded(ear) > 0.7)
            if CLOSES_FIRST:  # and lets its speech go on
                call.session.interrupt()
        return call

    for call in await asyncio.gather(
        close_on(Ear(), tmp_path / "memory"), close_on(RoomOutput(), tmp_path / "room")
    ):
        (row,) = call.ended["transcript"]
        assert row["interrupted"] and LONG.startswith(row["content"])
        assert_true(call, [call.ear], [])
        rate, sound = call.recording()
        (run,) = call.ear.runs
        assert abs(row["endAudioOffsetMs"] / 1000 - (run.end - origin(call))) < 0.05


async def test_a_session_without_audio_says_once_that_there_is_no_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Text-only: nobody has to look for it."""
    caplog.set_level(logging.INFO, "roark_analytics_python_livekit")
    async with a_call(tmp_path, NoisyAgent(), ANSWERS, with_audio=False) as call:
        await call.session.generate_reply(user_input=HELLO)
        await call.session.generate_reply(user_input=QUESTION)
    said = [r.getMessage() for r in caplog.records if "no recording" in r.getMessage()]
    assert len(said) == 1
    assert call.ended["recording"]["reason"] == "the session had no audio"
