"""Sessions on a loop whose clock jumps from one timer to the next; prints what became of each.

Not a test module: `time.time` has to be replaced before livekit-agents takes hold of it, and it is
the process whose end is a part of the test.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import selectors
import sys
import time
from pathlib import Path
from typing import Any

ITEM = (
    *("type", "id", "role", "interrupted", "text_content"),
    *("call_id", "name", "arguments", "output", "is_error", "old_agent_id", "new_agent_id"),
)


class Selector(selectors.DefaultSelector):
    """Waits for nothing: where nobody needs real time, the clock is set to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0
        self.in_real_time = 0  # how many wait for another thread

    def select(self, timeout: float | None = None) -> Any:
        if not timeout or self.in_real_time:
            return super().select(timeout)
        if not (ready := super().select(0)):
            self.ahead += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on which time is what its timers need."""

    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return time.monotonic() + self.selector.ahead


class Policy(asyncio.DefaultEventLoopPolicy):
    """Whoever asks for a loop gets such a one."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[VirtualLoop] = []

    def new_event_loop(self) -> VirtualLoop:
        self.made.append(VirtualLoop())
        return self.made[-1]


async def play(folder: Path, name: str, *, with_audio: bool) -> dict[str, Any]:
    """One session from its start to its end: what livekit keeps of it, and what is told."""
    from offline.audio_io import MemoryAudioInput, MemoryAudioOutput
    from tests.livekit.virtual_scenes import SAME_IDS, SCENES, settled
    from tests.support.observed_calls import FakeJob, a_call, create_session

    loop: Any = asyncio.get_running_loop()

    class PatientJob(FakeJob):
        """The delivery is on another thread, and takes real time."""

        async def shut_down(self, reason: str = "") -> None:
            loop.selector.in_real_time += 1
            await super().shut_down(reason)
            loop.selector.in_real_time -= 1

    kind, answers, act = SCENES[name]
    session = create_session(answers)
    if name == SAME_IDS:
        session.llm.calls = itertools.cycle([1, 2])  # type: ignore[union-attr]
    line = MemoryAudioInput(clock=loop.time), MemoryAudioOutput(clock=loop.time)
    options = {"session": session, "with_audio": with_audio, "job": PatientJob(folder.name)}
    async with a_call(folder, kind(), mouth=line[0], ear=line[1], **options) as call:
        await settled(session)
        await act(session)
    history = [
        {key: getattr(item, key) for key in ITEM if hasattr(item, key)}
        for item in session.history.items
    ]
    return {"history": history, "told": call.ended}


async def play_all(folder: Path) -> dict[str, Any]:
    """All at once, each written and spoken."""
    from tests.livekit.virtual_scenes import SCENES

    kinds = {(name, kind) for name in SCENES for kind in ("written", "spoken")}
    playing = {
        f"{name}, {kind}": play(folder / f"RM_{number}", name, with_audio=kind == "spoken")
        for number, (name, kind) in enumerate(sorted(kinds))
    }
    return dict(zip(playing, await asyncio.gather(*playing.values()), strict=True))


if __name__ == "__main__":
    policy, real_time = Policy(), time.time
    asyncio.set_event_loop_policy(policy)
    time.time = lambda: real_time() + sum(loop.selector.ahead for loop in policy.made[:1])
    print(json.dumps(asyncio.run(play_all(Path(sys.argv[1])))))
