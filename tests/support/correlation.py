"""Find a known sound in a recording: where it starts, how well it matches, where it breaks off.

Scores are those of normalised cross-correlation: 1.0 for the same sound at any loudness, about 0
for another one. 0.5 tells two voices apart in sounds of half a second or more.
"""

from __future__ import annotations

import statistics

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.generic]
_Floats = npt.NDArray[np.float64]

PIECE_SECONDS = 0.4
"""Long enough to be unlike other pieces, short enough that a jitter buffer leaves most whole."""

EXPLAINED = 0.5
"""The share of a sound's energy that must be the utterance's for it to be the utterance."""


def find(
    utterance: Sound,
    utt_rate: int,
    channel: Sound,
    rate: int,
    near_s: float | None = None,
    *,
    search_s: float = 1.0,
) -> tuple[float, float]:
    """Return where `utterance` starts in `channel` (seconds), and how well it matches there.

    Looks `search_s` seconds around `near_s`, or everywhere. The start is finer than a sample, and
    negative where the utterance began before the channel.
    """
    wanted, where = resampled(utterance, utt_rate, rate), channel.astype(np.float64)
    if not len(wanted) or not len(where):
        return 0.0, 0.0
    scores = _scores(wanted, where)  # scores[i] is for a start at i - (len(wanted) - 1)
    zero = len(wanted) - 1
    first, last = 0, len(scores)
    if near_s is not None:
        first = min(max(round((near_s - search_s) * rate) + zero, 0), last - 1)
        last = min(max(round((near_s + search_s) * rate) + zero + 1, first + 1), last)
    peak = first + int(np.argmax(scores[first:last]))
    return (peak - zero + _vertex(scores, peak)) / rate, float(scores[peak])


def find_in_pieces(voice: Sound, recording: Sound, rate: int) -> tuple[float, float]:
    """`find` for a voice that went through WebRTC: the median over its pieces.

    A codec lowers the score to some 0.9; another voice or other words have about 0.2.
    """
    length = round(PIECE_SECONDS * rate)
    starts = range(0, len(voice) - length + 1, length)
    found = [find(voice[start : start + length], rate, recording, rate) for start in starts]
    places = [place - start / rate for start, (place, _) in zip(starts, found, strict=True)]
    return statistics.median(places), statistics.median(score for _, score in found)


def voice_end(utterance: Sound, utt_rate: int, channel: Sound, rate: int, start_s: float) -> float:
    """Return how many seconds of `utterance` are in `channel`, where it starts at `start_s`.

    For sound of the same loudness that went through no codec; another sound may follow at once.
    A cut in a silence of the utterance counts as where its last audible sound ends.
    """
    begin = int(np.floor(start_s * rate))
    wanted = _delayed(resampled(utterance, utt_rate, rate), start_s * rate - begin)
    padded = np.pad(channel.astype(np.float64), (max(-begin, 0), len(wanted)))
    got = padded[max(begin, 0) :][: len(wanted)]
    unexplained = (wanted - got) ** 2
    gain = np.cumsum(EXPLAINED * wanted**2 - unexplained)
    return int(np.argmax([0.0, *gain])) / rate


def resampled(sound: Sound, rate: int, to_rate: int) -> _Floats:
    """Convert a sound to another rate in the frequency domain: exact for what both rates carry."""
    samples = sound.astype(np.float64)
    if rate == to_rate or not len(samples):
        return samples
    step = rate // int(np.gcd(rate, to_rate))
    padded = np.zeros(-(-(len(samples) + rate // 10) // step) * step)  # not periodic after all
    padded[: len(samples)] = samples
    length = len(padded) // step * (to_rate * step // rate)
    spectrum = np.fft.rfft(padded)  # irfft cuts it, or pads it with zeros
    whole: _Floats = np.fft.irfft(spectrum, length) * (length / len(padded))
    return whole[: round(len(samples) * to_rate / rate)]


def _scores(wanted: _Floats, where: _Floats) -> _Floats:
    """Return the normalised cross-correlation of every overlap, the earliest start first."""
    length = len(wanted) + len(where) - 1
    size = 1 << (length - 1).bit_length()
    product = np.fft.rfft(where, size) * np.fft.rfft(wanted[::-1], size)
    dot = np.fft.irfft(product, size)[:length]
    energy = np.concatenate([[0.0], np.cumsum(where**2)])
    ends = np.arange(1, length + 1)
    under = energy[np.minimum(ends, len(where))] - energy[np.maximum(ends - len(wanted), 0)]
    own = float(wanted @ wanted)
    norm = np.sqrt(np.maximum(under, 0.0) * own)
    scores: _Floats = np.where(norm > 1e-3 * own, dot / np.maximum(norm, 1e-12), 0.0)
    return scores


def _vertex(scores: _Floats, peak: int) -> float:
    """Return where between its neighbours a peak really is, by a parabola through the three."""
    if not 0 < peak < len(scores) - 1:
        return 0.0
    left, middle, right = (float(score) for score in scores[peak - 1 : peak + 2])
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


def _delayed(samples: _Floats, fraction: float) -> _Floats:
    """Delay a sound by a fraction of a sample."""
    size = len(samples) + 64
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * fraction)
    delayed: _Floats = np.fft.irfft(np.fft.rfft(samples, size) * turn, size)
    return delayed[: len(samples)]
