"""The only file that knows livekit-agents and its versions: probes, taps, events, closing.

Everything is public API. What differs between versions is a named field of `Capabilities`, found
by looking for it, never by comparing version strings.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, get_args

import numpy as np
from livekit import agents as livekit_agents
from livekit import rtc
from livekit.agents import AgentSession, utils
from livekit.agents.voice import avatar, io

from .._call.records import EndRecord, Record, end_record
from .._diagnostics import Guard, logger
from .._recording.frames import (
    AgentFrame,
    Cleared,
    Finished,
    Flushed,
    Listening,
    Opened,
    Paused,
    Progressed,
    Report,
    Resumed,
    Samples,
    SinkTraits,
    Started,
    UserFrame,
)
from . import events as _events
from . import metrics as _metrics
from . import participants as _snapshots
from .clock import WallClock
from .room import RoomWatch, participants

LAST = 1.0  # seconds for the message of a speech that was cut off; a dead sink never gives it
MAX_AGENTS = 50  # that are told of in a call, and changes of them: a prompt may hold the time
LOOK_EVERY = 0.1  # seconds between two looks at whether an input or output was replaced
PACED = {"RoomIO", "Console"}  # labels of inputs that give their frames as time passes
ROOM_QUEUE = 0.2  # seconds: RoomIO's audio source holds this much, and a pause throws it away
ROOM_FIRST_FRAMES = 0.06  # seconds: where they are shorter than its 50 ms, they are 20 and 40 ms


class EventQueue(Protocol):
    """Where everything goes that is seen here; neither method waits or raises."""

    def put(self, item: object) -> None: ...

    def put_urgent(self, item: object) -> None: ...


@dataclass(frozen=True)
class Capabilities:
    """What this livekit-agents can do, each with the version it appeared in.

    Attributes:
        labelled_input: `AudioInput(label=, source=)` (1.2).
        output_options: `AudioOutput(label=, capabilities=)`: pause and resume (1.2).
        playback_started: Sinks say when they begin to play (1.3.11).
        playback_progressed: Sinks say what they have played (1.7).
        progressive_frames: RoomIO's first frames are shorter (1.5).
        usage: `AgentSession.usage`; from there on `metrics_collected` of the session is
            deprecated, and messages carry the end-of-utterance delays themselves (1.5).
        handoff_items: Handoffs come as conversation items (1.5).
        events: The session's events, by name; one that is not there is never subscribed to.
    """

    labelled_input: bool
    output_options: bool
    playback_started: bool
    playback_progressed: bool
    progressive_frames: bool
    usage: bool
    handoff_items: bool
    events: frozenset[str]


def probe() -> Capabilities:
    """Looks at the livekit-agents that is installed."""
    from livekit.agents.voice import events

    return Capabilities(
        labelled_input="label" in inspect.signature(io.AudioInput.__init__).parameters,
        output_options="capabilities" in inspect.signature(io.AudioOutput.__init__).parameters,
        playback_started=hasattr(io.AudioOutput, "on_playback_started"),
        playback_progressed=hasattr(io.AudioOutput, "on_playback_progressed"),
        progressive_frames="progressive"
        in inspect.signature(utils.audio.AudioByteStream.__init__).parameters,
        usage=hasattr(AgentSession, "usage"),
        handoff_items="AgentHandoff"
        in str(events.ConversationItemAddedEvent.model_fields["item"].annotation),
        events=frozenset(get_args(events.EventTypes)),
    )


LIVEKIT_AGENTS_VERSION = str(livekit_agents.__version__)
"""The installed version, for the record only."""


# What is known of the job


def call_id(ctx: Any) -> str | None:
    """The room's session id, else the job's id; only non-empty strings count (console mocks)."""
    return (
        _text(ctx, "job", "room", "sid")
        or _without_waiting(_attribute(ctx, "room", "sid"))
        or _text(ctx, "job", "id")
    )


def job_facts(ctx: Any) -> dict[str, str]:
    """jobId, roomName, roomSid and participantIdentity, as far as they are known by now."""
    facts = {
        "jobId": _text(ctx, "job", "id"),
        "roomName": _text(ctx, "job", "room", "name") or _text(ctx, "room", "name"),
        "roomSid": _text(ctx, "job", "room", "sid"),
        "participantIdentity": _first_participant(ctx),
    }
    return {name: value for name, value in facts.items() if value}


def _first_participant(ctx: Any) -> str | None:
    for participant in participants(_attribute(ctx, "room")):
        if _snapshots.is_caller(participant):
            return _text(participant, "identity")
    return None


def room_of(ctx: Any) -> Any:
    """The job's room, or whatever stands in its place."""
    return _attribute(ctx, "room")


def prompt_of(session: Any) -> str | None:
    """The current agent's instructions, where the session is running."""
    return _snapshots.agent(session.current_agent, 0.0)["instructions"] or None


def _attribute(value: Any, *path: str) -> Any:
    for name in path:
        try:
            value = getattr(value, name, None)
        except Exception:
            return None
    return value


def _text(value: Any, *path: str) -> str | None:
    found = _attribute(value, *path)
    return found if isinstance(found, str) and found.strip() else None


def _without_waiting(value: Any) -> str | None:
    """The result of an awaitable that has it at hand; one that would wait is closed."""
    if isinstance(value, str):
        return value or None
    if not inspect.iscoroutine(value):
        return None
    try:
        value.send(None)
    except StopIteration as done:
        return done.value if isinstance(done.value, str) and done.value else None
    except Exception:
        return None
    value.close()
    return None


# Audio


class RtcResampler:
    """livekit's own streaming resampler, on mono samples."""

    def __init__(self, input_rate: int, output_rate: int) -> None:
        self._rate = input_rate
        self._resampler = rtc.AudioResampler(
            input_rate, output_rate, num_channels=1, quality=rtc.AudioResamplerQuality.HIGH
        )

    def push(self, samples: Samples) -> Samples:
        frame = rtc.AudioFrame(
            data=samples.tobytes(),
            sample_rate=self._rate,
            num_channels=1,
            samples_per_channel=len(samples),
        )
        return _joined(self._resampler.push(frame))

    def flush(self) -> Samples:
        return _joined(self._resampler.flush())


def _joined(frames: list[rtc.AudioFrame]) -> Samples:
    parts = [np.frombuffer(frame.data, dtype=np.int16) for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


class InputTap(io.AudioInput):
    """Passes the user's audio through and notes when each frame came by."""

    def __init__(
        self, source: io.AudioInput, queue: EventQueue, guard: Guard, can: Capabilities
    ) -> None:
        if can.labelled_input:
            super().__init__(label="Roark", source=source)
        else:
            super().__init__()  # type: ignore[call-arg]  # livekit-agents before 1.2
        self._tapped = source
        self._frames: AsyncIterator[rtc.AudioFrame] = source.__aiter__()
        self._queue = queue
        self._guard = guard
        self.is_waiting = False  # somebody wants a frame, and the source has none

    @property
    def tapped(self) -> io.AudioInput:
        """The input that this tap stands before."""
        return self._tapped

    async def __anext__(self) -> rtc.AudioFrame:
        self.is_waiting = True
        try:
            frame = await self._frames.__anext__()
        finally:
            self.is_waiting = False
        with self._guard("input tap"):
            self._queue.put(
                UserFrame(
                    time.monotonic(), bytes(frame.data), frame.sample_rate, frame.num_channels
                )
            )
        return frame

    def on_attached(self) -> None:
        self._tapped.on_attached()

    def on_detached(self) -> None:
        self._tapped.on_detached()


class OutputTap(io.AudioOutput):
    """Passes the agent's audio through and notes what the sink took and what it played."""

    def __init__(
        self,
        sink: io.AudioOutput,
        queue: EventQueue,
        guard: Guard,
        can: Capabilities,
        clock: WallClock,
    ) -> None:
        options: dict[str, Any] = {}
        if can.output_options:
            options["label"] = "Roark"
            options["capabilities"] = io.AudioOutputCapabilities(pause=True)
        super().__init__(next_in_chain=sink, sample_rate=sink.sample_rate, **options)
        self._tapped = sink
        self._next: io.AudioOutput = getattr(self, "next_in_chain", None) or sink
        self._queue = queue
        self._guard = guard
        self._clock = clock

    @property
    def tapped(self) -> io.AudioOutput:
        """The output that this tap stands before."""
        return self._tapped

    @property
    def sample_rate(self) -> int | None:
        return self._next.sample_rate

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        # The sink first: counting a segment before the sink has taken its first frame would let
        # an interruption wait for ever for a playback that never was (nobody has subscribed yet).
        await self._next.capture_frame(frame)
        await super().capture_frame(frame)
        with self._guard("output tap"):
            self._queue.put(
                AgentFrame(
                    time.monotonic(), bytes(frame.data), frame.sample_rate, frame.num_channels
                )
            )

    def flush(self) -> None:
        self._note(Flushed(time.monotonic()))
        super().flush()
        self._next.flush()

    def clear_buffer(self) -> None:
        self._note(Cleared(time.monotonic()))
        self._next.clear_buffer()

    def pause(self) -> None:
        self._note(Paused(time.monotonic()))
        super().pause()

    def resume(self) -> None:
        self._note(Resumed(time.monotonic()))
        super().resume()

    def on_attached(self) -> None:
        self._next.on_attached()

    def on_detached(self) -> None:
        self._next.on_detached()

    def on_playback_started(self, *, created_at: float) -> None:
        super().on_playback_started(created_at=created_at)
        self._note(Started(self._clock.monotonic(created_at)))

    def on_playback_progressed(self, *, started_at: float, offset: float, duration: float) -> None:
        super().on_playback_progressed(started_at=started_at, offset=offset, duration=duration)
        self._note(Progressed(self._clock.monotonic(started_at), offset, duration))

    def on_playback_finished(
        self,
        *,
        playback_position: float,
        interrupted: bool,
        synchronized_transcript: str | None = None,
    ) -> None:
        super().on_playback_finished(
            playback_position=playback_position,
            interrupted=interrupted,
            synchronized_transcript=synchronized_transcript,
        )
        self._note(Finished(time.monotonic(), playback_position, interrupted))

    def _note(self, report: Report) -> None:
        with self._guard("output tap"):
            self._queue.put(report)


class Taps:
    """Keeps a tap before whatever input and output the session has."""

    def __init__(
        self, session: Any, queue: EventQueue, guard: Guard, can: Capabilities, clock: WallClock
    ) -> None:
        self._clock = clock
        self._session = session
        self._queue = queue
        self._guard = guard
        self._can = can

    def ensure(self) -> None:
        """Installs what is missing; never before a sink that is in the middle of a speech."""
        new_input = self._tap_input()
        new_output = self._tap_output()
        if new_input or new_output:
            self._queue.put_urgent(self._opened(new_input=new_input))

    def look(self) -> None:
        """Says that the caller's line is listened to, if it is: all that it gave was taken."""
        tap = _input_tap(self._session.input.audio)
        if tap is not None and tap.is_waiting:
            self._queue.put(Listening(time.monotonic()))

    def _tap_input(self) -> bool:
        source = self._session.input.audio
        if source is None or _input_tap(source) is not None:
            return False
        self._session.input.audio = InputTap(source, self._queue, self._guard, self._can)
        return True

    def _tap_output(self) -> bool:
        sink = self._session.output.audio
        if sink is None or any(isinstance(part, OutputTap) for part in _sinks(sink)):
            return False
        if self._session.current_speech is not None:
            return False
        self._session.output.audio = OutputTap(
            sink, self._queue, self._guard, self._can, self._clock
        )
        return True

    def _opened(self, *, new_input: bool) -> Opened:
        source, sink = self._session.input.audio, self._session.output.audio
        return Opened(
            at=time.monotonic(),
            hears_user=source is not None,
            sink=None if sink is None else self._traits(sink),
            rate=None if sink is None else sink.sample_rate,
            new_input=new_input,
            paced_input=any(getattr(part, "label", "") in PACED for part in _sources(source)),
        )

    def _traits(self, sink: io.AudioOutput) -> SinkTraits:
        parts = list(_sinks(sink))
        is_room = getattr(parts[-1], "label", "") == "RoomIO"
        return SinkTraits(
            reports_start=self._can.playback_started,
            reports_progress=self._can.playback_progressed,
            plays_elsewhere=any(
                isinstance(part, (avatar.QueueAudioOutput, avatar.DataStreamAudioOutput))
                for part in parts
            ),
            drops_on_pause=ROOM_QUEUE if is_room else 0.0,
            first_frames=ROOM_FIRST_FRAMES if self._can.progressive_frames else 0.0,
        )


def _sources(source: io.AudioInput | None) -> Iterator[io.AudioInput]:
    while source is not None:
        yield source
        tapped = source.tapped if isinstance(source, InputTap) else None
        source = tapped or getattr(source, "source", None)


def _input_tap(source: io.AudioInput | None) -> InputTap | None:
    return next((part for part in _sources(source) if isinstance(part, InputTap)), None)


def _sinks(sink: io.AudioOutput | None) -> Iterator[io.AudioOutput]:
    while sink is not None:
        yield sink
        tapped = sink.tapped if isinstance(sink, OutputTap) else None
        sink = tapped or getattr(sink, "next_in_chain", None)


# Events


class Observation:
    """Listens to one session until it closes.

    Args:
        session: The agent session.
        queue: Where records and audio go.
        guard: Keeps this package's errors from the agent.
        on_end: Called once, with how the call ended.
        audio: Whether to tap the session's audio.
        room: Where the caller is.
    """

    def __init__(
        self,
        session: Any,
        queue: EventQueue,
        guard: Guard,
        on_end: Callable[[EndRecord], None],
        *,
        audio: bool,
        room: Any = None,
    ) -> None:
        self._session = session
        self._queue = queue
        self._guard = guard
        self._on_end = on_end
        self._can = probe()
        self._clock = WallClock()
        self._taps = Taps(session, queue, guard, self._can, self._clock) if audio else None
        self._room = RoomWatch(room, lambda record: self._put([record]), guard)
        self._subscribed: list[tuple[Any, str, Callable[..., None]]] = []
        self._speakers: weakref.WeakKeyDictionary[Any, str | None] = weakref.WeakKeyDictionary()
        self._current: Any = None  # agent
        self._agents: set[int] = set()  # hashes of what was told of them
        self._vad = _metrics.VadSummary()
        self._ended = False
        self._over = asyncio.Event()
        self._last_speech: Any = None  # the one that the session's close has cut off
        self._looking: asyncio.TimerHandle | None = None

    def attach(self) -> None:
        """Subscribes to the session's events; taps come with the first of them."""
        for event, handler in self._handlers().items():
            if event in self._can.events:
                self._subscribe(self._session, event, handler)
        if not self._can.usage:
            self._subscribe(self._session, "metrics_collected", self._on_metrics)
        with self._guard("room"):
            self._room.begin()
        if is_running(self._session):
            self._look()

    async def end(self, reason: str, ended_by: str | None = None) -> None:
        """The call is over, whatever the session says.

        Waits only for a speech that was cut off, or is by a job that shuts down and closes the
        session at the same time: its message comes any moment now.

        Args:
            reason: In a word.
            ended_by: Who did it, where the reason does not say.
        """
        if self._ended:
            return
        if self._is_cut_off(ended_by):
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._over.wait(), LAST)
        self._finish(end_record(time.monotonic(), reason, ended_by=ended_by))

    def _is_cut_off(self, ended_by: str | None) -> bool:
        if self._last_speech is not None:
            return bool(self._last_speech.interrupted)
        speech = self._session.current_speech
        return ended_by == "worker" and speech is not None and not speech.done()

    def _handlers(self) -> dict[str, Callable[[Any], None]]:
        return {
            "speech_created": self._on_speech,
            "agent_state_changed": self._on_agent_state,
            "user_state_changed": self._on_user_state,
            "conversation_item_added": self._on_item,
            "user_input_transcribed": self._putting(_events.transcribed),
            "function_tools_executed": self._putting(_events.tools_executed),
            "tool_execution_updated": self._putting(_events.tool_updated),
            "agent_false_interruption": self._putting(_events.false_interruption),
            "overlapping_speech": self._putting(_events.overlapping_speech),
            "user_transcription_timeout": self._putting(_events.transcription_timeout),
            "error": self._on_error,
            "close": self._on_close,
        }

    def _subscribe(self, emitter: Any, event: str, handler: Callable[[Any], None]) -> None:
        guarded = self._guarded(event, handler)
        emitter.on(event, guarded)
        self._subscribed.append((emitter, event, guarded))

    def _putting(
        self, to_records: Callable[[Any, _events.ToMonotonic], list[Record]]
    ) -> Callable[[Any], None]:
        return lambda event: self._put(to_records(event, self._clock.monotonic))

    def _guarded(self, name: str, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        def handle(event: Any, *_: Any) -> None:
            if not self._ended:
                with self._guard(f"event {name}"):
                    handler(event)

        return handle

    def _on_activity(self, event: Any = None) -> None:
        """The session does something: its audio is set by now."""
        if self._looking is None and not self._ended:
            self._look()
        elif not self._ended:
            self._ensure()

    def _on_speech(self, event: Any) -> None:
        self._on_activity()
        self._watch_agent()
        self._speakers[event.speech_handle] = self._speaker_of(event.speech_handle)

    def _on_agent_state(self, event: Any) -> None:
        self._on_activity()
        self._put(_events.state_changed(event, self._clock.monotonic, of_agent=True))

    def _on_user_state(self, event: Any) -> None:
        self._on_activity()
        self._put(_events.state_changed(event, self._clock.monotonic, of_agent=False))
        self._put(_events.user_away(event, self._clock.monotonic))

    def _on_item(self, event: Any) -> None:
        self._watch_agent()
        self._put(_events.conversation_item(event, self._clock.monotonic, self._speaker()))

    def _on_metrics(self, event: Any) -> None:
        self._put_metrics(event.metrics)

    def _put_metrics(self, metrics: Any) -> None:
        if _metrics.type_of(metrics) == _metrics.VAD:
            self._vad.add(metrics)
        else:
            self._put(_metrics.metrics(metrics, self._clock.monotonic))

    def _on_error(self, event: Any) -> None:
        at = self._clock.monotonic(_attribute(event, "created_at"))
        self._put([_events.failed(event.error, at, _attribute(event, "source"))])

    def _on_close(self, event: Any) -> None:
        """The end; where livekit says so before the last speech is over (1.0), after that."""
        self._last_speech = self._session.current_speech
        if self._last_speech is None or self._last_speech.done():
            self._finish(_end_of(event))
        else:
            self._last_speech.add_done_callback(lambda _: self._finish(_end_of(event)))

    def _finish(self, end: EndRecord) -> None:
        if self._ended:
            return
        with self._guard("the last look"):
            self._look_back(end["at"])
        self._ended = True
        self._over.set()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for emitter, event, handler in self._subscribed:
            with self._guard("detaching"):
                emitter.off(event, handler)
        self._release()
        self._on_end(end)

    def _release(self) -> None:
        """A handle that somebody keeps is no reason to keep the session, its models and agents."""
        self._session = self._taps = self._current = self._last_speech = None
        self._subscribed.clear()

    def _look_back(self, at: float) -> None:
        """What is known of the whole call only at its end."""
        self._room.end()
        self._watch_agent()
        self._put(self._vad.records(at))
        if self._can.usage:
            self._put(_metrics.usage(self._session.usage.model_usage, at))

    def _put(self, records: Iterable[Record]) -> None:
        if not self._ended:
            for record in records:
                self._queue.put_urgent(record)

    # What may change at any time: the audio's ends, the agent and its models

    def _look(self) -> None:
        if self._ended:
            return
        self._clock.look()
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)
        self._ensure()
        with self._guard("taps"):
            if self._taps is not None:
                self._taps.look()

    def _ensure(self) -> None:
        with self._guard("taps"):
            if self._taps is not None:
                self._taps.ensure()
        with self._guard("metrics"):
            if self._can.usage:
                self._meter_models()
        with self._guard("agents"):
            if self._agent() is not self._current:
                self._watch_agent()

    def _meter_models(self) -> None:
        """Subscribes to the models in use: they emit their own metrics, on every version."""
        for model in self._models():
            if not any(model is known for known, _, _ in self._subscribed):
                self._subscribe(model, "metrics_collected", self._on_model_metrics)

    def _models(self) -> Iterator[Any]:
        agent = self._agent()
        for owner in (self._session, agent):
            for name in ("stt", "llm", "tts", "vad", "turn_detection"):
                model = getattr(owner, name, None)
                if callable(getattr(model, "on", None)):
                    yield model
        try:
            realtime = agent.realtime_llm_session
        except Exception:  # RuntimeError: the agent is not running, or has no realtime model
            return
        yield realtime

    def _on_model_metrics(self, metrics: Any) -> None:
        # The session's own handler adds the speech's id to this object: look after it has run.
        put = self._guarded("metrics", self._put_metrics)
        asyncio.get_running_loop().call_soon(put, metrics)

    def _watch_agent(self) -> None:
        """Tells of an agent that is new or changed; of a handoff only where livekit does not."""
        agent = self._agent()
        if agent is None or self._ended:
            return
        before, self._current = self._current, agent
        record = _snapshots.agent(agent, time.monotonic())
        if agent is not before and not self._can.handoff_items:
            old = None if before is None else _snapshots.agent_id(before)
            self._put([{"type": "handoff", "old": old, "new": record["id"], "at": record["at"]}])
        known = hash((record["id"], record["instructions"], *record["tools"]))
        if known not in self._agents and len(self._agents) < MAX_AGENTS:
            self._agents.add(known)
            self._put([record])

    def _agent(self) -> Any:
        try:
            return self._session.current_agent
        except RuntimeError:
            return None

    def _speaker(self) -> str | None:
        """Whose speech this is: one that hands over has its say while the next is current."""
        return self._speaker_of(self._session.current_speech)

    def _speaker_of(self, speech: Any) -> str | None:
        """Who began a speech; before 1.2 a tool's reply is a speech of its own, with a parent."""
        while speech is not None:
            if known := self._speakers.get(speech):
                return known
            speech = getattr(speech, "parent", None)
        return self._agent_id()

    def _agent_id(self) -> str | None:
        agent = self._agent()
        return None if agent is None else _snapshots.agent_id(agent)


def _end_of(event: Any) -> EndRecord:
    at = time.monotonic()
    reason, error = _attribute(event, "reason"), _attribute(event, "error")
    closed = "session_closed" if error is None else "error"  # 1.0 gives no reason
    failed = None if error is None else _events.failed(error, at)
    return end_record(at, str(getattr(reason, "value", reason) or closed), error=failed)


def is_running(session: Any) -> bool:
    """Whether `session.start()` was called before."""
    try:
        return session.current_agent is not None
    except RuntimeError:
        return False


def is_session(session: object) -> bool:
    """Whether this is something that can be observed."""
    return isinstance(session, AgentSession)


def on_shutdown(ctx: Any, callback: Callable[[str], Any]) -> None:
    """Registers a coroutine function for the job's shutdown.

    livekit reads the callback's `__code__`, which only plain functions have on every version.
    """

    async def at_shutdown(reason: str) -> None:
        await callback(reason or "job_shutdown")

    try:
        ctx.add_shutdown_callback(at_shutdown)
    except Exception as error:
        logger.warning("roark: no shutdown callback (%s); aflush() by hand", type(error).__name__)
