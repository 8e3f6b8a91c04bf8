"""A speech segment's samples: from the frames they came in to the channel they stand in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from .frames import Frame, Samples, SinkTraits
from .mixer import AGENT, Resampler, ResamplerFactory, Run, StereoMixer
from .playback import Span


@dataclass(frozen=True)
class FrameCuts:
    """Where a sink cuts a segment into the frames that it plays one by one.

    A sink that reports its progress needs no such guess: it counts as one that stops to the sample.
    """

    first: tuple[int, ...]  # 0, and the ends of its first frames, in samples
    size: int  # samples in each frame behind them
    resume_seconds: float  # what the sink takes to go on with its next frame

    @staticmethod
    def of(traits: SinkTraits, rate: int) -> FrameCuts:
        """The cuts of a sink that takes `rate` samples a second."""
        if traits.reports_progress or not traits.frame_seconds:
            return FrameCuts((0,), 1, 0.0)
        sizes = (round(seconds * rate) for seconds in traits.first_frames_seconds)
        size = round(traits.frame_seconds * rate)
        return FrameCuts(tuple(accumulate(sizes, initial=0)), size, traits.resume_seconds)

    def before(self, sample: int) -> int:
        """The last cut up to `sample`."""
        last = self.first[-1]
        if sample < last:
            return max(cut for cut in self.first if cut <= sample)
        return last + (sample - last) // self.size * self.size

    def stop(self, sample: int) -> int:
        """Where playback stands still that is paused at `sample`.

        The sink stops when its queue could take another frame. The queue holds whole frames, so
        that is when a frame could end, also within the first frames.
        """
        last = self.first[-1]
        return last - (last - sample) // self.size * self.size


class SegmentAudio:
    """A segment's samples, at the rate of its first frame; forgotten once taken.

    The first frame still has to be pushed.
    """

    def __init__(self, first: Frame, cuts: FrameCuts, make_resampler: ResamplerFactory) -> None:
        self.first_at = self.arrived_at = self.flushed_at = first.at  # arrived: the last frame
        self.is_complete = False  # flushed
        self.end_sample = 0  # the first one that is not there yet
        self.playable_end_sample = 0  # up to there the sink can play: it waits for whole frames
        self._cuts = cuts
        self._make_resampler = make_resampler
        self._rate = self._incoming_rate = first.rate
        self._resampler: Resampler | None = None
        self._first_sample = 0
        self._parts: deque[bytes] = deque()  # s16le, from the first sample on that is not taken
        self._run: Run | None = None  # where what plays without a gap is written

    def push(self, frame: Frame) -> None:
        self.arrived_at = frame.at
        if frame.rate != self._incoming_rate:
            self._flush_resampler()
            self._incoming_rate = frame.rate
            if frame.rate != self._rate:
                self._resampler = self._make_resampler(frame.rate, self._rate)
        if self._resampler is not None:
            self._append(self._resampler.push(frame.mono()).tobytes())
        else:
            self._append(frame.mono_pcm())

    def flush(self, at: float) -> None:
        self.is_complete = True
        self.flushed_at = at
        self._flush_resampler()
        self.playable_end_sample = self.end_sample

    def take(self, first_sample: int, end_sample: int) -> Samples:
        """Samples [first, end); everything before `end_sample` is forgotten."""
        taken: list[bytes] = []
        missing = size = max(0, 2 * (end_sample - self._first_sample))  # bytes
        while self._parts and missing > 0:
            taken.append(self._parts.popleft())
            missing -= len(taken[-1])
        if missing < 0:
            self._parts.appendleft(taken[-1][missing:])
        begin = max(0, first_sample - self._first_sample)
        self._first_sample += (size - max(0, missing)) // 2
        return np.frombuffer(b"".join(taken), dtype="<i2")[begin : size // 2]

    def place(self, span: Span, mixer: StereoMixer) -> None:
        """Writes a span's samples into the agent's channel: joined spans are one run."""
        if self._run is None or not span.joined:
            self.end_run()
            position = max(mixer.sample_at(span.at), mixer.end_sample(AGENT))
            self._run = Run(mixer, AGENT, position, self._rate, self._make_resampler)
        self._run.push(self.take(span.first_sample, span.end_sample))

    def end_run(self) -> None:
        """There is silence behind what was placed."""
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _flush_resampler(self) -> None:
        if self._resampler is not None:
            self._append(self._resampler.flush().tobytes())
            self._resampler = None
            self._incoming_rate = self._rate

    def _append(self, pcm: bytes) -> None:
        self._parts.append(pcm)
        self.end_sample += len(pcm) // 2
        self.playable_end_sample = self._cuts.before(self.end_sample)
