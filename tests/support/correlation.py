"""Find a known sound in a recording: where it starts, how well it matches, where it breaks off.

Plain numpy. Scores are those of normalised cross-correlation: 1.0 for the same sound whatever its
loudness, about 0 for another one. Where two voices are to be told apart, or one from echo, 0.5 is a
safe threshold for sounds of half a second or more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.generic]
_Floats = npt.NDArray[np.float64]

SEARCH_SECONDS = 1.0
"""How far around `near_s` to look."""

BLOCK_SECONDS = 0.01
"""The grain at which `voice_end` compares."""

AUDIBLE = 0.01
"""A block is compared only where the utterance is louder than this share of its own peak."""

EXPLAINED = 0.5
"""The share of a block's energy that must be the utterance's for the block to be it."""


def find(
    utterance: Sound,
    utt_rate: int,
    channel: Sound,
    rate: int,
    near_s: float | None = None,
    *,
    search_s: float = SEARCH_SECONDS,
) -> tuple[float, float]:
    """Return where `utterance` starts in `channel`, and how well it matches there.

    Args:
        utterance: The sound to look for, mono.
        utt_rate: Its sample rate, in Hz.
        channel: The sound to look in, mono.
        rate: Its sample rate, in Hz.
        near_s: Where it is expected to start, in seconds; None looks everywhere.
        search_s: How many seconds around `near_s` to look.

    Returns:
        The offset in seconds, finer than a sample, negative if the utterance started before the
        channel; and the peak of the normalised cross-correlation, between -1 and 1.
    """
    wanted = resampled(utterance, utt_rate, rate)
    where = channel.astype(np.float64)
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


def voice_end(utterance: Sound, utt_rate: int, channel: Sound, rate: int, start_s: float) -> float:
    """Return how many seconds of `utterance` are in `channel`, where it starts at `start_s`.

    Compares block by block, as loud as the utterance is, and to the sample where they part; another
    sound may follow at once. For sound that went through no lossy codec.

    Args:
        utterance: The whole sound, of which the channel may hold only a first part; mono.
        utt_rate: Its sample rate, in Hz.
        channel: The recording, mono.
        rate: Its sample rate, in Hz.
        start_s: Where the utterance starts, as `find` returns it for a part that is surely there.

    Returns:
        Seconds, at most the utterance's length. A cut in a silence of the utterance is placed where
        its last audible sound ends.
    """
    begin = int(np.floor(start_s * rate))
    wanted = _delayed(resampled(utterance, utt_rate, rate), start_s * rate - begin)
    got = _slice(channel.astype(np.float64), begin, len(wanted))
    block = max(round(BLOCK_SECONDS * rate), 2)
    floor = AUDIBLE * float(np.abs(wanted).max(initial=0.0))
    end = 0
    for first in range(0, len(wanted), block):
        ours, theirs = wanted[first : first + block], got[first : first + block]
        if float(np.abs(ours).max()) < floor:
            continue
        if _explained(ours, theirs) < EXPLAINED:
            before = max(first - block, 0)
            last = slice(before, first + block)
            return min(end, before + _parting(wanted[last], got[last])) / rate
        end = first + 2 * block
    return len(wanted) / rate


def resampled(sound: Sound, rate: int, to_rate: int) -> _Floats:
    """Convert a sound to another rate in the frequency domain: exact for what both rates carry."""
    samples = sound.astype(np.float64)
    if rate == to_rate or not len(samples):
        return samples
    step = rate // int(np.gcd(rate, to_rate))
    padded = np.zeros(-(-(len(samples) + rate // 10) // step) * step)  # not periodic after all
    padded[: len(samples)] = samples
    length = len(padded) // step * (to_rate * step // rate)
    spectrum = np.fft.rfft(padded)
    kept = np.zeros(length // 2 + 1, dtype=np.complex128)
    common = min(len(kept), len(spectrum))
    kept[:common] = spectrum[:common]
    whole: _Floats = np.fft.irfft(kept, length) * (length / len(padded))
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


def _slice(samples: _Floats, first: int, length: int) -> _Floats:
    """Return `length` samples from `first` on, with silence outside of the sound."""
    out = np.zeros(length)
    begin, end = max(first, 0), min(first + length, len(samples))
    if begin < end:
        out[begin - first : end - first] = samples[begin:end]
    return out


def _explained(ours: _Floats, theirs: _Floats) -> float:
    return 1.0 - float(((ours - theirs) ** 2).sum()) / float((ours**2).sum())


def _parting(ours: _Floats, theirs: _Floats) -> int:
    """Return up to which sample `theirs` is `ours`: the split with the least unexplained."""
    differing = np.concatenate([[0.0], np.cumsum((ours - theirs) ** 2)])
    missing = np.concatenate([np.cumsum((ours**2)[::-1])[::-1], [0.0]])
    return int(np.argmin(differing + missing))
