"""The line in memory: real time, truth to the sample, and the events of a room."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("livekit.agents")

from livekit import rtc

from offline.audio_io import SAMPLE_RATE, MemoryAudioInput, MemoryAudioOutput
from offline.captions import Captions
from offline.sound import Samples, from_frame, to_frame

LATE = 0.5
"""Seconds by which a busy machine may be late."""


def _frame(seconds: float, level: int = 1000) -> rtc.AudioFrame:
    return to_frame(np.full(round(seconds * SAMPLE_RATE), level, dtype=np.int16), SAMPLE_RATE)


def _events(output: MemoryAudioOutput) -> list[tuple[str, Any]]:
    events: list[tuple[str, Any]] = []
    for name in ("playback_started", "playback_progressed", "playback_finished"):
        output.on(name, lambda event, name=name: events.append((name, event)))
    return events


async def _read(line: MemoryAudioInput, frames: int) -> Samples:
    return np.concatenate([from_frame(await line.__anext__()) for _ in range(frames)])


async def test_the_input_is_silent_until_somebody_speaks() -> None:
    """Frames come in real time, and what is said is in them where the truth says it is."""
    line = MemoryAudioInput(frame_seconds=0.01)
    began = time.monotonic()
    silent = await _read(line, 5)
    words = line.say(np.full(1000, 7, dtype=np.int16), after=0.03)
    sound = await _read(line, 20)
    took = time.monotonic() - began
    assert not silent.any()
    first = round((words.start - began) * SAMPLE_RATE) - len(silent)
    assert np.flatnonzero(sound).tolist() == pytest.approx(
        list(range(first, first + 1000)), abs=LATE * SAMPLE_RATE
    )
    assert np.count_nonzero(sound) == 1000
    assert took == pytest.approx(0.25, abs=LATE)


async def test_a_late_reader_gets_what_was_missed_at_once() -> None:
    """The schedule does not drift: after a stall of 0.2 s 20 frames are due."""
    line = MemoryAudioInput(frame_seconds=0.01)
    await _read(line, 1)
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await _read(line, 15)
    assert time.monotonic() - began < LATE


async def test_what_is_said_follows_what_is_being_said() -> None:
    """Two utterances never overlap."""
    line = MemoryAudioInput(frame_seconds=0.01)
    first = line.say(np.ones(2400, dtype=np.int16))
    second = line.say(np.ones(2400, dtype=np.int16))
    assert second.start == pytest.approx(first.end, abs=1e-6)


async def test_a_segment_plays_in_real_time_and_reports_it() -> None:
    """Started, one run, finished, with the whole length and at the right time."""
    output = MemoryAudioOutput()
    events = _events(output)
    began = time.time()
    for _ in range(3):
        await output.capture_frame(_frame(0.05))
    output.flush()
    finished = await output.wait_for_playout()
    assert time.time() - began == pytest.approx(0.15, abs=LATE)
    assert finished.playback_position == pytest.approx(0.15) and not finished.interrupted
    assert [name for name, _ in events] == [
        "playback_started",
        "playback_progressed",
        "playback_finished",
    ]
    assert events[0][1].created_at == pytest.approx(began, abs=LATE)
    assert events[1][1].offset == 0.0 and events[1][1].duration == pytest.approx(0.15)


async def test_clearing_falls_silent_at_once_and_tells_the_true_position() -> None:
    """4 s pushed, 0.1 s played."""
    output = MemoryAudioOutput()
    await output.capture_frame(_frame(4.0))
    segment = output.segments[0]
    assert await output.reaches(segment, 0.1)
    output.clear_buffer()
    output.flush()
    finished = await output.wait_for_playout()
    assert finished.interrupted
    assert finished.playback_position == pytest.approx(0.1, abs=LATE)
    assert len(segment.head.sound()) == round(finished.playback_position * SAMPLE_RATE)
    assert not await output.reaches(segment, 1.0)


async def test_with_captions_it_tells_the_words_that_were_heard() -> None:
    """A third of the sound is a third of the text; nothing is told of what was played whole."""
    captions = Captions()
    output = MemoryAudioOutput(captions=captions)
    told: list[Any] = []
    output.on("playback_finished", lambda event: told.append(event.synchronized_transcript))
    for text, seconds in (("all of it", 0.05), ("one two three ", 0.0), ("four five six", 4.0)):
        await captions.capture_text(text)
        if seconds:
            captions.flush()
            await output.capture_frame(_frame(seconds))
            if seconds > 1:
                await output.reaches(output.segments[-1], 1.0)
                output.clear_buffer()
            output.flush()
            await output.wait_for_playout()
    whole, cut = told
    assert whole is None
    assert cut in ("one", "one two", "one two three")


@pytest.mark.parametrize(
    ("part", "words"),
    [(0.0, ""), (0.2, ""), (0.4, "two"), (0.99, "two two"), (1.0, "two two two")],
)
async def test_words_are_heard_whole_or_not_at_all(part: float, words: str) -> None:
    """Also where one comes again."""
    captions = Captions()
    await captions.capture_text("two two two")
    assert captions.heard(part) == words


async def test_a_pause_is_two_runs_and_no_lost_sample() -> None:
    """The segment ends later by the pause."""
    output = MemoryAudioOutput()
    events = _events(output)
    await output.capture_frame(_frame(0.2))
    output.flush()
    await output.reaches(output.segments[0], 0.1)
    output.pause()
    await asyncio.sleep(0.1)
    assert not output.segments[0].finished
    output.resume()
    finished = await output.wait_for_playout()
    assert finished.playback_position == pytest.approx(0.2)
    runs = [event for name, event in events if name == "playback_progressed"]
    assert sum(run.duration for run in runs) == pytest.approx(0.2)
    assert runs[1].offset == pytest.approx(runs[0].duration)
    assert runs[1].started_at - runs[0].started_at - runs[0].duration >= 0.099
    assert [name for name, _ in events].count("playback_started") == 1


async def test_the_next_segment_waits_for_the_one_before() -> None:
    """A frame after a flush belongs to a new segment, which starts when the old one is over."""
    output = MemoryAudioOutput()
    await output.capture_frame(_frame(0.1))
    output.flush()
    await output.capture_frame(_frame(0.05))
    output.flush()
    await output.wait_for_playout()
    first, second = output.segments
    assert second.head.start is not None and second.head.start >= first.head.end
