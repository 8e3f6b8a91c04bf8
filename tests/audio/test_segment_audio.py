"""A segment's samples, and the frames that a sink cuts them into."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roark_analytics_python_livekit._recording.frames import AgentFrame, SinkTraits
from roark_analytics_python_livekit._recording.segment_audio import FrameCuts, SegmentAudio
from tests.support.fake_sinks import PLAIN, ROOM_1_2, ROOM_1_5, ROOM_1_7
from tests.support.signals import LinearResampler, numbered

RATE = 1000

steady = settings(deadline=None, derandomize=True, database=None, max_examples=60)


def audio_of(traits: SinkTraits) -> SegmentAudio:
    """A segment whose first frame is still to be pushed."""
    first = AgentFrame(1.0, b"", RATE)
    return SegmentAudio(first, FrameCuts.of(traits, RATE), LinearResampler)


def frame(first: int, count: int) -> AgentFrame:
    """Numbered samples."""
    return AgentFrame(1.0 + first / RATE, numbered(first, count).tobytes(), RATE)


@pytest.mark.parametrize(
    ("traits", "playable"),
    [
        pytest.param(PLAIN.traits, [10, 30, 70, 130], id="plain"),
        pytest.param(ROOM_1_2.traits, [0, 0, 50, 100], id="frames of 50 ms"),
        pytest.param(ROOM_1_5.traits, [0, 20, 60, 110], id="20 and 40 ms first"),
        pytest.param(ROOM_1_7.traits, [10, 30, 70, 130], id="reports say it"),
    ],
)
def test_a_sink_plays_whole_frames_until_the_segment_is_complete(
    traits: SinkTraits, playable: list[int]
) -> None:
    """The rest of a frame waits for more, or for the flush."""
    audio = audio_of(traits)
    found = []
    for first, count in ((0, 10), (10, 20), (30, 40), (70, 60)):
        audio.push(frame(first, count))
        found.append(audio.playable_end_sample)
    assert found == playable
    audio.flush(2.0)
    assert audio.playable_end_sample == 130
    assert (audio.first_at, audio.arrived_at, audio.flushed_at) == (1.0, 1.07, 2.0)


@pytest.mark.parametrize(
    ("traits", "stops"),
    [
        pytest.param(PLAIN.traits, [0, 1, 49, 50, 51, 61], id="plain"),
        pytest.param(ROOM_1_2.traits, [0, 50, 50, 50, 100, 100], id="frames of 50 ms"),
        pytest.param(ROOM_1_5.traits, [10, 10, 60, 60, 60, 110], id="20 and 40 ms first"),
    ],
)
def test_a_pause_stops_the_sink_where_a_frame_could_end(
    traits: SinkTraits, stops: list[int]
) -> None:
    """Its queue has room for a frame once one of that length was played."""
    cuts = FrameCuts.of(traits, RATE)
    assert [cuts.stop(sample) for sample in (0, 1, 49, 50, 51, 61)] == stops


@steady
@given(
    st.lists(st.integers(0, 50), max_size=10),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 80)), max_size=10),
)
def test_samples_are_taken_once_and_in_order(
    sizes: list[int], takes: list[tuple[int, int]]
) -> None:
    """However they were pushed, and whatever is left out between two takes."""
    audio, pushed, at = audio_of(PLAIN.traits), 0, 0
    for size in sizes:
        audio.push(frame(pushed, size))
        pushed += size
    assert audio.end_sample == pushed
    for skipped, count in takes:
        first, end = min(at + skipped, pushed), min(at + skipped + count, pushed)
        assert np.array_equal(audio.take(first, end), numbered(first, end - first))
        at = end
