"""Somebody who calls the support desk, and knows what to say when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from livekit.agents import AgentSession, AgentStateChangedEvent

from offline import speech
from offline.audio_io import SAMPLE_RATE, MemoryAudioInput, MemoryAudioOutput, Words
from offline.sound import Samples, resample

CALLER_VOICE = "en-us+f2"
"""A voice that `recognition` understands very well."""

REACTION_SECONDS = 0.5
"""How long the caller takes to answer."""

PATIENCE_SECONDS = 1.2
"""How much of the explanation the caller listens to before cutting in."""

ORDER = "hello, where is my order four two seven"
REFUND = "then i would like a refund please"
BILLING = "stop, please put me through to billing"
GOODBYE = "thank you very much, goodbye"
LINES = (ORDER, REFUND, BILLING, GOODBYE)


def speak(line: str, voice: str = CALLER_VOICE) -> Samples:
    """Return the sound of a line at the rate of the telephone line; blocking, some 20 ms."""
    return resample(speech.synthesize(line, voice), speech.SAMPLE_RATE, SAMPLE_RATE)


@dataclass(frozen=True)
class Said:
    """A line of the caller, and its sound on the line."""

    text: str
    words: Words


class Caller:
    """The caller of the script; waits for what the agent does, never for time to pass.

    Args:
        session: The session to talk to.
        ear: What the agent's voice is played to.
        mouth: What the caller's voice goes into.
        on_line: Told each line as it is put on the line.
    """

    def __init__(
        self,
        session: AgentSession[None],
        ear: MemoryAudioOutput,
        mouth: MemoryAudioInput,
        on_line: Callable[[Said], None] = lambda _: None,
    ) -> None:
        self.said: list[Said] = []
        self._session = session
        self._ear = ear
        self._mouth = mouth
        self._on_line = on_line
        self._lines: dict[str, Samples] = {}
        self._heard = 0  # speeches of the agent listened to so far
        self._agent_changed = asyncio.Event()
        session.on("agent_state_changed", self._on_agent_state)

    async def prepare(self) -> None:
        """Think of what to say: all that takes time."""
        self._lines = {line: await asyncio.to_thread(speak, line) for line in LINES}

    async def talk(self) -> None:
        """Say everything; the agent ends the call."""
        await self.listen()
        self.say(ORDER)
        await self.listen()
        self.say(REFUND)
        await self.cut_in(BILLING)
        await self.listen(3)  # the explanation cut short, the transfer, billing's greeting
        self.say(GOODBYE)

    async def listen(self, speeches: int = 1) -> None:
        """Hear the agent out: so many speeches more, until it is silent and listens."""
        self._heard += speeches
        while not self._heard_out():
            self._agent_changed.clear()
            await self._agent_changed.wait()

    def say(self, line: str, after: float = REACTION_SECONDS) -> None:
        """Say a line, `after` so many seconds."""
        said = Said(line, self._mouth.say(self._lines[line], after))
        self.said.append(said)
        self._on_line(said)

    async def cut_in(self, line: str) -> None:
        """Let the agent's next speech play for a moment, then talk into it."""
        await self._ear.until(lambda: len(self._ear.segments) > self._heard)
        if await self._ear.reaches(self._ear.segments[self._heard], PATIENCE_SECONDS):
            self.say(line, after=0.0)

    def _heard_out(self) -> bool:
        finished = sum(segment.finished for segment in self._ear.segments)
        return finished >= self._heard and self._session.agent_state == "listening"

    def _on_agent_state(self, _event: AgentStateChangedEvent) -> None:
        self._agent_changed.set()
