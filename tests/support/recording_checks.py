"""What a recording holds against what the lines know: by sound, by place, and nothing besides."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from offline.audio_io import Words
from offline.play_head import Run
from tests.support import livekit_features as has
from tests.support.correlation import find, resampled
from tests.support.fake_agent import Samples

LOUD = 300  # of 32767: under it is what a resampler leaves around a sound
PIECE = 0.03  # seconds of noise that are enough to tell where it is
BLIP = 0.002  # seconds; less is nothing: a sink that is resumed in order to be stopped
QUIET = 0.15  # seconds of quiet that part two stretches; the calls have none between 0 and 0.3

TURN = 0.05 if has.MESSAGE_METRICS else 0.15
"""Seconds by which a turn's offset may differ from its sound."""
PLAYED = 0.02 if has.PLAYBACK_STARTED else 0.04
"""Seconds by which the agent's channel may differ from what was played."""
HEARD = 0.01
"""Seconds by which the user's channel may differ from what was said."""


Sounding = Run | Words  # samples that sounded from `start` on


@dataclass(frozen=True)
class Error:
    """How far a channel is from the truth, in seconds, at worst."""

    start: float
    end: float
    shift: float
    stalled: float  # for which the sink ran dry, on a busy machine: no sink reports that

    @property
    def worst(self) -> float:
        return max(self.start, self.end, self.shift) - self.stalled


def origin(call: Any) -> float:
    """The monotonic moment of the recording's first sample, by what went over the wire."""
    row = max(call.ended["transcript"], key=lambda row: row["audioOffsetMs"])
    wall = datetime.fromisoformat(row["timestamp"].replace("Z", "+00:00")).timestamp()
    return wall - row["audioOffsetMs"] / 1000 - (time.time() - time.monotonic())


def stretches(sound: Samples, rate: int) -> list[tuple[float, float]]:
    """(start, end) of each part of a channel that is not quiet, in seconds."""
    loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > LOUD)
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) > QUIET * rate)
    starts = [loud[0], *loud[breaks + 1]]
    ends = [*loud[breaks], loud[-1]]
    spans = zip(starts, ends, strict=True)
    return [(int(a) / rate, (int(b) + 1) / rate) for a, b in spans if b - a >= BLIP * rate]


def audible(runs: Sequence[Sounding], zero: float) -> list[tuple[float, float]]:
    """What `stretches` has to find of these runs."""
    found: list[tuple[float, float]] = []
    for run in sorted(runs, key=lambda run: run.start):
        start, end = run.start - zero, run.end - zero
        if end - start < BLIP:
            continue
        if found and start - found[-1][1] <= QUIET:
            start, _ = found.pop()
        found.append((start, end))
    return found


def compare(sound: Samples, rate: int, runs: Sequence[Sounding], zero: float) -> Error:
    """A channel against all that sounded in it; fails where it holds more or less than that."""
    wanted, got = audible(runs, zero), stretches(sound, rate)
    assert len(wanted) == len(got), f"sounded {_text(wanted)}, recorded {_text(got)}"
    shifts = [shift(sound, rate, run, zero) for run in runs if len(run.samples) > PIECE * run.rate]
    errors = np.abs(np.subtract(wanted, got)) if wanted else np.zeros((1, 2))
    start, end = errors.max(axis=0)
    return Error(start, end, max(map(abs, shifts), default=0.0), stalled(runs))


def stalled(runs: Sequence[Sounding]) -> float:
    """Seconds of silence between these runs that nobody meant."""
    inorder = sorted(runs, key=lambda run: run.start)
    gaps = [after.start - run.end for run, after in itertools.pairwise(inorder)]
    return sum(gap for gap in gaps if 0.001 < gap <= QUIET)


def shift(sound: Samples, rate: int, run: Sounding, zero: float) -> float:
    """Seconds by which a run stands later than it sounded, where it begins or where it ends.

    Fails where it is not to be found. Only a little of it is looked for: following a clock's
    drift leaves out a sample now and then, which correlation of noise does not survive for long;
    and half a sample beside, noise correlates with itself by two thirds.
    """
    size = round(PIECE * run.rate)
    shifts = []
    for first in (0, len(run.samples) - size):
        wanted = resampled(run.samples[first : first + size], run.rate, rate)
        expected = run.start - zero + first / run.rate
        place, score = find(wanted, rate, sound, rate, expected, search_s=0.5)
        assert score > 0.5, f"not found at {expected:.3f} (score {score:.2f} at {place:.3f})"
        shifts.append(place - expected)
    return max(shifts, key=abs)


def _text(spans: list[tuple[float, float]]) -> str:
    return ", ".join(f"{start:.3f}-{end:.3f}" for start, end in spans)
