"""The recording as a picture: a lane a speaker, with turns and tool calls where they were."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._records import CallRecord, JsonObject
from .._times import clock
from .html import Markup, el
from .timeline import Item, ToolUse, Turn

_BARS = 320
_LANE, _GAP, _TOP, _AXIS = 84, 10, 22, 24
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Waveform:
    """The loudest sample of each slice of a recording.

    Attributes:
        duration_ms: The recording's length.
        lanes: One a channel: peaks from 0 to 1, all of one length.
    """

    duration_ms: int
    lanes: tuple[tuple[float, ...], ...]


def read_waveform(path: Path, bars: int = _BARS) -> Waveform | None:
    """Measures a recording, without holding more than a slice of it in memory.

    Returns:
        None where it is not a 16-bit PCM WAV with anything in it.
    """
    try:
        with wave.open(str(path)) as wav:
            frames, rate = wav.getnframes(), wav.getframerate()
            if wav.getsampwidth() != 2 or not frames or not rate:
                return None
            peaks = np.array(list(_peaks(wav, min(bars, frames)))) / 32768
    except (wave.Error, EOFError, OSError):
        return None
    lanes = tuple(tuple(map(float, lane)) for lane in peaks.T)
    return Waveform(frames * 1000 // rate, lanes)


def draw(waveform: Waveform, items: list[Item], record: CallRecord) -> Markup:
    """The picture, as wide as it is let be: all that is not a peak is placed in per cent."""
    gaps = (record["ended"] or {}).get("recording", {}).get("gaps", [])
    lanes = len(waveform.lanes)
    bottom = _TOP + lanes * _LANE + (lanes - 1) * _GAP
    return el(
        "svg",
        _ticks(waveform.duration_ms, bottom),
        (_gap(gap, waveform, bottom) for gap in gaps),
        (_turn(item, waveform) for item in items if isinstance(item, Turn)),
        (_lane(index, waveform) for index in range(lanes)),
        (_tool(item, waveform, bottom) for item in items if isinstance(item, ToolUse)),
        el("line", id="playhead", x1="0", x2="0", y1=_TOP - 8, y2=bottom + 4),
        id="waveform",
        class_="waveform",
        height=bottom + _AXIS,
        data_duration=waveform.duration_ms,
        role="img",
        aria_label="Waveform: the caller above, the agent below",
    )


def _peaks(wav: wave.Wave_read, bars: int) -> Iterator[npt.NDArray[np.int32]]:
    frames, channels = wav.getnframes(), wav.getnchannels()
    edges = [frames * bar // bars for bar in range(bars + 1)]
    for start, end in zip(edges, edges[1:], strict=False):
        samples = np.frombuffer(wav.readframes(end - start), "<i2").astype(np.int32)
        whole = samples[: samples.size // channels * channels].reshape(-1, channels)
        yield np.abs(whole).max(axis=0, initial=0)


def _lane(index: int, waveform: Waveform) -> Markup:
    loudest = max(0.05, *(max(lane) for lane in waveform.lanes))
    # The power makes quiet speech visible beside loud speech.
    heights = [(peak / loudest) ** 0.7 for peak in waveform.lanes[index]]
    bars = "".join(
        f"M{x + 0.5} {50 - max(1.0, 47 * height):.1f}V{50 + max(1.0, 47 * height):.1f}"
        for x, height in enumerate(heights)
    )
    return el(
        "svg",
        el("path", d=bars, class_=f"bars {_side(index)}"),
        y=_lane_top(index),
        width="100%",
        height=_LANE,
        viewBox=f"0 0 {len(heights)} 100",
        preserveAspectRatio="none",
    )


def _turn(turn: Turn, waveform: Waveform) -> Markup | None:
    index = 0 if turn.role == "user" else 1
    if index >= len(waveform.lanes) or turn.role == "system":
        return None
    start, end = (_percent(at, waveform) for at in (turn.start_ms, turn.end_ms))
    return el(
        "rect",
        el("title", turn.text),
        class_=f"turn-span {_side(index)}",
        x=f"{start:.3f}%",
        width=f"{max(0.0, end - start):.3f}%",
        y=_lane_top(index),
        height=_LANE,
        rx=5,
    )


def _gap(gap: JsonObject, waveform: Waveform, bottom: int) -> Markup:
    start, end = (_percent(gap[edge], waveform) for edge in ("startMs", "endMs"))
    return el(
        "rect",
        el("title", "a gap in the recording"),
        class_="gap",
        x=f"{start:.3f}%",
        width=f"{max(0.15, end - start):.3f}%",
        y=_TOP,
        height=bottom - _TOP,
    )


def _tool(tool: ToolUse, waveform: Waveform, bottom: int) -> Markup:
    start, end = (_percent(at, waveform) for at in (tool.start_ms, tool.end_ms))
    return el(
        "g",
        el("title", tool.name),
        el(
            "rect",
            x=f"{start:.3f}%",
            width=f"{max(0.15, end - start):.3f}%",
            y=_TOP - 4,
            height=bottom - _TOP + 4,
        ),
        el(
            "text",
            tool.name,
            x=f"{start:.3f}%",
            y=_TOP - 9,
            text_anchor="end" if start > 75 else "start",
        ),
        class_="tool-mark failed" if tool.is_error else "tool-mark",
    )


def _ticks(duration_ms: int, bottom: int) -> Iterator[Markup]:
    step = next((step for step in _STEPS_S if duration_ms / step / 1000 <= 7), _STEPS_S[-1])
    for at in range(0, duration_ms, step * 1000):
        x = f"{100 * at / duration_ms:.3f}%"
        anchor = "start" if at == 0 else "middle"
        if at / duration_ms < 0.97:
            yield el("line", class_="tick", x1=x, x2=x, y1=_TOP, y2=bottom)
            yield el("text", clock(at)[:-2], class_="tick", x=x, y=bottom + 18, text_anchor=anchor)


def _percent(at_ms: int, waveform: Waveform) -> float:
    return min(100.0, 100 * at_ms / max(1, waveform.duration_ms))


def _lane_top(index: int) -> int:
    return _TOP + index * (_LANE + _GAP)


def _side(index: int) -> str:
    return "caller" if index == 0 else "agent"
