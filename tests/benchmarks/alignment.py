"""How far the recording is from what was said and played, beside LiveKit's own recorder.

    uv run python tests/benchmarks/alignment.py                  # every version in .ci/matrix.txt
    uv run python tests/benchmarks/alignment.py --only 1.8.9,1.3.12
    uv run python tests/benchmarks/alignment.py --python PATH    # an interpreter that has one

Real AgentSessions, in memory, with RoomIO's own sink, whose queue plays into a play head that knows
to the sample what sounded when. Each call is recorded twice: by this library and, where there is
one, by `livekit.agents.voice.recorder_io.RecorderIO`, whose samples are taken before compression.
Prints a table of the worst errors in milliseconds, relative to the user's words, so that a
recording as a whole may begin when it likes.

A busy machine lets a sink run dry in mid-speech. A call in which that happened, by what the play
head knows, has other sounds in it than the ones to measure: it is made again, and counted under
the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".cache" / "ci"
PATHS = [ROOT, ROOT / "src", ROOT / "examples"]
PULSES = 29
IN_PLACE = 0.01  # seconds
TRIES = 8
COLUMNS = {
    "user": "user",
    "agent": "agent",
    "cut": "cut",
    "pause": "pause",
    "burst": "burst",
    "turns": "turns",
}


# The parent: an environment a version


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", help="versions, with commas between them")
    parser.add_argument("--python", action="append", default=[], help="an interpreter to measure")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(asyncio.run(measure())))
        return
    versions = options.only.split(",") if options.only else known_versions()
    pythons = options.python or [environment(version) for version in versions]
    print(f"drift over a simulated call of two hours: {drift():.1f} ms\n")
    print("| livekit-agents | recorder | user | agent | cut | pause | early burst | turns |")
    print("|---|---|---|---|---|---|---|---|")
    again = 0
    for python in pythons:
        found = measured_by(python)
        again += found["again"]
        for line in lines_of(found):
            print(line, flush=True)
    print(f"\ncalls made again because the machine was too busy: {again}")


def known_versions() -> list[str]:
    lines = (ROOT / ".ci" / "matrix.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def environment(version: str) -> str:
    """An interpreter with that livekit-agents, made where there is none yet."""
    python = ENVIRONMENTS / f"livekit-{version}" / "bin" / "python"
    if not python.exists():
        wanted = "livekit-agents" + ("" if version == "newest" else f"=={version}")
        folder = str(python.parents[1])
        subprocess.run(["uv", "venv", "--quiet", folder], check=True)
        subprocess.run(
            ["uv", "pip", "install", "--quiet", "--python", folder]
            + ["--group", "dev", "--editable", ".", wanted],
            check=True,
            cwd=ROOT,
        )
    return str(python)


def measured_by(python: str) -> dict[str, Any]:
    done = subprocess.run(
        [python, __file__, "--measure"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr[-4000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def lines_of(found: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("this library", "LiveKit's"):
        if (errors := found.get(name)) is not None:
            cells = [_cell(column, errors.get(column)) for column in COLUMNS]
            lines.append(f"| {found['version']} | {name} | {' | '.join(cells)} |")
    return lines


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "–"
    if column == "burst":
        return f"{value:.0f} of {PULSES}"
    return "not found" if value == float("inf") else f"{abs(value) * 1000:.1f}"


def drift() -> float:
    """The worst error in ms when the caller's clock is off by ±300 ppm for two hours."""
    sys.path[:0] = map(str, PATHS)
    from long_call import worst_drift

    return max(worst_drift(300e-6), worst_drift(-300e-6)) * 1000


# The child: calls on the installed version


async def measure() -> dict[str, Any]:
    from livekit import agents

    ours: dict[str, float | None] = {}
    theirs: dict[str, float | None] = {}
    again = 0
    with tempfile.TemporaryDirectory() as folder:
        for call in (conversation, pause, early_burst):
            for attempt in range(TRIES):
                try:
                    errors = await call(Path(folder) / f"{call.__name__}-{attempt}")
                    break
                except StalledError:
                    again += 1
            else:
                sys.exit(f"{call.__name__}: this machine is too busy to measure anything")
            ours |= errors[0]
            theirs |= errors[1]
    found = {"version": agents.__version__, "this library": ours, "again": again}
    return found | ({"LiveKit's": theirs} if theirs else {})


class StalledError(Exception):
    """The sink ran dry where nobody meant it to."""


def require(runs: Sequence[Any], count: int) -> None:
    """The sink has played this many runs and no more."""
    if len(runs) != count:
        raise StalledError


class Recorder:
    """LiveKit's, with its samples instead of its file; None before 1.2.8."""

    def __init__(self, session: Any) -> None:
        from livekit.agents.voice.recorder_io import RecorderIO, recorder_io

        self._blocks: list[Any] = []
        self._module = recorder_io
        self._av = recorder_io.av
        recorder_io.av = self._fake_av()
        self.io = RecorderIO(agent_session=session)

    async def start(self, folder: Path) -> None:
        await self.io.start(output_path=folder / "recorder.ogg")

    async def stop(self) -> tuple[int, Any]:
        import numpy as np

        await self.io.aclose()
        self._module.av = self._av
        joined = np.concatenate(self._blocks, axis=1) if self._blocks else np.zeros((2, 1))
        return 48_000, (joined * 32767).clip(-32768, 32767).astype(np.int16).T

    def _fake_av(self) -> Any:
        blocks = self._blocks

        class Stream:
            codec_context = SimpleNamespace(options={})

            def encode(self, frame: Any) -> list[Any]:
                if frame is not None:
                    blocks.append(frame.to_ndarray().copy())
                return []

        class Container:
            def __enter__(self) -> Container:
                return self

            def __exit__(self, *_: object) -> None: ...

            def close(self) -> None: ...

            def add_stream(self, *_: Any, **__: Any) -> Stream:
                return Stream()

        real = self._av
        return SimpleNamespace(
            open=lambda *_, **__: Container(),
            AudioFrame=real.AudioFrame,
            AudioStream=real.AudioStream,
            Codec=real.Codec,
            codec=real.codec,
        )


class Line:
    """RoomIO's sink, with LiveKit's recorder before it where there is one."""

    def __init__(self, session: Any, mouth: Any, folder: Path) -> None:
        from tests.support.phone_lines import RoomOutput

        self._room = RoomOutput()
        self._folder = folder
        self.sink: Any = self._room.sink
        self.mouth: Any = mouth
        self.recorder: Recorder | None = None
        try:
            self.recorder = Recorder(session)
        except ImportError:
            return
        self.mouth = self.recorder.io.record_input(mouth)
        self.sink = self.recorder.io.record_output(self.sink)

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._room.start()
        if self.recorder is not None:
            await self.recorder.start(self._folder)

    @property
    def runs(self) -> list[Any]:
        return self._room.runs


Errors = dict[str, float | None]
Talk = Callable[[Any, Any, Any], Any]


async def held(
    folder: Path, agent: Any, answers: dict[str, Any], talk: Talk, open_early: bool = False
) -> tuple[Any, Any, Any, tuple[int, Any] | None]:
    """Makes a call and returns (call, line, our recording, LiveKit's recording)."""
    from tests.support.fake_agent import ScriptedSTT, until
    from tests.support.observed_calls import a_call, create_session
    from tests.support.phone_lines import LineInput

    script, mouth = ScriptedSTT(), LineInput()
    session = create_session(answers, script)
    if open_early:
        await talk(None, mouth, None)
    line = Line(session, mouth, folder / "livekit")
    async with a_call(folder / "roark", agent, mouth=line.mouth, ear=line, session=session) as call:
        call.script, call.mouth = script, mouth
        await talk(call, mouth, line)
        await until(lambda: call.session.agent_state == "listening")
        theirs = None if line.recorder is None else await line.recorder.stop()
    return call, line, call.recording(), theirs


async def conversation(folder: Path) -> tuple[Errors, Errors]:
    """A greeting, a halting answer and an interrupted one: channels, cut and turns."""
    from tests.livekit.test_playback import ANSWERS, GREETING, ORDER, REFUND, STOP, HaltingAgent
    from tests.support.fake_agent import until
    from tests.support.phone_lines import sounded

    async def talk(call: Any, mouth: Any, line: Any) -> None:
        await call.listening(1)
        await call.say(ORDER)
        await call.listening(2)
        await call.say(REFUND)
        before = sounded(line)
        await until(lambda: sounded(line) > before + 0.8)
        await call.say(STOP)
        await call.listening(4)

    call, line, ours, theirs = await held(folder, HaltingAgent(GREETING), ANSWERS, talk)
    words, runs = call.mouth.words, line.runs
    require(runs, 6)

    def errors(recording: tuple[int, Any]) -> Errors:
        rate, sound = recording
        zero = zero_of(sound[:, 0], rate, words)
        return {
            "user": worst(shift_of(sound[:, 0], rate, word, zero) for word in words),
            "agent": worst(shift_of(sound[:, 1], rate, run, zero) for run in runs),
            "cut": end_error(sound[:, 1], rate, runs[-2], zero),
        }

    zero = zero_of(ours[1][:, 0], ours[0], words)
    spoken = {"u": [w.start for w in words], "a": [runs[0].start, runs[1].start]}
    spoken["a"] += [runs[-2].start, runs[-1].start]
    rows = call.ended["transcript"]
    turns = [row["audioOffsetMs"] / 1000 - (spoken[row["role"][0]].pop(0) - zero) for row in rows]
    return errors(ours) | {"turns": worst(turns)}, errors(theirs) if theirs else {}


async def pause(folder: Path) -> tuple[Errors, Errors]:
    """A speech that is paused and resumed, as a false interruption does it."""
    from tests.livekit.test_playback import LONG, ORDER
    from tests.support import livekit_features as has
    from tests.support.fake_agent import NoisyAgent, until
    from tests.support.phone_lines import sounded

    if not has.PAUSE:
        return {"pause": None}, {}

    async def talk(call: Any, mouth: Any, line: Any) -> None:
        await until(lambda: sounded(line) > 0.73)
        call.session.output.audio.pause()
        await asyncio.sleep(0.6)
        call.session.output.audio.resume()
        await call.listening(1)
        await call.say(ORDER)

    call, line, ours, theirs = await held(folder, NoisyAgent(LONG), {}, talk)
    runs = [run for run in line.runs if run.start < call.mouth.words[0].start]
    require(runs, 2)

    def errors(recording: tuple[int, Any]) -> Errors:
        rate, sound = recording
        zero = zero_of(sound[:, 0], rate, call.mouth.words)
        stopped = end_error(sound[:, 1], rate, runs[0], zero)
        return {"pause": worst([stopped, shift_of(sound[:, 1], rate, runs[1], zero)])}

    return errors(ours), errors(theirs) if theirs else {}


async def early_burst(folder: Path) -> tuple[Errors, Errors]:
    """The caller makes short sounds from 1.5 s before the session reads them."""
    from tests.livekit.test_hearing import ANSWERS, QUESTION, pulse
    from tests.support.fake_agent import NoisyAgent

    async def talk(call: Any, mouth: Any, line: Any) -> None:
        if call is None:
            mouth.open()
            for number in range(PULSES):
                mouth.say(pulse(number), after=0.1 + 0.1 * number)
            await asyncio.sleep(1.5)
            return
        await mouth.spoken(mouth.words[-1])
        await call.say(QUESTION)
        await call.listening(1)

    call, _, ours, theirs = await held(folder, NoisyAgent(), ANSWERS, talk, open_early=True)
    pulses, question = call.mouth.words[:-1], call.mouth.words[-1]

    def errors(recording: tuple[int, Any]) -> Errors:
        rate, sound = recording
        zero = zero_of(sound[:, 0], rate, [question])
        shifts = [shift_of(sound[:, 0], rate, word, zero, least=0.5) for word in pulses]
        return {"burst": float(sum(abs(shift) < IN_PLACE for shift in shifts))}

    return errors(ours), errors(theirs) if theirs else {}


# Measuring


def zero_of(sound: Any, rate: int, words: Sequence[Any]) -> float:
    """The moment of the recording's first sample, by where the user's words are in it."""
    from tests.support.correlation import find, resampled

    zeros = []
    for word in words:
        place, score = find(resampled(word.samples[:6000], word.rate, rate), rate, sound, rate)
        if score > 0.5:
            zeros.append(word.start - place)
    return statistics.median(zeros)


def shift_of(sound: Any, rate: int, run: Any, zero: float, least: float = 0.4) -> float:
    """Seconds by which the first 40 ms of a run stand later than they sounded."""
    from tests.support.correlation import find, resampled

    wanted = resampled(run.samples[: round(0.04 * run.rate)], run.rate, rate)
    place, score = find(wanted, rate, sound, rate, run.start - zero)
    return place - (run.start - zero) if score > least else float("inf")


def end_error(sound: Any, rate: int, run: Any, zero: float) -> float:
    """Seconds by which the sound that begins with this run ends too late."""
    from tests.support.recording_checks import stretches

    begin = run.start - zero
    end = min(stretches(sound, rate), key=lambda span: abs(span[0] - begin))[1]
    return end - (begin + len(run.samples) / run.rate)


def worst(values: Any) -> float:
    return max(abs(value) for value in values)


if __name__ == "__main__":
    main()
