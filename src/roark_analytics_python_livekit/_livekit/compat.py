"""What the installed livekit-agents can do, and what its versions and sinks differ in.

Everything is public API. A difference between versions is a field of `Capabilities`: it is found by
looking for the feature, never by comparing version strings.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from livekit import agents as livekit_agents
from livekit import rtc
from livekit.agents import AgentSession, utils
from livekit.agents.voice import avatar, events, io

from .._recording.frames import SinkTraits

LIVEKIT_AGENTS_VERSION: Final = str(livekit_agents.__version__)
"""The installed version, only to be reported."""

_ROOM = "RoomIO"  # the label of livekit's input and output for a room
_REAL_TIME_INPUTS = frozenset({_ROOM, "Console"})  # labels; these hand frames over as time passes
_ROOM_QUEUE = 0.2  # seconds that RoomIO's audio source holds; a pause throws them away
_ROOM_FRAME = 0.05  # seconds; RoomIO cuts the audio into such frames, and pauses between two
_ROOM_FIRST_FRAMES = (0.02, 0.04)  # seconds, where its first frames are shorter
_ROOM_RESUME = 0.002  # seconds that RoomIO takes to go on with its next frame
_UNPUBLISHED = 0.4  # seconds; RoomIO pushes a frame of 0.5 s when the caller's track goes away


@dataclass(frozen=True)
class Capabilities:
    """What this livekit-agents can do, each with the version it appeared in."""

    labelled_input: bool  # `AudioInput(label=, source=)` (1.2)
    output_options: bool  # `AudioOutput(label=, capabilities=)`: pause and resume (1.2)
    playback_started: bool  # sinks report when they begin to play (1.3.11)
    playback_progressed: bool  # sinks report what they have played (1.7)
    progressive_frames: bool  # RoomIO's first frames are shorter (1.5)
    # `AgentSession.usage` makes the session's `metrics_collected` deprecated, and messages carry
    # the end-of-utterance delays themselves (1.5).
    usage: bool
    handoff_items: bool  # handoffs come as conversation items (1.5)
    events: frozenset[str]  # the names of the session's; no other is subscribed to


def probe() -> Capabilities:
    """Looks at the livekit-agents that is installed."""
    items = events.ConversationItemAddedEvent.model_fields["item"].annotation
    return Capabilities(
        labelled_input=_takes(io.AudioInput, "label"),
        output_options=_takes(io.AudioOutput, "capabilities"),
        playback_started=hasattr(io.AudioOutput, "on_playback_started"),
        playback_progressed=hasattr(io.AudioOutput, "on_playback_progressed"),
        progressive_frames=_takes(utils.audio.AudioByteStream, "progressive"),
        usage=hasattr(AgentSession, "usage"),
        handoff_items="AgentHandoff" in str(items),
        events=frozenset(get_args(events.EventTypes)),
    )


def _takes(of: type[Any], parameter: str) -> bool:
    return parameter in inspect.signature(of.__init__).parameters


def is_session(session: object) -> bool:
    return isinstance(session, AgentSession)


def is_running(session: Any) -> bool:
    """Whether `session.start()` was called before; a closed session still has its agent."""
    is_begun = getattr(session, "agent_state", None) != "initializing"
    return is_begun and current_agent(session) is not None


def started(session: Any) -> bool | None:
    """Whether a session is running, as livekit notes it; None where it does not."""
    noted = getattr(session, "_started", None)
    return noted if isinstance(noted, bool) else None


def current_agent(session: Any) -> Any:
    """The session's agent, or None while the session is not running."""
    try:
        return session.current_agent
    except RuntimeError:
        return None


def is_real_time(source: io.AudioInput) -> bool:
    """Whether this input hands its frames over as time passes."""
    return getattr(source, "label", "") in _REAL_TIME_INPUTS


def is_unpublish(frame: rtc.AudioFrame) -> bool:
    """Whether RoomIO made this frame up because the caller's track went away: long, and zeros."""
    is_long = frame.samples_per_channel >= _UNPUBLISHED * frame.sample_rate
    return is_long and not bytes(frame.data).strip(b"\0")


def sink_traits(chain: list[io.AudioOutput], can: Capabilities) -> SinkTraits:
    """What may be believed of a sink's reports; the last one of its chain plays the audio."""
    elsewhere = (avatar.QueueAudioOutput, avatar.DataStreamAudioOutput)
    traits = SinkTraits(
        reports_start=can.playback_started,
        reports_progress=can.playback_progressed,
        plays_elsewhere=any(isinstance(part, elsewhere) for part in chain),
    )
    if getattr(chain[-1], "label", "") != _ROOM:
        return traits
    return replace(
        traits,
        queue_seconds=_ROOM_QUEUE,
        frame_seconds=_ROOM_FRAME,
        first_frames_seconds=_ROOM_FIRST_FRAMES if can.progressive_frames else (),
        resume_seconds=_ROOM_RESUME,
    )
