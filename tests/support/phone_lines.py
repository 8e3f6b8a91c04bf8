"""Telephone lines in memory that know, to the sample, what was heard and what was really played.

`LineInput` is a caller's side with any frames; the outputs are livekit's own sinks (RoomIO's, the
avatars') of the installed version, whose far end is the examples' play head instead of a device.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import math
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock, patch

import numpy as np
from livekit import rtc
from livekit.agents.voice import avatar
from livekit.agents.voice.room_io import _output as room_output

from offline.audio_io import MemoryAudioInput, Words
from offline.play_head import PlayHead, Run
from offline.sound import Samples, from_frame, resample, silence, to_frame

RATE = 24_000
UNPUBLISHED = 0.5  # seconds of zeros that RoomIO pushes when a track goes away
AVATAR_LATENCY = 0.3  # seconds until an avatar's mouth opens


class LineInput(MemoryAudioInput):
    """The caller's side of the line: frames of any shape, a track that goes and comes back."""

    def __init__(
        self,
        rate: int = RATE,
        channels: int = 1,
        frame_seconds: float = 0.05,
        label: str = "Line",
    ) -> None:
        super().__init__(frame_seconds, rate=rate, label=label)
        self._channels = channels
        self._published = asyncio.Event()
        self._published.set()
        self._farewell = False

    def open(self) -> float:
        """Begins half a frame beside a sink that begins at the same moment.

        Where a pause falls within 2 ms of one of RoomIO's frames, nobody can tell whether that
        one sounded.
        """
        if self._opened is None:
            self._opened = super().open() + self._frame_length / self.rate / 2
        return self._opened

    def say(self, samples: Samples, after: float = 0.0) -> Words:
        """Says samples at `RATE`, whatever the line's own rate."""
        return super().say(resample(samples, RATE, self.rate), after)

    def unpublish(self) -> None:
        """The track goes away: one zero frame, then nothing."""
        self._published.clear()
        self._farewell = True

    def publish(self) -> None:
        """The track is back, with what is said from now on."""
        passed = (self._clock() - self.open()) * self.rate / self._frame_length
        self._next = max(self._next, math.ceil(passed) * self._frame_length)
        self._published.set()

    async def __anext__(self) -> rtc.AudioFrame:
        while True:
            if self._farewell:
                self._farewell = False
                return to_frame(silence(UNPUBLISHED, self.rate), self.rate)
            await self._published.wait()
            await self._frame_is_due()
            if self._published.is_set():
                sound = from_frame(await super().__anext__())
                data = np.repeat(sound, self._channels).tobytes()
                return rtc.AudioFrame(data, self.rate, self._channels, len(sound))


class MemoryAudioSource:
    """In the place of `rtc.AudioSource`: a queue that plays in real time.

    `heads` is what sounded when, with a new head each time that the queue was cleared.
    """

    def __init__(self, rate: int, channels: int, queue_size_ms: int = 1000, *_: Any) -> None:
        self.heads = [PlayHead(rate)]
        self._room = queue_size_ms / 1000

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

    async def wait_for_playout(self) -> None:
        head = self.heads[-1]
        while head is self.heads[-1] and (left := self.queued_duration) > 0:
            await asyncio.sleep(min(left, 0.01))

    async def aclose(self) -> None: ...


class _Output:
    """A sink, and the play heads at its far end."""

    sink: Any  # what the session gets
    heads: list[PlayHead]  # what was played

    @property
    def runs(self) -> list[Run]:
        """What sounded without a break, in order."""
        return [run for head in self.heads for run in head.runs]

    async def start(self) -> None:
        """Begins to play what comes."""


class RoomOutput(_Output):
    """The sink that RoomIO has in the installed version, playing into memory."""

    def __init__(self, rate: int = RATE) -> None:
        with self._in_memory():
            self.sink = room_output._ParticipantAudioOutput(
                memory_room(),
                sample_rate=rate,
                num_channels=1,
                track_publish_options=rtc.TrackPublishOptions(),
            )
        self.heads = self.sink._audio_source.heads

    async def start(self) -> None:
        """As the room does once it is connected."""
        with self._in_memory():
            await self.sink.start()

    def _in_memory(self) -> Any:
        return patch.multiple(rtc, AudioSource=MemoryAudioSource, LocalAudioTrack=Mock())


class _Avatar(_Output):
    """An avatar that plays late."""

    def __init__(self) -> None:
        self.heads = []
        self.late = 0.0  # seconds, of its latest report: a busy machine's doing
        self._cleared = asyncio.Event()

    def _begin(self, rate: int) -> PlayHead:
        self._cleared.clear()
        self.heads.append(PlayHead(rate))
        return self.heads[-1]

    def _play(self, head: PlayHead, samples: Samples) -> None:
        head.push(samples, max(time.monotonic() + AVATAR_LATENCY, head.end))

    async def _finish(self, head: PlayHead) -> None:
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._cleared.wait(), max(head.end - time.monotonic(), 0.0))
            head.stop(time.monotonic())
        self.late = max(self.late, time.monotonic() - head.end)
        told = self._report(head.position(math.inf), head.stopped_at is not None)
        if inspect.isawaitable(told):
            await told

    def _report(self, position: float, interrupted: bool) -> Any:
        return self.sink.notify_playback_finished(position, interrupted)


class AvatarOutput(_Avatar):
    """livekit's sink for an avatar in the same process."""

    def __init__(self) -> None:
        super().__init__()
        self.sink = avatar.QueueAudioOutput(sample_rate=RATE)
        self.sink.on("clear_buffer", self._cleared.set)

    async def start(self) -> None:
        self._playing = asyncio.ensure_future(self._receive())

    async def _receive(self) -> None:
        head: PlayHead | None = None
        async for item in self.sink:
            if isinstance(item, rtc.AudioFrame):
                head = head or self._begin(item.sample_rate)
                self._play(head, from_frame(item))
            elif head is not None:
                await self._finish(head)
                head = None


class RemoteAvatarOutput(_Avatar):
    """livekit's sink for an avatar elsewhere: bytes over the room, and an answer when played."""

    IDENTITY = "avatar"

    def __init__(self) -> None:
        super().__init__()
        self._room = memory_room(self.IDENTITY, stream_bytes=self._stream, perform_rpc=self._clear)
        self.sink = avatar.DataStreamAudioOutput(
            self._room, destination_identity=self.IDENTITY, sample_rate=RATE
        )

    async def _stream(self, **_: Any) -> Any:
        head = self._begin(RATE)

        async def write(data: bytes) -> None:
            self._play(head, np.frombuffer(data, np.int16))

        async def aclose() -> None:
            self._finishing = asyncio.ensure_future(self._finish(head))

        return SimpleNamespace(write=write, aclose=aclose)

    async def _clear(self, **_: Any) -> str:
        self._cleared.set()
        return "ok"

    def _report(self, position: float, interrupted: bool) -> Any:
        payload = json.dumps({"playback_position": position, "interrupted": interrupted})
        return self._room.local_participant._rpc_handlers["lk.playback_finished"](
            SimpleNamespace(caller_identity=self.IDENTITY, payload=payload)
        )


def sounded(ear: Any) -> float:
    """Seconds that an output has played by now."""
    now = time.monotonic()
    return float(sum(run.sounded(now) / run.rate for run in ear.runs))


def memory_room(identity: str = "", **methods: Any) -> Any:
    """As much of a room as the sinks want."""
    handlers: dict[str, Any] = {}
    local = Mock(_rpc_handlers=handlers, register_rpc_method=handlers.__setitem__, **methods)
    local.publish_track = AsyncMock(return_value=AsyncMock(sid="TR_memory"))
    agent = Mock(
        identity=identity,
        kind=rtc.ParticipantKind.PARTICIPANT_KIND_AGENT,
        state=getattr(getattr(rtc, "ParticipantState", None), "PARTICIPANT_STATE_ACTIVE", None),
    )
    return Mock(remote_participants={identity: agent}, local_participant=local)
