"""Inputs and outputs that come late, are replaced, or end in the middle: what sounded is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("livekit.agents")

from livekit import rtc
from livekit.agents import CloseEvent
from livekit.agents.voice import io

from offline.audio_io import MemoryAudioOutput
from offline.sound import from_frame, resample, to_frame
from tests.support.fake_agent import NoisyAgent, frames_of, spoken, until
from tests.support.observed_calls import Call, a_call
from tests.support.phone_lines import RATE, LineInput, RoomOutput, sounded
from tests.support.recording_checks import HEARD, PLAYED, compare, origin

CLOSES_FIRST = "reason" not in CloseEvent.model_fields
"""livekit-agents 1.0 says that it closes before it does."""
REPLACES_TAIL = hasattr(io.AgentOutput, "replace_audio_tail")

pytestmark = pytest.mark.asyncio(loop_scope="module")

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


@dataclass(frozen=True)
class Held:
    """A call, and the lines that it went through."""

    call: Call
    ears: list[Any]
    mouths: list[Any]

    def check(self) -> None:
        """The recording is what these lines heard and played, and nothing else."""
        rate, sound = self.call.recording()
        zero = origin(self.call)
        runs = [run for ear in self.ears for run in ear.runs]
        played = compare(sound[:, 1], rate, runs, zero)
        assert played.worst < PLAYED, played
        words = [word for mouth in self.mouths for word in mouth.words]
        heard = compare(sound[:, 0], rate, words, zero)
        assert heard.worst < HEARD, heard


async def begin_as_text(folder: Path) -> Held:
    """A chat that becomes a call."""
    mouth, ear = LineInput(), MemoryAudioOutput()
    async with a_call(
        folder, NoisyAgent(), ANSWERS, with_audio=False, mouth=mouth, ear=ear
    ) as call:
        await call.session.generate_reply(user_input=HELLO)
        call.session.input.audio, call.session.output.audio = mouth, ear
        await until(lambda: call.session.input.audio is not mouth)  # it was noticed
        await call.say(QUESTION)
        await call.answered(1)
    return Held(call, [ear], [mouth])


async def replace_both(folder: Path) -> Held:
    """Another input and another output between two turns."""
    old, new = (LineInput(), MemoryAudioOutput()), (LineInput(), RoomOutput())
    async with a_call(folder, NoisyAgent(), ANSWERS, mouth=old[0], ear=old[1]) as call:
        await call.say(HELLO)
        await call.answered(1)
        await new[1].start()
        call.session.input.audio, call.session.output.audio = new[0], new[1].sink
        await until(lambda: call.session.input.audio is not new[0])  # it was noticed
        call.mouth, call.ear = new
        await call.say(QUESTION)
        await call.listening(2)
    return Held(call, [old[1], new[1]], [old[0], new[0]])


async def replace_tail(folder: Path) -> Held:
    """What stands last in the chain of outputs, where livekit-agents can do that."""
    old, new = MemoryAudioOutput(), MemoryAudioOutput()
    async with a_call(folder, NoisyAgent(), ANSWERS, mouth=LineInput(), ear=old) as call:
        await call.say(HELLO)
        await call.answered(1)
        if REPLACES_TAIL:
            call.session.output.replace_audio_tail(new)
            call.ear = new
            await call.say(QUESTION)
            await call.listening(2)
    return Held(call, [old, new], [call.mouth])


async def speak_at(rate: int, folder: Path) -> Held:
    """A sink that takes any rate, and a voice that has one."""
    ear = MemoryAudioOutput(rate=None)
    async with a_call(folder, AgentAt(rate), ANSWERS, mouth=LineInput(), ear=ear) as call:
        await call.say(HELLO)
        await call.answered(1)
    return Held(call, [ear], [call.mouth])


async def close_on(ear: Any, folder: Path) -> Held:
    """The session closes while the agent speaks."""
    async with a_call(folder, NoisyAgent(LONG), mouth=LineInput(), ear=ear) as call:
        await until(lambda: sounded(ear) > 0.7)
        if CLOSES_FIRST:  # and lets its speech go on
            call.session.interrupt()
    return Held(call, [ear], [])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def held(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Held]:
    """All calls of this module, at once."""
    folder = tmp_path_factory.mktemp("calls")
    making = {
        "text first": begin_as_text(folder / "text"),
        "replaced": replace_both(folder / "both"),
        "tail": replace_tail(folder / "tail"),
        "16 kHz": speak_at(16_000, folder / "16"),
        "22.05 kHz": speak_at(22_050, folder / "22"),
        "closed on memory": close_on(MemoryAudioOutput(), folder / "memory"),
        "closed on room": close_on(RoomOutput(), folder / "room"),
    }
    return dict(zip(making, await asyncio.gather(*making.values()), strict=True))


async def test_audio_that_appears_later_is_recorded_from_there(held: dict[str, Held]) -> None:
    """And what was written before it is in the transcript."""
    held["text first"].check()
    rows = held["text first"].call.ended["transcript"]
    assert "yes i am here" in [row["content"] for row in rows]


async def test_an_output_and_an_input_replaced_in_mid_call_are_recorded_too(
    held: dict[str, Held],
) -> None:
    """Old ones up to there, new ones from there on."""
    held["replaced"].check()


@pytest.mark.skipif(not REPLACES_TAIL, reason="livekit-agents before 1.6.1 cannot do it")
async def test_a_replaced_tail_is_heard_by_the_tap_before_it(held: dict[str, Held]) -> None:
    """`replace_audio_tail` keeps the tap in the chain."""
    held["tail"].check()


@pytest.mark.parametrize("rate", ["16 kHz", "22.05 kHz"])
async def test_a_sink_without_a_rate_is_recorded_at_any_rate_of_the_voice(
    held: dict[str, Held], rate: str
) -> None:
    """As the TTS speaks it, brought to the rate of the recording."""
    held[rate].check()


@pytest.mark.parametrize("sink", ["memory", "room"])
async def test_a_session_that_closes_in_mid_speech_keeps_what_was_played(
    held: dict[str, Held], sink: str
) -> None:
    """The last reply is in the transcript, interrupted, and its sound ends where it stopped."""
    closed = held[f"closed on {sink}"]
    closed.check()
    (row,) = closed.call.ended["transcript"]
    run = closed.ears[0].runs[-1]
    assert row["interrupted"] and LONG.startswith(row["content"])
    assert abs(row["endAudioOffsetMs"] / 1000 - (run.end - origin(closed.call))) < 0.05


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
