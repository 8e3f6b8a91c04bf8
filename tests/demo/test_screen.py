"""What the demo shows of a call, and how it ends."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("livekit.agents")

from rich.console import Console

import demo
from offline import screen
from offline.call import CallError, CallTruth, Progress, ToolCall, Utterance

RATE = 24_000


@dataclass
class Stats:
    """Counts as `observe_session`'s handle gives them."""

    events_sent: int = 2
    chunks_sent: int = 14
    bytes_sent: int = 3_500_000
    attempts: int = 18
    retries: int = 2
    dropped: Mapping[str, int] = field(default_factory=dict)
    undelivered: tuple[str, ...] = ()
    done: bool = True


@dataclass
class Handle:
    """A handle with made-up counts."""

    stats: Stats
    livekit_call_id: str = "RM_made_up"


def _truth() -> CallTruth:
    samples = np.zeros(RATE, dtype=np.int16)
    explanation = Utterance(
        "agent", "support_agent", "I am sorry, but", RATE, samples, samples, 101.5, True
    )
    tool = ToolCall("issue_refund", "{}", "refunds are closed", True, 101.0)
    return CallTruth(utterances=[explanation], tools=[tool], started=100.0)


def _shown(*shown: Any) -> str:
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as captured:
        console.print(*shown)
    return captured.get()


def test_a_delivered_call_is_shown_as_it_arrived() -> None:
    """Turns with the recording's times, the tool's error, and that nothing is missing."""
    said = {"role": "user", "content": "hello", "audioOffsetMs": 61_250, "endAudioOffsetMs": 62_000}
    cut = {"role": "assistant", "content": "I am", "agentId": "support_agent", "interrupted": True}
    record = {
        "ended": {"transcript": [said, cut]},
        "recording": {"durationMs": 36_626, "sampleRate": 24_000, "channels": 2},
    }
    delivered = screen.Delivered(Handle(Stats()), record, Path("calls/RM_made_up"))
    text = _shown(screen.report(_truth(), delivered))
    for expected in (
        "01:01.250  01:02.000  Caller   hello",
        "interrupted",
        "error: refunds are closed",
        "18, of them 2 retries",
        "nothing: all arrived",
        "00:36.626, 24000 Hz, 2 channels",
        "calls/RM_made_up",
    ):
        assert expected in text


def test_an_undelivered_call_is_shown_as_it_was_made() -> None:
    """And it says what did not arrive."""
    stats = Stats(0, 0, 0, 9, 8, {"time": 14}, ("call-started", "call-ended"))
    text = _shown(screen.report(_truth(), screen.Delivered(Handle(stats))))
    assert "00:01.500  00:02.500  Support  I am sorry, but" in text
    assert "it did not arrive" in text
    assert "call-started, call-ended, 14 pieces of the recording" in text


def test_without_an_observation_it_says_so() -> None:
    """The library hands out a falsy handle then."""
    assert "observation is off" in _shown(screen.report(_truth(), screen.Delivered(None)))


def test_lines_appear_as_they_come() -> None:
    """The transcript's, a tool's and a hand-over's; states only move the status."""
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as captured, screen.Screen(console) as live:
        for kind, who, text in (
            ("state", "support_agent", "speaking"),
            ("heard", "caller", "where is my order"),
            ("tool", "lookup_order", "on its way"),
            ("handoff", "billing_agent", "support_agent"),
            ("said", "billing_agent", "Hello."),
        ):
            live.show(Progress(kind, who, text, 0.0))  # type: ignore[arg-type]  # all are kinds
    lines = [line.split(maxsplit=1)[1] for line in captured.get().splitlines()]
    assert [line.rstrip() for line in lines] == [
        "Caller   where is my order",
        "lookup_order() → on its way",
        "Billing takes the call",
        "Billing  Hello.",
    ]


def test_a_call_is_found_by_its_id(tmp_path: Path) -> None:
    """Whatever its folder is called."""
    for folder, call_id in (("one", "RM_other"), ("two", "RM_made_up")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "call.json").write_text(json.dumps({"livekitCallId": call_id}))
    found = screen.find_call(tmp_path, "RM_made_up")
    assert found is not None and found[1].name == "two"
    assert screen.find_call(tmp_path, "RM_nobody") is None


@pytest.mark.parametrize(
    ("raised", "status"), [(None, 0), (CallError("the call did not end within 90 s"), 1)]
)
def test_the_status_is_the_conversations(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: CallError | None,
    status: int,
) -> None:
    """0 although nothing was delivered; 1 if the call itself failed."""

    async def run_call(*_: object, **__: object) -> CallTruth:
        if raised is not None:
            raise raised
        return _truth()

    monkeypatch.setattr(demo, "run_call", run_call)
    monkeypatch.setattr(demo, "_configure_logging", lambda _console: None)
    assert demo.main(["--base-url", "http://127.0.0.1:9"]) == status
    shown = capsys.readouterr().out
    assert ("did not end within 90 s" in shown) == (raised is not None)


@pytest.mark.parametrize(
    "arguments",
    [["--fault", "events:nonsense"], ["--base-url", "http://127.0.0.1:9", "--keep"]],
)
def test_nonsense_is_refused_at_once(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any call is made."""
    with pytest.raises(SystemExit):
        demo.main(arguments)
    assert "error" in capsys.readouterr().err
