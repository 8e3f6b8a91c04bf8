"""What the installed livekit-agents tells, by what can be seen of it: never by its version."""

from __future__ import annotations

import inspect
from typing import get_args

from livekit.agents import AgentSession, llm
from livekit.agents.voice import events, io
from livekit.agents.voice.agent_activity import AgentActivity

CLOSE_REASON = "reason" in events.CloseEvent.model_fields  # 1.1
LANGUAGE = "language" in events.UserInputTranscribedEvent.model_fields  # 1.2
FALSE_INTERRUPTION = "agent_false_interruption" in get_args(events.EventTypes)  # 1.2
PAUSE = hasattr(io.AudioOutput, "pause")  # 1.2
MODEL_NAMES = hasattr(llm.LLM, "model")  # 1.3, and metrics that carry them
PLAYBACK_STARTED = hasattr(io.AudioOutput, "on_playback_started")  # 1.3.11
MESSAGE_METRICS = "metrics" in llm.ChatMessage.model_fields  # 1.3.3
USAGE = hasattr(AgentSession, "usage")  # 1.5
TOOL_TIMES = "tool_execution_updated" in get_args(events.EventTypes)  # 1.6
WHOLE_HISTORY = "silent" in getattr(  # 1.8: also calls of a turn that was cut, or not answered
    getattr(events, "ToolCallUpdated", None), "model_fields", ()
)
CONFIDENCE = "confidence" in inspect.getsource(  # of what a realtime model heard (1.8)
    AgentActivity._on_input_audio_transcription_completed
)
ALL_DELAYS = TOOL_TIMES or not USAGE  # 1.5 leaves some out where a turn was cut or not answered
