"""The play head's arithmetic: what sounds when, whatever is pushed, paused and stopped."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("livekit.agents")


from offline.play_head import PlayHead
from offline.sound import Samples

RATE = 1000


def _samples(count: int, first: int = 0) -> Samples:
    return np.arange(first, first + count, dtype=np.int16)


def test_samples_pushed_at_once_sound_one_after_another() -> None:
    """Pushing faster than real time queues up: one run without a gap."""
    head = PlayHead(RATE)
    head.push(_samples(500), now=10.0)
    head.push(_samples(500, 500), now=10.1)
    assert [(run.start, len(run.samples)) for run in head.runs] == [(10.0, 1000)]
    assert head.end == 11.0
    assert head.position(10.25) == 0.25
    assert head.position(math.inf) == 1.0


def test_a_frame_handed_late_leaves_a_gap() -> None:
    """The queue ran dry at 10.5; what comes at 10.7 sounds at 10.7."""
    head = PlayHead(RATE)
    head.push(_samples(500), now=10.0)
    head.push(_samples(300), now=10.7)
    assert [run.start for run in head.runs] == [10.0, 10.7]
    assert head.end == pytest.approx(11.0)
    sound = head.sound()
    assert len(sound) == 1000
    assert not sound[500:700].any() and sound[701:].all()


def test_a_stop_keeps_what_has_sounded_and_nothing_more() -> None:
    """After a stop nothing sounds, not even what is pushed later."""
    head = PlayHead(RATE)
    head.push(_samples(1000), now=10.0)
    head.stop(10.4)
    head.push(_samples(1000), now=10.5)
    assert head.position(math.inf) == pytest.approx(0.4)
    assert head.stopped_at == 10.4
    assert head.sound().tolist() == list(range(400))
    assert len(head.pushed) == 1000


def test_a_pause_holds_the_queue_and_a_resume_goes_on_there() -> None:
    """No sample is lost or played twice, and while paused no end is known."""
    head = PlayHead(RATE)
    head.push(_samples(400), now=10.0)
    head.pause(10.25)
    assert head.end == math.inf and head.time_at(0.3) == math.inf
    head.push(_samples(100, 400), now=10.3)
    head.resume(11.0)
    assert [(run.start, len(run.samples)) for run in head.runs] == [(10.0, 250), (11.0, 250)]
    assert np.concatenate([run.samples for run in head.runs]).tolist() == list(range(500))
    assert head.time_at(0.3) == pytest.approx(11.05)


def test_a_stop_while_paused_ends_at_the_pause() -> None:
    """What was held never sounds."""
    head = PlayHead(RATE)
    head.push(_samples(400), now=10.0)
    head.pause(10.25)
    head.stop(10.9)
    assert head.position(math.inf) == 0.25
    assert head.end == 10.25


def test_a_segment_that_begins_paused_starts_at_the_resume() -> None:
    """Nothing sounds before."""
    head = PlayHead(RATE)
    head.pause(10.0)
    head.push(_samples(100), now=10.1)
    assert head.start is None and len(head.sound()) == 0
    head.resume(10.6)
    assert head.start == 10.6 and head.end == pytest.approx(10.7)
