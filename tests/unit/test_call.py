"""`CallPipeline`: what the agent's side hands over comes out as a call at Roark."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from local_roark import Faults
from roark_analytics_python_livekit import RoarkClient, _pipeline
from roark_analytics_python_livekit._call.privacy import FAILED
from roark_analytics_python_livekit._call.records import end_record
from roark_analytics_python_livekit._call.redactor import Redact
from roark_analytics_python_livekit._config import RecordingMode
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._livekit.events import tools_executed
from roark_analytics_python_livekit._pipeline import CallPipeline, CallSetup
from roark_analytics_python_livekit._queue import EventQueue
from roark_analytics_python_livekit._recording.frames import (
    AgentFrame,
    Finished,
    Flushed,
    Opened,
    SinkTraits,
    Started,
    UserFrame,
)
from roark_analytics_python_livekit._recording.mixer import Resampler
from roark_analytics_python_livekit._recovery import recover_all
from roark_analytics_python_livekit.audio import AudioCapture
from tests.support.deliveries import until
from tests.support.fake_roark import BASE_URL, KEY, Roark
from tests.support.simulated_call import facts_of

CALL = "RM_1"
RATE = 8000
FRAME = 0.05  # seconds


def no_resampler(rate: int, wanted: int) -> Resampler:
    """All audio in here has the recording's rate."""
    raise AssertionError


class Calling:
    """One call, shipped on the test's own loop.

    Args:
        client: Where it goes.
        recording: Whether and how it is recorded.
        metadata: What the agent's code said of it.
        redact: What takes private things out of it.
        call_id: Which one it is.
        clock: Says when it is, in monotonic seconds.
        begun: How many seconds ago the call began.
    """

    def __init__(
        self,
        client: RoarkClient,
        *,
        recording: RecordingMode = "chunks",
        spool_dir: Path | None = None,
        metadata: dict[str, Any] | None = None,
        agent_id: str = "support",
        budget: float = 30.0,
        redact: Redact | None = None,
        limits: Limits = DEFAULT_LIMITS,
        call_id: str = CALL,
        clock: Callable[[], float] = time.monotonic,
        begun: float = 10.0,
    ) -> None:
        self.start = clock() - begun
        self.guard = Guard()
        self.queue = EventQueue()
        self.queue.bind()
        facts = facts_of(
            call_id,
            agent_id=agent_id,
            job={"jobId": "AJ_1"},
            started_at=datetime(2025, 11, 24, 8, 19, 3, tzinfo=timezone.utc),
            started=self.start,
        )
        self.pipeline = CallPipeline(
            CallSetup(facts, metadata or {}, recording, spool_dir, budget, redact),
            client,
            no_resampler,
            guard=self.guard,
            limits=limits,
            clock=clock,
        )
        self.task = asyncio.ensure_future(self.pipeline.run(self.queue))

    def open(self) -> None:
        """Audio begins to pass."""
        sink = SinkTraits(reports_start=True)
        self.queue.put_urgent(Opened(self.start, hears_user=True, sink=sink, rate=RATE))

    def hear(self, begin: float, end: float, level: int = 1000) -> None:
        """The caller's audio between two moments of the call, in seconds."""
        for at, pcm in frames(begin, end, level):
            self.queue.put(UserFrame(self.start + at + FRAME, pcm, RATE))

    def speak(self, begin: float, end: float, level: int = 2000) -> None:
        """The agent's audio, played between two moments."""
        self.queue.put(Started(self.start + begin))
        for _, pcm in frames(begin, end, level):
            self.queue.put(AgentFrame(self.start + begin, pcm, RATE))
        self.queue.put(Flushed(self.start + begin))
        self.queue.put(Finished(self.start + end, end - begin, interrupted=False))

    def turn(self, role: str, text: str, at: float, **more: Any) -> None:
        """Something was said."""
        record = {"type": "turn", "role": role, "text": text, "at": self.start + at, **more}
        self.queue.put_urgent(record)

    def add_metadata(self, **values: Any) -> None:
        """The agent's code says more of the call."""
        self.queue.put_urgent({"type": "metadata", "values": values})

    async def end(self, reason: str = "participant_disconnected", at: float = 6.0) -> None:
        """The call is over; waits until it is delivered."""
        self.queue.put_urgent(end_record(self.start + at, reason))
        await asyncio.wait_for(self.task, 30)


def frames(begin: float, end: float, level: int) -> list[tuple[float, bytes]]:
    """Noise of one level in frames, each with its time."""
    samples = int(FRAME * RATE)
    noise = np.random.default_rng(7)
    return [
        (begin + number * FRAME, (noise.choice([-1, 1], samples) * level).astype("<i2").tobytes())
        for number in range(round((end - begin) / FRAME))
    ]


class Raising:
    """Everything about it raises."""

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


def cyclic() -> dict[str, Any]:
    """A value that holds itself."""
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


def deep() -> Any:
    """A list in a list in a list."""
    value: Any = "bottom"
    for _ in range(100_000):
        value = [value]
    return value


VALUES: dict[str, Callable[[], Any]] = {
    "nan": lambda: {"x": float("nan"), "y": [float("inf"), float("-inf")]},
    "surrogate": lambda: {"\ud800": "\udfff and \ud83d"},
    "bytes": lambda: {"x": b"\xff\0", "y": bytearray(3), "z": memoryview(b"abc")},
    "cyclic": cyclic,
    "deep": deep,
    "wide": lambda: {"x": list(range(200_000))},
    "long": lambda: {"x": "\u00e4" * 5_000_000},
    "huge number": lambda: {"x": 10**4000},
    "odd keys": lambda: {None: 1, 2.5: 2, (1, 2): 3, b"x": 4, float("nan"): 5},
    "objects": lambda: {"x": object(), "y": Raising(), "z": {1, 2}, "e": ValueError("x")},
    "nul": lambda: {"x": "\0\x1b[31m\u2028"},
}


def ended(roark: Roark) -> dict[str, Any]:
    """The call-ended event that arrived."""
    event: dict[str, Any] = roark.call(CALL)["ended"]
    return event


def channels(roark: Roark) -> Any:
    """The recording's samples, one column a side."""
    return np.frombuffer(roark.recording(CALL)[44:], "<i2").reshape(-1, 2)


def loud(channel: Any) -> tuple[float, float]:
    """Where a channel is not silent, in seconds."""
    spots = np.flatnonzero(channel)
    return round(float(spots[0]) / RATE, 2), round(float(spots[-1] + 1) / RATE, 2)


class TestACall:
    """From its first item to its last."""

    async def test_audio_that_found_no_room_is_a_gap(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """Whoever was to take it did not get to it: the recording is not called complete."""
        calling = Calling(client)
        calling.open()
        calling.queue._limit = 20
        calling.hear(0.0, 5.0)
        assert calling.queue.dropped > 0
        calling.queue._limit = 20_000
        await calling.end(at=8.0)
        told = roark.call(CALL)["ended"]
        assert told["delivery"]["dropped"] == {"queue_full": calling.queue.dropped}
        claim = told["recording"]
        assert (claim["status"], claim["reason"]) == ("partial", "the process was too busy")
        (gap,) = claim["gaps"]
        assert gap["endMs"] >= 4900 and "sha256" not in claim

    async def test_it_arrives_with_its_words_and_its_sound(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """Left is the caller, right the agent, each where it was heard."""
        calling = Calling(client, metadata={"plan": "gold"})
        calling.open()
        calling.hear(0.0, 1.0, level=1)
        calling.speak(1.0, 2.0)
        calling.hear(1.0, 3.0, level=0)
        calling.hear(3.0, 4.0)
        calling.hear(4.0, 6.0, level=1)
        calling.turn("assistant", "How can I help?", 2.0, id="item_1")
        calling.turn("user", "Hello", 4.2, start=calling.start + 3.2, end=calling.start + 3.8)
        await calling.end()

        call = roark.call(CALL)
        assert call["started"]["metadata"] == {"plan": "gold"}
        assert call["started"]["jobId"] == "AJ_1"
        event = ended(roark)
        assert [row["content"] for row in event["transcript"]] == ["How can I help?", "Hello"]
        agent, user = event["transcript"]
        assert (agent["audioOffsetMs"], agent["endAudioOffsetMs"]) == (1000, 2000)
        assert (user["audioOffsetMs"], user["endAudioOffsetMs"]) == (3000, 4000)
        assert event["agentSpokeFirst"] is True
        sound = channels(roark)
        assert loud(sound[:, 1]) == (1.0, 2.0)
        assert loud(np.abs(sound[:, 0]) > 1) == (3.0, 4.0)

    async def test_the_manifest_is_true(self, client: RoarkClient, roark: Roark) -> None:
        """Length and hash are those of the PCM that arrived."""
        calling = Calling(client)
        calling.open()
        calling.hear(0.0, 6.0)
        await calling.end()
        pcm = roark.recording(CALL)[44:]
        assert ended(roark)["recording"] == {
            "status": "complete",
            "chunkCount": 1,
            "byteCount": len(pcm),
            "durationMs": 6000,
            "sha256": hashlib.sha256(pcm).hexdigest(),
            "gaps": [],
            "pauses": [],
        }
        assert len(pcm) == 6 * RATE * 4

    @pytest.mark.parametrize(("recording", "kind"), [("chunks", "pcm"), ("wav", "wav")])
    async def test_either_way_of_recording_gives_the_same(
        self, client: RoarkClient, roark: Roark, recording: RecordingMode, kind: str
    ) -> None:
        """In chunks during the call, or as one file after it."""
        calling = Calling(client, recording=recording)
        calling.open()
        calling.hear(0.0, 6.0)
        await calling.end()
        assert roark.call(CALL)["recording"]["contentType"] == f"audio/{kind}"
        assert len(channels(roark)) == 6 * RATE
        assert ended(roark)["recording"]["status"] == "complete"

    @pytest.mark.parametrize("recording", ["chunks", "wav"])
    async def test_a_damaged_record_of_what_the_sound_is_does_not_cost_the_sound(
        self,
        client: RoarkClient,
        roark: Roark,
        faults: Faults,
        tmp_path: Path,
        recording: RecordingMode,
    ) -> None:
        """Nothing can be delivered without its rate: it is in the journal twice (fault 22)."""
        faults.add("*:status=401")
        calling = Calling(client, recording=recording, spool_dir=tmp_path / "spool")
        calling.open()
        calling.hear(0.0, 6.0)
        await calling.end()
        faults.clear()
        (journal,) = (tmp_path / "spool").glob("*/journal")
        data = bytearray(journal.read_bytes())
        data[data.index(b'"rate":8000') + 1] ^= 1
        journal.write_bytes(data)
        async with RoarkClient(KEY, base_url=BASE_URL, transport=roark) as another:
            await recover_all(Spool(tmp_path / "spool"), another, Guard())
        event = ended(roark)
        assert event["recordingSampleRate"] == RATE
        assert (event["recording"]["status"], event["recording"]["durationMs"]) == (
            "complete",
            6000,
        )
        assert len(channels(roark)) == 6 * RATE

    async def test_events_arrive_while_the_call_goes_on(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """call-started at once, call-ended only at its end."""
        calling = Calling(client)
        await until(lambda: roark.accepted() == ["call-started"])
        calling.turn("user", "hello", 1.0)
        await calling.end("task_completed")
        assert roark.accepted() == ["call-started", "call-ended"]
        assert ended(roark)["callEndedReason"] == "task_completed"

    async def test_the_first_end_counts(self, client: RoarkClient, roark: Roark) -> None:
        """The session's close, then the job's shutdown."""
        calling = Calling(client)
        calling.queue.put_urgent(end_record(calling.start + 3, "participant_disconnected"))
        await calling.end("job_shutdown")
        assert ended(roark)["callEndedReason"] == "participant_disconnected"
        assert ended(roark)["callEndedAt"] == "2025-11-24T08:19:06.000+00:00"

    async def test_it_says_in_one_line_how_it_went(
        self, client: RoarkClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With no word of what was said."""
        caplog.set_level(logging.DEBUG, "roark_analytics_python_livekit")
        calling = Calling(client)
        calling.turn("user", "canary", 1.0)
        await calling.end()
        lines = [r.getMessage() for r in caplog.records if r.name.startswith("roark")]
        assert lines == [
            "roark: call RM_1 delivered: sent 2 events, 0 chunks (0 bytes);"
            " 0 retries, 0 kept in the spool, dropped nothing;"
            " no recording: the session had no audio"
        ]

    async def test_metadata_can_be_added_until_the_end(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """Later values replace earlier ones."""
        calling = Calling(client, metadata={"plan": "gold", "kept": 1})
        await until(lambda: roark.accepted() == ["call-started"])
        calling.add_metadata(**{"plan": "silver", "order": "NW-4471"})
        await calling.end()
        assert roark.call(CALL)["started"]["metadata"] == {"plan": "gold", "kept": 1}
        assert ended(roark)["metadata"] == {"plan": "silver", "kept": 1, "order": "NW-4471"}

    async def test_a_pause_is_silence_and_is_told(self, client: RoarkClient, roark: Roark) -> None:
        """A card number is read out."""
        calling = Calling(client)
        calling.open()
        calling.hear(0.0, 1.0)
        calling.queue.put_urgent({"type": "switch", "at": calling.start + 2.0, "on": False})
        calling.queue.put_urgent({"type": "switch", "at": calling.start + 4.0, "on": True})
        calling.hear(1.0, 6.0)
        await calling.end()
        assert ended(roark)["recording"]["pauses"] == [{"startMs": 2000, "endMs": 4000}]
        user = channels(roark)[:, 0]
        assert not user[2 * RATE : 4 * RATE].any()
        assert user[: 2 * RATE].all()
        assert user[4 * RATE :].all()

    async def test_what_a_pause_of_transcripts_leaves_out_is_counted(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """As everything that is not told."""
        calling = Calling(client)
        off = {"type": "switch", "at": calling.start + 2.0, "on": False, "transcripts": False}
        calling.queue.put_urgent(off)
        calling.turn("user", "my number is four", 3.0)
        calling.queue.put_urgent({"type": "switch", "at": calling.start + 4.0, "on": True})
        calling.turn("user", "thank you", 4.5)
        await calling.end()
        assert [row["content"] for row in ended(roark)["transcript"]] == ["thank you"]
        assert ended(roark)["delivery"]["dropped"] == {"paused": 1}

    async def test_the_processes_end_ends_the_call(
        self, client: RoarkClient, roark: Roark, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody told it: the main thread is just gone."""
        calling = Calling(client)
        await until(lambda: roark.accepted() == ["call-started"])
        gone = threading.Thread()
        monkeypatch.setattr(threading, "main_thread", lambda: gone)
        calling.queue._source = gone
        calling.queue.tick()
        await asyncio.wait_for(calling.task, 30)
        assert ended(roark)["callEndedReason"] == "process_exit"
        assert ended(roark)["endedBy"] == "worker"

    @pytest.mark.parametrize("failing", [False, True])
    async def test_rows_for_which_there_is_no_time_are_counted(
        self,
        client: RoarkClient,
        roark: Roark,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        failing: bool,
    ) -> None:
        """And are not lost where call-ended does not arrive: its journal has them still."""
        monkeypatch.setattr(_pipeline, "ROWS_SHARE", 0.0)
        roark.broken |= {"call-ended"} if failing else set()
        calling = Calling(client, recording="off", spool_dir=tmp_path, budget=0.5)
        await until(lambda: roark.accepted() == ["call-started"])
        calling.turn("user", "hello", 1.0)
        await calling.end()
        if failing:
            (journal,) = tmp_path.rglob("journal")
            assert b"hello" in journal.read_bytes()
            assert b'"type":"ended"' not in journal.read_bytes()
        else:
            assert ended(roark)["transcript"] == []
            assert ended(roark)["delivery"]["dropped"]["time"] >= 1


class TestRedacting:
    """A `redact` may be slow."""

    async def test_how_a_call_began_waits_for_it_while_the_call_goes_on(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """Its sound is taken meanwhile; nothing is told before, and nothing is given up."""
        release = threading.Event()

        def redact(text: str) -> str:
            release.wait(30)
            return text.upper()

        calling = Calling(client, metadata={"plan": "gold", "region": "eu"}, redact=redact)
        calling.open()
        calling.hear(0.0, 6.0)
        calling.turn("user", "hello", 1.0)
        await until(lambda: not calling.queue._items)
        assert roark.accepted() == []
        release.set()
        await until(lambda: roark.accepted() == ["call-started"])
        await calling.end()
        redacted = {"plan": "GOLD", "region": "EU"}
        assert roark.call(CALL)["started"]["metadata"] == ended(roark)["metadata"] == redacted
        assert [row["content"] for row in ended(roark)["transcript"]] == ["HELLO"]
        assert ended(roark)["delivery"]["dropped"] == {}
        assert len(channels(roark)) == 6 * RATE

    async def test_call_started_has_its_share_of_what_it_leaves_of_the_budget(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """It takes half of the budget once the call is over: more than that event's own share."""
        release, late = threading.Event(), [0.0]

        def redact(text: str) -> str:
            release.wait(30)
            return text.upper()

        calling = Calling(client, metadata={"plan": "gold"}, redact=redact, budget=60.0)
        calling.pipeline._clock = lambda: time.monotonic() + late[0]
        await until(lambda: calling.pipeline.call is not None)
        ending = asyncio.ensure_future(calling.end())
        call = calling.pipeline.call
        assert call is not None
        await until(call.uploader._deadline._closing.is_set)
        late[0] = 30.0
        release.set()
        await ending
        assert roark.accepted() == ["call-started", "call-ended"]
        assert roark.call(CALL)["started"]["metadata"] == {"plan": "GOLD"}

    async def test_one_that_never_comes_back_leaves_time_to_deliver_the_end(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """It is waited for until half of the budget is spent: the other half is the delivery's."""
        release = threading.Event()
        calling = Calling(client, redact=lambda text: str(release.wait(30)), budget=3.0)
        calling.turn("user", "hello", 1.0)
        await calling.end()
        release.set()
        assert roark.accepted() == ["call-started", "call-ended"]
        assert [row["content"] for row in ended(roark)["transcript"]] == [FAILED]


class TestWithoutRecording:
    """Calls without sound."""

    async def test_a_call_that_is_not_recorded_says_so(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """Audio that comes all the same is not kept; offsets count from the call's beginning."""
        calling = Calling(client, recording="off")
        calling.open()
        calling.hear(0.0, 2.0)
        calling.turn("user", "hello", 1.5)
        await calling.end()
        event = ended(roark)
        assert event["recording"]["status"] == "disabled"
        assert event["recording"]["reason"] == "recording is off"
        assert event["transcript"][0]["audioOffsetMs"] == 1500
        assert "recordingSampleRate" not in event
        assert roark.asked("url") == []

    async def test_a_session_without_audio_has_no_recording(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """A text-only console."""
        calling = Calling(client)
        calling.turn("user", "hello", 1.5)
        await calling.end()
        event = ended(roark)
        assert event["recording"]["status"] == "disabled"
        assert event["recording"]["reason"] == "the session had no audio"
        assert "recordingSampleRate" not in event

    async def test_a_spool_that_cannot_be_opened_costs_nothing_but_a_warning(
        self,
        client: RoarkClient,
        roark: Roark,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The call is kept in memory, and arrives."""
        file = tmp_path / "file"
        file.touch()
        calling = Calling(client, spool_dir=file / "spool")
        calling.open()
        calling.hear(0.0, 2.0)
        await calling.end()
        assert ended(roark)["recording"]["status"] == "complete"
        (line,) = [
            record.getMessage() for record in caplog.records if record.levelname == "WARNING"
        ]
        assert "kept in memory only" in line


class TestWhenItGoesWrong:
    """Nothing in here costs more than itself."""

    async def test_an_item_that_cannot_be_taken_is_counted(
        self, client: RoarkClient, roark: Roark, internal_errors: list[Exception]
    ) -> None:
        """The others are."""
        calling = Calling(client)
        calling.queue.put_urgent(object())
        calling.queue.put_urgent({"no": "type"})
        calling.open()
        calling.queue.put(UserFrame(calling.start, b"odd", RATE))
        calling.hear(0.0, 6.0)
        calling.turn("user", "hello", 1.0)
        await calling.end()
        event = ended(roark)
        assert [row["content"] for row in event["transcript"]] == ["hello"]
        assert len(channels(roark)) == 6 * RATE
        assert event["delivery"]["dropped"]["internal_error"] == calling.guard.count == 3
        internal_errors.clear()

    async def test_an_agents_turn_is_kept_even_if_it_cannot_be_placed(
        self,
        client: RoarkClient,
        roark: Roark,
        internal_errors: list[Exception],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Its words matter more than its offsets."""

        def broken(self: AudioCapture) -> None:
            raise RuntimeError("internal")

        monkeypatch.setattr(AudioCapture, "take_played", broken)
        calling = Calling(client)
        calling.open()
        calling.hear(0.0, 6.0)
        calling.turn("assistant", "How can I help?", 2.0)
        await calling.end()
        assert [row["content"] for row in ended(roark)["transcript"]] == ["How can I help?"]
        internal_errors.clear()

    async def test_records_that_make_no_rows_do_not_cost_call_ended(
        self, client: RoarkClient, roark: Roark, internal_errors: list[Exception]
    ) -> None:
        """A plugin that counts in milliseconds: that moment is on no calendar."""
        calling = Calling(client)
        calling.turn("user", "hello", 1e15)
        await calling.end()
        assert roark.accepted() == ["call-started", "call-ended"]
        event = ended(roark)
        assert event["transcript"] == []
        assert event["delivery"]["dropped"] == {"internal_error": 1}
        internal_errors.clear()

    @pytest.mark.parametrize("kind", VALUES)
    async def test_odd_values_do_not_keep_call_ended_back(
        self, client: RoarkClient, roark: Roark, tmp_path: Path, kind: str
    ) -> None:
        """In metadata, and in arguments and results of tools: made plain (fault 11)."""
        value = VALUES[kind]()
        calling = Calling(client, spool_dir=tmp_path / "spool")
        calling.add_metadata(**{"odd": value})
        called = SimpleNamespace(call_id="c1", name="look_up", arguments=value)
        output = SimpleNamespace(call_id="c1", name="look_up", output=value, is_error=False)
        executed = SimpleNamespace(created_at=None, zipped=lambda: [(called, output)])
        for record in tools_executed(executed, lambda created: calling.start + 1.0):
            calling.queue.put_urgent(record)
        calling.turn("user", "hello", 2.0)
        await calling.end()
        event = ended(roark)
        assert set(event["metadata"]) == {"odd"}
        assert [row["kind"] for row in event["toolCalls"]] == ["tool_call", "tool_result"]
        assert [row["content"] for row in event["transcript"]] == ["hello"]
        assert event["delivery"]["dropped"] == {} and calling.guard.count == 0
        assert len(json.dumps(event)) < 8_000_000
        assert list((tmp_path / "spool").iterdir()) == []

    @pytest.mark.parametrize("spooled", [False, True])
    @pytest.mark.parametrize(
        "record",
        [
            {"type": "turn", "role": "user", "text": b"x"},
            {"type": "turn", "role": "user", "text": object(), "id": "7"},
            {"type": "turn", "role": "user", "text": "\ud800"},
            {"type": "metric", "kind": "llm", "fields": {"ttft": float("nan")}, "extra": {}},
            {"type": "metric", "kind": "llm", "fields": {}, "extra": {"odd": {1, 2}}},
            {"type": "metric", "kind": "llm", "fields": {}, "extra": {(1, 2): 3}},
        ],
        ids=["bytes", "object", "surrogate", "nan", "set", "key"],
    )
    async def test_a_record_that_is_no_json_costs_its_own_row_only(
        self,
        client: RoarkClient,
        roark: Roark,
        tmp_path: Path,
        record: dict[str, Any],
        spooled: bool,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Counted as unusable in call-ended, and in the call's one line (fault 11)."""
        caplog.set_level(logging.INFO, "roark_analytics_python_livekit")
        calling = Calling(client, spool_dir=tmp_path / "spool" if spooled else None)
        calling.turn("user", "hello", 1.0)
        calling.queue.put_urgent({**record, "at": calling.start + 2.0})
        await calling.end()
        event = ended(roark)
        assert [row["content"] for row in event["transcript"]] == ["hello"]
        assert event["metrics"] == []
        assert event["delivery"]["dropped"] == {"unusable": 1}
        assert "dropped 1 unusable" in caplog.text

    async def test_what_a_tool_gives_as_an_object_is_json_whoever_tells_it(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """Its progress, its result and its end; redacted in its values, so that it stays JSON."""
        calling = Calling(client, redact=lambda text: text.replace("secret", "[x]"))
        tools: list[dict[str, Any]] = [
            {"type": "tool_call", "name": "look", "arguments": "{}", "id": "1"},
            {"type": "tool_update", "id": "1", "content": "{'found': None}"},
            {"type": "tool_ended", "id": "1", "content": "[True]", "status": "done", "final": True},
            {"type": "tool_call", "name": "look", "arguments": "{}", "id": "2"},
            {"type": "tool_result", "id": "2", "content": "{'it': 'a \"secret\"'}", "error": False},
        ]
        for record in tools:
            calling.queue.put_urgent({**record, "at": calling.start + 1.0})
        await calling.end()
        first, ended_, second, result = ended(roark)["toolCalls"]
        assert [update["content"] for update in first["updates"]] == ['{"found": null}']
        assert (ended_["content"], second["toolCallId"]) == ("[true]", "2")
        assert json.loads(result["content"]) == {"it": 'a "[x]"'}

    async def test_hostile_metadata_becomes_plain(self, client: RoarkClient, roark: Roark) -> None:
        """Whatever the agent's code knows of its call."""

        class Hostile:
            def __str__(self) -> str:
                raise RuntimeError

        cyclic: dict[str, Any] = {}
        cyclic["self"] = cyclic
        calling = Calling(
            client,
            metadata={"nan": float("nan"), "half": "a\ud800", "cyclic": cyclic, "bytes": b"123"},
            agent_id="sup\ud800port",
        )
        calling.add_metadata(**{"hostile": Hostile(), "huge": 10**5000})
        await calling.end()
        assert roark.call(CALL)["started"]["agentId"] == "sup?port"
        assert ended(roark)["metadata"] == {
            "nan": "nan",
            "half": "a?",
            "cyclic": {"self": "..."},
            "bytes": "<3 bytes>",
            "hostile": "<Hostile>",
            "huge": "<int>",
        }

    async def test_audio_that_had_no_room_is_counted(
        self, client: RoarkClient, roark: Roark
    ) -> None:
        """A thread that got no time: its queue was full."""
        calling = Calling(client)
        calling.queue.dropped = 40
        await calling.end()
        assert ended(roark)["delivery"]["dropped"] == {"queue_full": 40}

    async def test_a_lost_chunk_is_a_gap_that_is_told(
        self,
        client: RoarkClient,
        roark: Roark,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Which part is missing, and why; the others arrive."""
        roark.broken.add("chunk 1")
        limits = Limits(chunk_bytes=2 * RATE * 4, chunks_share=0.1)  # of 30 s
        calling = Calling(client, limits=limits)
        calling.open()
        calling.hear(0.0, 6.0)
        await calling.end()
        manifest = ended(roark)["recording"]
        assert manifest["status"] == "partial"
        assert manifest["reason"] == "status 503"
        assert manifest["gaps"] == [{"startMs": 2000, "endMs": 4000}]
        assert manifest["chunkCount"] == 2
        assert manifest["durationMs"] == 6000
        assert "not delivered: 1 recording chunk (last failure: status 503); " in caplog.text

    async def test_a_recording_of_which_nothing_arrives_has_failed(
        self, client: RoarkClient, roark: Roark, faults: Faults
    ) -> None:
        """The call itself has not."""
        faults.add("uploads:status=413")
        calling = Calling(client)
        calling.open()
        calling.hear(0.0, 6.0)
        await calling.end()
        manifest = ended(roark)["recording"]
        assert (manifest["status"], manifest["reason"]) == ("failed", "status 413")
        assert manifest["gaps"] == [{"startMs": 0, "endMs": 6000}]

    async def test_a_wav_that_does_not_arrive_is_a_gap_of_its_length(
        self, client: RoarkClient, roark: Roark, faults: Faults
    ) -> None:
        """Its header is not part of the recording."""
        faults.add("uploads:status=413")
        calling = Calling(client, recording="wav")
        calling.open()
        calling.hear(0.0, 6.0)
        await calling.end()
        assert ended(roark)["recording"]["gaps"] == [{"startMs": 0, "endMs": 6000}]

    async def test_what_is_not_delivered_is_said(
        self, client: RoarkClient, faults: Faults, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One warning, with the last failure and no secret."""
        faults.add("events:status=422")
        await Calling(client).end()
        (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert warning.getMessage() == (
            "roark: call RM_1: not delivered: call-started, call-ended"
            " (last failure: status 422); sent 0 events, 0 chunks (0 bytes);"
            " 0 retries, 0 kept in the spool, dropped 2 refused;"
            " no recording: the session had no audio"
        )

    async def test_a_service_that_hangs_is_left_in_time(
        self, client: RoarkClient, faults: Faults
    ) -> None:
        """The thread ends, and with it the process."""
        faults.add("*:hang")
        calling = Calling(client, budget=0.2)
        calling.open()
        calling.hear(0.0, 6.0)
        await calling.end()
        assert calling.pipeline.call is not None
        undelivered = calling.pipeline.call.uploader.stats.undelivered
        assert undelivered == ("call-started", "call-ended")

    async def test_its_connections_are_closed(self, roark: Roark) -> None:
        """This loop's."""
        client = RoarkClient(KEY, base_url=BASE_URL, transport=roark)
        await Calling(client).end()
        assert roark.accepted() == ["call-started", "call-ended"]
        assert len(client._pools) == 0

    async def test_the_connections_of_another_call_stay_open(self, roark: Roark) -> None:
        """It shares the client: the last call closes them."""
        client = RoarkClient(KEY, base_url=BASE_URL, transport=roark)
        first, second = Calling(client), Calling(client)
        await first.end()
        (pools,) = client._pools.values()
        assert pools.made  # closing takes them out
        await second.end()
        assert len(client._pools) == 0


async def test_one_call_at_a_time_recovers_what_others_left(
    roark: Roark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of a key and spool, and until the last of them is over."""
    going_on: list[RoarkClient] = []
    begun: list[RoarkClient] = []

    async def recover(spool: Spool, client: RoarkClient, guard: Guard, **options: Any) -> None:
        begun.append(client)
        going_on.append(client)
        try:
            await asyncio.Event().wait()
        finally:
            going_on.remove(client)

    monkeypatch.setattr(_pipeline, "recover_all", recover)
    clients = [RoarkClient(KEY, base_url=BASE_URL, transport=roark) for _ in range(2)]
    first, second = (Calling(client, spool_dir=tmp_path / "spool") for client in clients)
    other = Calling(clients[0], spool_dir=tmp_path / "other")
    await until(lambda: len(begun) == 2)
    await other.end()
    assert going_on == begun[:1] == clients[:1]
    await first.end()
    assert going_on == begun[:1]
    await second.end()
    assert going_on == []
    assert len(begun) == 2


async def test_two_calls_do_not_meet(client: RoarkClient, roark: Roark) -> None:
    """On one loop with one client, here."""
    first, second = Calling(client), Calling(client)
    setup = second.pipeline._setup
    second.pipeline._setup = replace(setup, facts=replace(setup.facts, call_id="RM_2"))
    first.turn("user", "first", 1.0)
    second.turn("user", "second", 1.0)
    await first.end()
    await second.end()
    assert [row["content"] for row in roark.call("RM_1")["ended"]["transcript"]] == ["first"]
    assert [row["content"] for row in roark.call("RM_2")["ended"]["transcript"]] == ["second"]
