"""Finding a voice in a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[Any]

PIECE_SECONDS = 0.8
"""Long enough to be unlike any other piece, short enough that a jitter buffer, which stretches and
shortens what it plays by some milliseconds, seldom does so within it."""

_AUDIBLE = 0.01
"""The share of the loudest place's energy below which a place is taken for silence."""


@dataclass(frozen=True)
class Found:
    """Where a voice is, and how sure that is.

    Attributes:
        seconds: From the start of the recording to the start of the voice.
        likeness: 1 for exactly the same, about 0.3 for another voice or other words; a codec and
            a change of gain lower it to some 0.95.
    """

    seconds: float
    likeness: float


def find(voice: Signal, recording: Signal, rate: int) -> Found:
    """Find `voice` in `recording`, piece by piece, by normalised cross-correlation.

    Args:
        voice: Mono samples, at least `PIECE_SECONDS` of them.
        recording: Mono samples, more of them.
        rate: That of both, in Hz.

    Returns:
        The median over the pieces, so that one piece which was lost or stretched does not count.
    """
    length = round(PIECE_SECONDS * rate)
    starts = range(0, len(voice) - length + 1, length)
    matches = [_match(voice[start : start + length], recording) for start in starts]
    places = [place - start for (place, _), start in zip(matches, starts, strict=True)]
    return Found(
        seconds=float(np.median(places)) / rate,
        likeness=float(np.median([likeness for _, likeness in matches])),
    )


def _match(piece: Signal, recording: Signal) -> tuple[int, float]:
    sound, wanted = recording.astype(np.float64), piece.astype(np.float64)
    energies = _window_energies(sound, len(wanted))
    # A correlation with next to nothing says nothing.
    audible = energies > _AUDIBLE * energies.max(initial=1.0)
    scale = np.sqrt(np.where(audible, energies, np.inf) * np.sum(wanted**2))
    likeness = np.abs(_correlate(sound, wanted)) / scale
    place = int(np.argmax(likeness))
    return place, float(likeness[place])


def _correlate(sound: Signal, wanted: Signal) -> Signal:
    size = 1 << (len(sound) + len(wanted) - 1).bit_length()
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(wanted, size))
    correlation: Signal = np.fft.irfft(spectrum, size)[: len(sound) - len(wanted) + 1]
    return correlation


def _window_energies(sound: Signal, length: int) -> Signal:
    total = np.concatenate([[0.0], np.cumsum(sound**2)])
    energies: Signal = total[length:] - total[:-length]
    return energies
