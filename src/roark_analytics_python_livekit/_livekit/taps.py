"""Taps: pass the session's audio on unchanged, and hand over a copy with the time it passed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from livekit import rtc
from livekit.agents.voice import io

from .._diagnostics import Guard
from .._recording import frames
from .clock import WallClock
from .compat import Capabilities, is_real_time, is_unpublish, sink_traits

Part = TypeVar("Part", io.AudioInput, io.AudioOutput)

LABEL = "Roark"  # of the taps, in livekit's logs


class Receiver(Protocol):
    """The hand-over to the background thread; no method waits or raises."""

    def put(self, item: Any) -> None:
        """Appends an item of audio, which may be dropped where the thread is far behind."""

    def put_urgent(self, item: object) -> None:
        """Appends an item that has a reserve, so that it is hardly ever dropped."""

    def put_last(self, item: object) -> None:
        """Appends the last item, which is not dropped."""


class Tap:
    """What stands in for an input or output, and passes on what is asked of that one alone."""

    tapped: Any
    _queue: Receiver

    def is_of(self, queue: Receiver) -> bool:
        """Whether the copies go there; a tap of a call that is over passes on, and no more."""
        return self._queue is queue

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "tapped":  # before there is one, too
            raise AttributeError(name)
        return getattr(self.tapped, name)


class InputTap(Tap, io.AudioInput):
    """Passes the caller's audio on to the session."""

    def __init__(
        self, source: io.AudioInput, queue: Receiver, guard: Guard, can: Capabilities
    ) -> None:
        if can.labelled_input:
            super().__init__(label=LABEL, source=source)
        else:
            super().__init__()  # type: ignore[call-arg]  # livekit-agents before 1.2
        self.tapped = source
        self.is_waiting = False  # the session wants a frame, and the source has none
        self._frames: AsyncIterator[rtc.AudioFrame] = source.__aiter__()
        self._queue = queue
        self._guard = guard

    async def __anext__(self) -> rtc.AudioFrame:
        self.is_waiting = True
        try:
            frame = await self._frames.__anext__()
        finally:
            self.is_waiting = False
        try:  # the guard's own block costs a microsecond, 100 times a second
            self._queue.put(
                frames.UserFrame(
                    time.monotonic(),
                    bytes(frame.data),
                    frame.sample_rate,
                    frame.num_channels,
                    is_unpublish(frame),
                )
            )
        except Exception as error:
            self._guard.swallow("input tap", error)
        return frame

    # The base class's own forwarding recurses for ever on 1.2.

    def on_attached(self) -> None:
        self.tapped.on_attached()

    def on_detached(self) -> None:
        self.tapped.on_detached()


class OutputTap(Tap, io.AudioOutput):
    """Passes the agent's audio on to the sink, and the sink's reports back."""

    def __init__(
        self,
        sink: io.AudioOutput,
        queue: Receiver,
        guard: Guard,
        can: Capabilities,
        clock: WallClock,
    ) -> None:
        options: dict[str, Any] = {}
        if can.output_options:
            options["label"] = LABEL
            options["capabilities"] = io.AudioOutputCapabilities(pause=True)
        super().__init__(next_in_chain=sink, sample_rate=sink.sample_rate, **options)
        # From 1.6.1 on, the base class puts a proxy between the tap and the sink.
        self._next: io.AudioOutput = getattr(self, "next_in_chain", None) or sink
        self.tapped = sink
        self._queue = queue
        self._guard = guard
        self._clock = clock
        self.words: str | None = None  # that the sink says it played of its last speech

    @property
    def sample_rate(self) -> int | None:
        return self._next.sample_rate

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        # The base class counts segments. If it counted one before the sink has taken its first
        # frame, an interruption in between would wait for ever for that playback to finish.
        await self._next.capture_frame(frame)
        await super().capture_frame(frame)
        try:
            self._queue.put(
                frames.AgentFrame(
                    time.monotonic(), bytes(frame.data), frame.sample_rate, frame.num_channels
                )
            )
        except Exception as error:
            self._guard.swallow("output tap", error)

    def flush(self) -> None:
        self._put(frames.Flushed(time.monotonic()))
        super().flush()
        self._next.flush()

    def clear_buffer(self) -> None:
        self._put(frames.Cleared(time.monotonic()))
        self._next.clear_buffer()

    def pause(self) -> None:
        self._put(frames.Paused(time.monotonic()))
        super().pause()

    def resume(self) -> None:
        self._put(frames.Resumed(time.monotonic()))
        super().resume()

    def on_attached(self) -> None:
        self._next.on_attached()

    def on_detached(self) -> None:
        self._next.on_detached()

    def on_playback_started(self, *, created_at: float) -> None:
        super().on_playback_started(created_at=created_at)
        self._put(frames.Started(self._clock.monotonic(created_at)))

    def on_playback_progressed(self, *, started_at: float, offset: float, duration: float) -> None:
        super().on_playback_progressed(started_at=started_at, offset=offset, duration=duration)
        self._put(frames.Progressed(self._clock.monotonic(started_at), offset, duration))

    def on_playback_finished(
        self, *, playback_position: float, interrupted: bool, **others: Any
    ) -> None:
        super().on_playback_finished(
            playback_position=playback_position, interrupted=interrupted, **others
        )
        self.words = others.get("synchronized_transcript")
        self._put(frames.Finished(time.monotonic(), playback_position, interrupted))

    def _put(self, report: frames.Report) -> None:
        with self._guard("output tap"):
            self._queue.put(report)


@dataclass
class AudioTaps:
    """Keeps a tap at whatever audio input and output the session has."""

    session: Any
    queue: Receiver
    guard: Guard
    can: Capabilities
    clock: WallClock
    _output_tap: OutputTap | None = None  # the last one; a session that closes lets go of it

    def install(self) -> None:
        """Puts a tap where one is missing; not at a sink that is in the middle of a speech."""
        new_input = self._tap_input()
        new_output = self._tap_output()
        if new_input or new_output:
            self.queue.put_urgent(self._opened(new_input=new_input))

    def report_listening(self) -> None:
        """Reports that the session waits for the caller's audio: it took all there was."""
        tap = self._tap_at(self.session.input.audio)
        if isinstance(tap, InputTap) and tap.is_waiting:
            self.queue.put(frames.Listening(time.monotonic()))

    def is_as_played(self, text: str) -> bool:
        """Whether the text of an interrupted speech ends where the sink says that it was cut.

        True where there is no sound, so that nothing was cut.
        """
        if self._output_tap is None:
            return True
        words = self._output_tap.words
        return words is not None and text.rstrip().endswith(words.rstrip())

    def _tap_input(self) -> bool:
        source = self.session.input.audio
        if source is None or self._tap_at(source) is not None:
            return False
        self.session.input.audio = InputTap(source, self.queue, self.guard, self.can)
        return True

    def _tap_output(self) -> bool:
        sink = self.session.output.audio
        if sink is None or self._tap_at(sink) is not None:
            return False
        if self.session.current_speech is not None:
            return False
        tap = OutputTap(sink, self.queue, self.guard, self.can, self.clock)
        self.session.output.audio = self._output_tap = tap
        return True

    def _tap_at(self, part: Part | None) -> Tap | None:
        """This call's own tap there."""
        taps = (each for each in _chain(part) if isinstance(each, Tap))
        return next((tap for tap in taps if tap.is_of(self.queue)), None)

    def _opened(self, *, new_input: bool) -> frames.Opened:
        source, sink = self.session.input.audio, self.session.output.audio
        return frames.Opened(
            at=time.monotonic(),
            hears_user=source is not None,
            sink=None if sink is None else sink_traits(list(_chain(sink)), self.can),
            rate=None if sink is None else sink.sample_rate,
            new_input=new_input,
            paced_input=any(is_real_time(part) for part in _chain(source)),
        )


def _chain(part: Part | None) -> Iterator[Part]:
    """An input and those that it takes its audio from; an output and those that it passes it to."""
    while part is not None:
        yield part
        following = "source" if isinstance(part, io.AudioInput) else "next_in_chain"
        part = getattr(part, "tapped" if isinstance(part, Tap) else following, None)


class RtcResampler:
    """Resamples a stream of mono samples."""

    def __init__(self, input_rate: int, output_rate: int) -> None:
        self._rate = input_rate
        self._resampler = rtc.AudioResampler(
            input_rate, output_rate, num_channels=1, quality=rtc.AudioResamplerQuality.HIGH
        )

    def push(self, samples: frames.Samples) -> frames.Samples:
        frame = rtc.AudioFrame(samples.tobytes(), self._rate, 1, len(samples))
        return _joined(self._resampler.push(frame))

    def flush(self) -> frames.Samples:
        return _joined(self._resampler.flush())


def _joined(resampled: list[rtc.AudioFrame]) -> frames.Samples:
    parts = [np.frombuffer(frame.data, dtype=np.int16) for frame in resampled]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)
