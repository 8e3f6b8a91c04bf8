"""A call in a process whose wall clock is set while it goes on; prints what became of it.

Not a test module: `time.time` has to be replaced before livekit-agents takes hold of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

DAY = 86_400.0


class Wall:
    """The wall clock, which can be set."""

    ahead = 0.0
    real = staticmethod(time.time)

    def __call__(self) -> float:
        return self.real() + self.ahead


async def converse(folder: Path, wall: Wall) -> dict[str, float]:
    """A greeting, a question and an answer, with the clock set in the middle of each."""
    from tests.support.fake_agent import NoisyAgent, spoken, until
    from tests.support.observed_calls import a_call
    from tests.support.phone_lines import LineInput, RoomOutput, sounded
    from tests.support.recording_checks import compare, origin

    greeting, question, answer = "welcome to the desk how can i help", "is it noon now", "not yet"
    agent, ear = NoisyAgent(greeting), RoomOutput()
    async with a_call(folder, agent, {question: answer}, mouth=LineInput(), ear=ear) as call:
        await until(lambda: sounded(ear) > 0.5)
        wall.ahead = DAY
        await call.listening(1)
        call.script.script.append(question)
        words = call.mouth.say(spoken(question))
        await until(lambda: time.monotonic() > words.start + 0.4)
        wall.ahead = -DAY
        await call.mouth.spoken(words)
        before = sounded(ear)
        await until(lambda: sounded(ear) > before + 0.2)
        wall.ahead = 0.0
        await call.listening(2)
    rate, sound = call.recording()
    zero = origin(call)
    played = compare(sound[:, 1], rate, ear.runs, zero)
    heard = compare(sound[:, 0], rate, call.mouth.words, zero)
    rows = [row["audioOffsetMs"] / 1000 for row in call.ended["transcript"]]
    true = [ear.runs[0].start, words.start, ear.runs[-1].start]
    return {
        "played": played.worst,
        "heard": heard.worst,
        "turns": max(abs(a - (b - zero)) for a, b in zip(rows, true, strict=True)),
        "seconds": len(sound) / rate,
    }


if __name__ == "__main__":
    clock = Wall()
    time.time = clock  # type: ignore[assignment]  # what this is for
    print(json.dumps(asyncio.run(converse(Path(sys.argv[1]), clock))))
