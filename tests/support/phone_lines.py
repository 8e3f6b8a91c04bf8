"""Telephone lines in memory that know, to the sample, what was heard and what was really played.

`LineInput` is a caller's side with any frames; the outputs are livekit's own sinks (RoomIO's, the
avatars') of the installed version, whose far end is a play head instead of a device.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents.voice import avatar, io
from livekit.agents.voice.room_io import _output as room_output

from offline.audio_io import MemoryAudioOutput, Words
from offline.play_head import PlayHead, Run
from offline.sound import Samples, from_frame, resample

RATE = 24_000
UNPUBLISHED = 0.5  # seconds of zeros that RoomIO pushes when a track goes away

Clock = Callable[[], float]


class LineInput(io.AudioInput):
    """The caller's side of the line: frames of any shape, a track that goes and comes back.

    Its frames are due half a frame beside those of a sink that begins at the same moment: where
    a pause falls within 2 ms of one of RoomIO's frames, nobody can tell whether that one sounded.

    Args:
        rate: Samples a second.
        channels: 1, or 2 of the same.
        frame_seconds: Length of a frame.
        clock: Monotonic seconds.
        label: What it calls itself.
    """

    def __init__(
        self,
        rate: int = RATE,
        channels: int = 1,
        frame_seconds: float = 0.05,
        clock: Clock = time.monotonic,
        label: str = "Line",
    ) -> None:
        super().__init__(**accepted(io.AudioInput, label=label, source=None))
        self.words: list[Words] = []
        self.rate = rate
        self._channels = channels
        self._length = round(frame_seconds * rate)
        self._clock = clock
        self._next = 0
        self._opened: float | None = None
        self._published = asyncio.Event()
        self._published.set()
        self._farewell = False
        self._changed = asyncio.Event()

    def open(self) -> float:
        """The time line's zero; from now on frames are due, whether anybody reads or not."""
        if self._opened is None:
            self._opened = self._clock() + self._length / self.rate / 2
        return self._opened

    def say(self, samples: Samples, after: float = 0.0) -> Words:
        """Says 24 kHz `samples`, `after` seconds from now or when what was being said is over."""
        samples = resample(samples, RATE, self.rate)
        first = max(self._next, math.ceil((self._clock() + after - self.open()) * self.rate))
        if self.words:
            first = max(first, round((self.words[-1].end - self.open()) * self.rate))
        words = Words(samples, self.rate, self.open() + first / self.rate)
        self.words.append(words)
        return words

    async def spoken(self, words: Words) -> None:
        """Waits until all of `words` has been handed to the reader."""
        end = round((words.end - self.open()) * self.rate)
        while self._next < end:
            self._changed.clear()
            await self._changed.wait()

    def unpublish(self) -> None:
        """The track goes away: one zero frame, then nothing."""
        self._published.clear()
        self._farewell = True

    def publish(self) -> None:
        """The track is back, with what is said from now on."""
        passed = (self._clock() - self.open()) * self.rate
        self._next = max(self._next, math.ceil(passed / self._length) * self._length)
        self._published.set()

    async def __anext__(self) -> rtc.AudioFrame:
        while True:
            if self._farewell:
                self._farewell = False
                return self._frame(np.zeros(round(UNPUBLISHED * self.rate), np.int16))
            await self._published.wait()
            due = self.open() + (self._next + self._length) / self.rate
            if (wait := due - self._clock()) > 0:
                await asyncio.sleep(wait)
            if not self._published.is_set():
                continue
            sound = self._sound()
            self._next += self._length
            self._changed.set()
            return self._frame(sound)

    def _frame(self, sound: Samples) -> rtc.AudioFrame:
        data = np.repeat(sound, self._channels).tobytes()
        return rtc.AudioFrame(data, self.rate, self._channels, len(sound))

    def _sound(self) -> Samples:
        sound = np.zeros(self._length, np.int16)
        for words in self.words:
            offset = round((words.start - self.open()) * self.rate) - self._next
            begin, end = max(offset, 0), min(offset + len(words.samples), self._length)
            if begin < end:
                sound[begin:end] = words.samples[begin - offset : end - offset]
        return sound


class MemoryAudioSource:
    """In the place of `rtc.AudioSource`: a queue that plays in real time, and remembers.

    Attributes:
        heads: What sounded when; another one after each time the queue was cleared.
    """

    def __init__(self, rate: int, channels: int, queue_size_ms: int = 1000, *_: Any) -> None:
        self.heads = [PlayHead(rate)]
        self._room = queue_size_ms / 1000
        self._changed = asyncio.Event()

    @property
    def queued_duration(self) -> float:
        return max(self.heads[-1].end - time.monotonic(), 0.0)

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        # As the real one: it takes a frame at once, and returns when its queue is not too long.
        self.heads[-1].push(from_frame(frame), time.monotonic())
        while (excess := self.queued_duration - self._room) > 0:
            await asyncio.sleep(excess)

    def clear_queue(self) -> None:
        self.heads[-1].stop(time.monotonic())
        self.heads.append(PlayHead(self.heads[-1].rate))
        self._changed.set()

    async def wait_for_playout(self) -> None:
        head = self.heads[-1]
        while head is self.heads[-1] and (left := self.queued_duration) > 0:
            await asyncio.sleep(min(left, 0.01))

    async def aclose(self) -> None: ...


class RoomOutput:
    """The sink that RoomIO has in the installed version, playing into memory.

    Attributes:
        sink: What the session gets.
        source: Where it plays to.
    """

    def __init__(self, rate: int = RATE) -> None:
        made = SimpleNamespace(AudioSource=MemoryAudioSource, LocalAudioTrack=_NoTrack)
        original = room_output.rtc
        room_output.rtc = _Instead(made, original)  # type: ignore[assignment]  # for the constructor
        try:
            self.sink = room_output._ParticipantAudioOutput(
                memory_room(),
                sample_rate=rate,
                num_channels=1,
                track_publish_options=rtc.TrackPublishOptions(),
            )
        finally:
            room_output.rtc = original
        self.source: MemoryAudioSource = self.sink._audio_source  # type: ignore[assignment]  # see above
        self._start: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """As the room does once it is connected."""
        original = room_output.rtc
        made = SimpleNamespace(LocalAudioTrack=_NoTrack)
        room_output.rtc = _Instead(made, original)  # type: ignore[assignment]  # for the track
        try:
            await self.sink.start()
        finally:
            room_output.rtc = original

    @property
    def runs(self) -> list[Run]:
        """What sounded without a break, in order."""
        return [run for head in self.source.heads for run in head.runs]


class _Instead:
    """A module with some of its names replaced."""

    def __init__(self, made: Any, module: Any) -> None:
        self._made, self._module = made, module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made if hasattr(self._made, name) else self._module, name)


class _NoTrack:
    @staticmethod
    def create_audio_track(name: str, source: object) -> object:
        return object()


class Ear(MemoryAudioOutput):
    """The example's sink, asked as the others are."""

    @property
    def runs(self) -> list[Run]:
        return [run for segment in self.segments for run in segment.head.runs]


class AvatarOutput:
    """livekit's sink for an avatar in the same process, and an avatar that plays late.

    Attributes:
        sink: What the session gets.
        heads: What the avatar played, a head a segment.
        late: Seconds that its reports came late, at worst; a busy machine's doing.
    """

    LATENCY = 0.3  # seconds until an avatar's mouth opens

    def __init__(self) -> None:
        self.sink = avatar.QueueAudioOutput(sample_rate=RATE)
        self.heads: list[PlayHead] = []
        self.late = 0.0
        self._cleared = asyncio.Event()
        self.sink.on("clear_buffer", self._cleared.set)

    async def start(self) -> None:
        """Begins to play what comes."""
        self._playing = asyncio.ensure_future(self._play())

    async def _play(self) -> None:
        head: PlayHead | None = None
        async for item in self.sink:  # type: ignore[attr-defined]  # an AudioReceiver
            if isinstance(item, rtc.AudioFrame):
                if head is None:
                    self._cleared.clear()
                    head = PlayHead(item.sample_rate)
                    self.heads.append(head)
                head.push(from_frame(item), max(time.monotonic() + self.LATENCY, head.end))
            elif head is not None:
                await self._finish(head)
                head = None

    async def _finish(self, head: PlayHead) -> None:
        left = max(head.end - time.monotonic(), 0.0)
        try:
            await asyncio.wait_for(self._cleared.wait(), left)
        except (TimeoutError, asyncio.TimeoutError):
            pass
        else:
            head.stop(time.monotonic())
        self.late = max(self.late, time.monotonic() - head.end)
        told = self.sink.notify_playback_finished(
            head.position(math.inf), head.stopped_at is not None
        )
        if inspect.isawaitable(told):
            await told

    @property
    def runs(self) -> list[Run]:
        """What sounded without a break, in order."""
        return [run for head in self.heads for run in head.runs]


class RemoteAvatarOutput:
    """livekit's sink for an avatar elsewhere: bytes over the room, and an answer when played."""

    IDENTITY = "avatar"
    LATENCY = 0.3

    def __init__(self) -> None:
        self.heads: list[PlayHead] = []
        self.late = 0.0
        self._room = memory_room(self.IDENTITY, self._open_stream, self._rpc)
        self.sink = avatar.DataStreamAudioOutput(
            self._room, destination_identity=self.IDENTITY, sample_rate=RATE
        )
        self._cleared = asyncio.Event()

    async def start(self) -> None:
        """Nothing to wait for."""

    async def _open_stream(self, **_: Any) -> Any:
        head = PlayHead(RATE)
        self.heads.append(head)
        self._cleared.clear()

        async def write(data: bytes) -> None:
            head.push(np.frombuffer(data, np.int16), max(time.monotonic() + self.LATENCY, head.end))

        async def aclose() -> None:
            self._finishing = asyncio.ensure_future(self._finish(head))

        return SimpleNamespace(write=write, aclose=aclose)

    async def _rpc(self, **_: Any) -> str:
        self._cleared.set()
        return "ok"

    async def _finish(self, head: PlayHead) -> None:
        left = max(head.end - time.monotonic(), 0.0)
        try:
            await asyncio.wait_for(self._cleared.wait(), left)
        except (TimeoutError, asyncio.TimeoutError):
            pass
        else:
            head.stop(time.monotonic())
        self.late = max(self.late, time.monotonic() - head.end)
        payload = {
            "playback_position": head.position(math.inf),
            "interrupted": head.stopped_at is not None,
        }
        told = self._room.local_participant._rpc_handlers["lk.playback_finished"](
            SimpleNamespace(caller_identity=self.IDENTITY, payload=json.dumps(payload))
        )
        if inspect.isawaitable(told):
            await told

    @property
    def runs(self) -> list[Run]:
        """What sounded without a break, in order."""
        return [run for head in self.heads for run in head.runs]


def sounded(ear: Any) -> float:
    """Seconds that an output has played by now."""
    now = time.monotonic()
    return float(sum(run.sounded(now) / run.rate for run in ear.runs))


def memory_room(identity: str = "", open_stream: Any = None, rpc: Any = None) -> Any:
    """As much of a room as the sinks want."""

    async def publish_track(*_: Any) -> Any:
        async def wait_for_subscription() -> None: ...

        return SimpleNamespace(wait_for_subscription=wait_for_subscription, sid="TR_memory")

    handlers: dict[str, Any] = {}
    participant = SimpleNamespace(
        identity=identity,
        kind=rtc.ParticipantKind.PARTICIPANT_KIND_AGENT,
        state=getattr(getattr(rtc, "ParticipantState", None), "PARTICIPANT_STATE_ACTIVE", None),
    )
    return SimpleNamespace(
        on=lambda *_: None,
        off=lambda *_: None,
        isconnected=lambda: True,
        remote_participants={identity: participant},
        local_participant=SimpleNamespace(
            publish_track=publish_track,
            stream_bytes=open_stream,
            perform_rpc=rpc,
            register_rpc_method=handlers.__setitem__,
            _rpc_handlers=handlers,
        ),
    )


def accepted(cls: type, **arguments: Any) -> dict[str, Any]:
    """Those of `arguments` that the constructor of `cls` takes in this version."""
    known = inspect.signature(cls).parameters
    return {name: value for name, value in arguments.items() if name in known}
