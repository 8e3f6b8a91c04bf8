"""An `AgentSession` in which nothing reaches for the network.

Two defaults of livekit-agents 1.8 do: who interrupts whom is decided by a model in LiveKit's
cloud, and when a turn ends by a model of its own that may be downloaded. Both follow the bundled
voice activity detection here.
"""

from __future__ import annotations

from livekit.agents import AgentSession, inference, vad

from offline.recognition import PocketSphinxSTT, Recognizer


def load_vad() -> vad.VAD:
    """Load the voice activity detection that comes with livekit-agents."""
    # Longer than a comma of a synthetic voice, so that a sentence is one utterance.
    return inference.VAD(min_silence_duration=0.4)


def create_session(
    recognizer: Recognizer | None = None, activity: vad.VAD | None = None
) -> AgentSession[None]:
    """Create a session that listens; the agents bring minds and voices of their own.

    Args:
        recognizer: Given so that its model need not be loaded for this session alone.
        activity: A voice activity detection, likewise.
    """
    return AgentSession(
        stt=PocketSphinxSTT(recognizer),
        vad=activity or load_vad(),
        turn_handling={
            "turn_detection": "vad",
            "endpointing": {"mode": "fixed", "min_delay": 0.5, "max_delay": 1.0},
            "interruption": {"mode": "vad", "min_duration": 0.4},
        },
        aec_warmup_duration=None,  # no echo here, so the caller may cut in from the start
        session_close_transcript_timeout=0.5,  # for last words; by default 2 s, with the line dead
    )
