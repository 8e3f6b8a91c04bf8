"""Somebody who calls: a participant of a room, through WebRTC."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
from livekit import api, rtc

from offline.sound import NOTHING, Samples, resample, silence, to_frame
from tests.e2e.livekit_server import LiveKitServer

RATE = 48_000  # Hz, of the microphone
FRAME = RATE // 100  # samples: 10 ms
MICROPHONE_QUEUE_MS = 500
AGENT_STATE = "lk.agent.state"
"""The attribute in which an agent tells its room what it does."""


class Caller:
    """A participant on the line; made by `calling`."""

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._microphone = rtc.AudioSource(RATE, 1, MICROPHONE_QUEUE_MS)
        self._to_say: Samples = NOTHING
        self._agent_states: list[str] = []  # that no wait has seen yet
        self._agent_state: str | None = None
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        room.on("participant_connected", self._look_at)
        room.on("participant_attributes_changed", lambda _changed, who: self._look_at(who))

    async def pick_up(self) -> None:
        """Publish the microphone, which delivers silence until there is something to say."""
        for participant in self._room.remote_participants.values():
            self._look_at(participant)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._microphone)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self._room.local_participant.publish_track(track, options)
        self._tasks.append(asyncio.create_task(self._feed_microphone()))

    async def say(self, samples: Samples, rate: int) -> None:
        """Speak, until the last sample has been handed to the microphone."""
        self._to_say = resample(samples, rate, RATE)
        await self._until(lambda: not len(self._to_say))

    async def agent_goes_through(self, *states: str, seconds: float) -> None:
        """Wait until the agent has been in `states`, in this order, since the last such wait."""

        async def see() -> None:
            for state in states:
                await self._until(lambda state=state: state in self._agent_states)
                del self._agent_states[: self._agent_states.index(state) + 1]

        await asyncio.wait_for(see(), seconds)

    async def hang_up(self) -> float:
        """Leave the room; return the time of day at which the caller began to leave."""
        leaves_at = time.time()
        await self._room.disconnect()
        return leaves_at

    async def aclose(self) -> None:
        """Leave, if that has not happened yet, and put everything away."""
        await self._room.disconnect()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._microphone.aclose()

    def _look_at(self, participant: rtc.Participant) -> None:
        state = participant.attributes.get(AGENT_STATE)
        if state and state != self._agent_state:
            self._agent_state = state
            self._agent_states.append(state)
            self._changed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _feed_microphone(self) -> None:
        while True:
            frame, self._to_say = self._to_say[:FRAME], self._to_say[FRAME:]
            if not len(self._to_say):
                self._changed.set()
            padding = silence((FRAME - len(frame)) / RATE, RATE)
            # Waits while the queue is full: this is what keeps the loop to real time.
            await self._microphone.capture_frame(to_frame(np.append(frame, padding), RATE))


@contextlib.asynccontextmanager
async def calling(server: LiveKitServer, room_name: str, identity: str) -> AsyncIterator[Caller]:
    """Join a room, which brings an agent into it, with an open microphone."""
    grants = api.VideoGrants(room_join=True, room=room_name)
    token = api.AccessToken(server.api_key, server.api_secret).with_identity(identity)
    room = rtc.Room()
    caller = Caller(room)
    try:
        await room.connect(server.url, token.with_grants(grants).to_jwt())
        await caller.pick_up()
        yield caller
    finally:
        await caller.aclose()
