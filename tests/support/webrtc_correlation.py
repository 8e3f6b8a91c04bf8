"""Finding a voice that went through WebRTC."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.support.correlation import find

Samples = npt.NDArray[np.int16]

PIECE_SECONDS = 0.4
"""Long enough to be unlike other pieces, short enough that most are whole where a jitter buffer has
stretched or shortened the voice here and there, as it does on a busy machine."""


@dataclass(frozen=True)
class Found:
    """Where a voice is, and how sure that is.

    Attributes:
        seconds: From the start of the recording to the start of the voice.
        likeness: 1 for exactly the same, about 0.2 for another voice or other words; a codec and
            a jitter buffer lower it to some 0.9.
    """

    seconds: float
    likeness: float


def find_in_pieces(voice: Samples, recording: Samples, rate: int) -> Found:
    """Find `voice` in `recording`, piece by piece.

    Args:
        voice: Mono samples, at least `PIECE_SECONDS` of them.
        recording: Mono samples.
        rate: That of both, in Hz.

    Returns:
        The median over the pieces, so that one that was lost or stretched does not count.
    """
    length = round(PIECE_SECONDS * rate)
    starts = range(0, len(voice) - length + 1, length)
    found = [find(voice[start : start + length], rate, recording, rate) for start in starts]
    return Found(
        statistics.median(
            seconds - start / rate for start, (seconds, _) in zip(starts, found, strict=True)
        ),
        statistics.median(likeness for _, likeness in found),
    )
