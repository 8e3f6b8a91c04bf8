"""The user's channel is what was said: any frames, a slow start, a track that goes and returns."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

pytest.importorskip("livekit.agents")

from livekit.agents.voice import io

from tests.support.fake_agent import NoisyAgent, Samples, spoken, until
from tests.support.observed_calls import Call, a_call
from tests.support.phone_lines import RATE, LineInput
from tests.support.recording_checks import HEARD, compare, origin, shift

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO, QUESTION, ANSWER = "hello you there", "what time is it", "it is noon"
ANSWERS: dict[str, Any] = {HELLO: "yes", QUESTION: ANSWER}
PULSES = 29

SHAPES = {  # (Hz, channels, seconds a frame)
    "8 kHz, 10 ms": (8_000, 1, 0.01),
    "16 kHz, 50 ms": (16_000, 1, 0.05),
    "24 kHz, 10 ms": (24_000, 1, 0.01),
    "44.1 kHz, 50 ms": (44_100, 1, 0.05),
    "48 kHz stereo, 10 ms": (48_000, 2, 0.01),
}


def pulse(number: int) -> Samples:
    """40 ms of a sound of its own."""
    return spoken(f"pulse {number}")[: round(0.04 * RATE)]


async def ask(folder: Path, mouth: LineInput) -> Call:
    """Two things are said, and answered."""
    async with a_call(folder, NoisyAgent(), ANSWERS, mouth=mouth) as call:
        await call.say(HELLO)
        await call.answered(1)
        await call.say(QUESTION)
        await call.answered(2)
    return call


async def start_slowly(folder: Path) -> Call:
    """The caller's track is there 1.5 s before the session reads it: then all comes at once."""
    mouth = LineInput()
    mouth.open()
    pulses = [mouth.say(pulse(n), after=0.1 + 0.1 * n) for n in range(PULSES)]
    await asyncio.sleep(1.5)
    async with a_call(folder, NoisyAgent(), ANSWERS, mouth=mouth) as call:
        await mouth.spoken(pulses[-1])
        await until(lambda: call.session.user_state == "listening")
        await call.say(QUESTION)
        await call.listening(1)
    return call


async def mute(folder: Path) -> Call:
    """The caller's track goes away for a while, with RoomIO's farewell, and comes back."""
    mouth = LineInput()
    async with a_call(folder, NoisyAgent(), ANSWERS, mouth=mouth) as call:
        await call.say(HELLO)
        await call.answered(1)
        mouth.unpublish()
        await asyncio.sleep(1.3)  # how long it is away
        mouth.publish()
        await call.say(QUESTION)
        await call.answered(2)
    return call


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    """All calls of this module, at once."""
    folder = tmp_path_factory.mktemp("calls")
    making = {
        "slow start": start_slowly(folder / "slow"),
        "mute": mute(folder / "mute"),
        **{
            name: ask(folder / str(number), LineInput(*shape))
            for number, (name, shape) in enumerate(SHAPES.items())
        },
    }
    return dict(zip(making, await asyncio.gather(*making.values()), strict=True))


@pytest.mark.parametrize("shape", [*SHAPES, "mute"])
async def test_what_was_said_is_where_it_was_said(calls: dict[str, Call], shape: str) -> None:
    """Whatever the frames; and a track that was away comes back in its place."""
    call = calls[shape]
    rate, sound = call.recording()
    error = compare(sound[:, 0], rate, call.mouth.words, origin(call))
    assert error.worst < HEARD, error


async def test_a_burst_after_a_slow_start_lies_in_its_true_place(calls: dict[str, Call]) -> None:
    """Every pulse is found, from before the session was there, none laid over another."""
    call = calls["slow start"]
    rate, sound = call.recording()
    shifts = [shift(sound[:, 0], rate, word, origin(call)) for word in call.mouth.words[:PULSES]]
    assert len(shifts) == PULSES and np.abs(shifts).max() < HEARD, shifts


@pytest.mark.skipif(not hasattr(io.AudioInput, "label"), reason="nameless before 1.2")
async def test_a_muted_caller_does_not_hold_the_recording_back(tmp_path: Path) -> None:
    """Of RoomIO's input it is known that nothing comes late: a kill would lose no more for it."""
    mouth = LineInput(label="RoomIO")
    async with a_call(tmp_path, NoisyAgent(), ANSWERS, mouth=mouth) as call:
        await call.say(HELLO)
        await call.answered(1)
        mouth.unpublish()
        left = time.monotonic()
        await until(lambda: recorded(call) > left + 0.5)
        assert time.monotonic() - left < 4.0  # and not 5.5, as for a line that may give a burst


def recorded(call: Call) -> float:
    """Up to when the recording is on its way, in monotonic seconds."""
    assert call.handle._parts is not None
    running = call.handle._parts.pipeline.call
    capture = None if running is None else running.recorder.capture
    if running is None or capture is None or not capture.rate:
        return 0.0
    return capture.origin + running.recorder.pcm_bytes / 4 / capture.rate
