"""A speech-to-speech model in memory: hears loudness, and answers from a script."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import llm
from livekit.agents.metrics import RealtimeModelMetrics

from tests.support.fake_agent import spoken, stream

SILENCE = 0.3  # seconds that end what the caller says
CAPABILITIES = {
    "turn_detection": True,
    "user_transcription": True,
    "audio_output": True,
    "auto_tool_reply_generation": True,
}
METRICS: dict[str, Any] = {
    "label": "speech to speech",
    "duration": 0.5,
    "ttft": 0.1,
    "cancelled": False,
    "input_tokens": 20,
    "output_tokens": 10,
    "total_tokens": 30,
    "tokens_per_second": 20.0,
    "input_token_details": {
        "audio_tokens": 15,
        "text_tokens": 5,
        "image_tokens": 0,
        "cached_tokens": 4,
        "cached_tokens_details": None,
    },
    "output_token_details": {"audio_tokens": 8, "text_tokens": 2, "image_tokens": 0},
}

ToolCall = tuple[str, dict[str, Any]]


def names_of(cls: Any) -> set[str]:
    """The fields that a dataclass of livekit's has in this version."""
    return {field.name for field in dataclasses.fields(cls)}


class ScriptedRealtime(llm.RealtimeModel):
    """Understands what the caller says, and says or calls what is answered, one pair a turn.

    What it says once a tool has returned is `after_tools`.
    """

    def __init__(
        self, script: list[tuple[str, str | ToolCall]], after_tools: str = "so it is"
    ) -> None:
        known = {name: CAPABILITIES.get(name, False) for name in names_of(llm.RealtimeCapabilities)}
        super().__init__(capabilities=llm.RealtimeCapabilities(**known))
        self.script = deque(script)
        self.after_tools = after_tools

    def session(self, **_: Any) -> llm.RealtimeSession:
        return _Session(self)

    async def aclose(self) -> None: ...


def _nothing(*_: Any, **__: Any) -> Any: ...


async def _nothing_later(*_: Any, **__: Any) -> Any: ...


class _Session(llm.RealtimeSession):  # type: ignore[type-arg]  # no events of its own
    tools = llm.ToolContext([])
    update_options = push_video = generate_reply = commit_audio = clear_audio = _nothing
    interrupt = truncate = _nothing
    update_instructions = update_tools = aclose = _nothing_later

    def __init__(self, model: ScriptedRealtime) -> None:
        super().__init__(model)
        self._script = model.script
        self._after_tools = model.after_tools
        self._chat_ctx = llm.ChatContext.empty()
        self._speaking = False
        self._quiet = 0.0
        self._turn = 0

    @property
    def chat_ctx(self) -> llm.ChatContext:
        return self._chat_ctx.copy()

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext) -> None:
        returned = _outputs(chat_ctx) > _outputs(self._chat_ctx)
        self._chat_ctx = chat_ctx.copy()
        if returned:
            self._generate(self._after_tools)

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        loud = bool(np.abs(np.frombuffer(frame.data, np.int16)).max(initial=0) > 500)
        self._quiet = 0.0 if loud else self._quiet + frame.duration
        if loud and not self._speaking:
            self._speaking = True
            self.emit("input_speech_started", llm.InputSpeechStartedEvent())
        elif self._speaking and self._quiet >= SILENCE:
            self._speaking = False
            self._answer()

    def _answer(self) -> None:
        self.emit("input_speech_stopped", llm.InputSpeechStoppedEvent(True))
        if not self._script:
            return
        heard, answer = self._script.popleft()
        sure = {"confidence": 0.75}
        known = sure if "confidence" in names_of(llm.InputTranscriptionCompleted) else {}
        self.emit(
            "input_audio_transcription_completed",
            llm.InputTranscriptionCompleted(f"user_{self._turn + 1}", heard, True, **known),
        )
        self._generate(answer)

    def _generate(self, answer: str | ToolCall) -> None:
        self._turn += 1
        about = {"request_id": f"response_{self._turn}", "timestamp": time.time()}
        self.emit("metrics_collected", RealtimeModelMetrics(**METRICS, **about))
        said = isinstance(answer, str)
        messages = [self._message(answer)] if said else []
        calls = [] if said else [self._function_call(*answer)]
        self.emit(
            "generation_created",
            llm.GenerationCreatedEvent(
                message_stream=_each(messages), function_stream=_each(calls), user_initiated=False
            ),
        )

    def _message(self, text: str) -> llm.MessageGeneration:
        known: dict[str, Any] = {}
        if "modalities" in names_of(llm.MessageGeneration):
            known["modalities"] = asyncio.get_running_loop().create_future()
            known["modalities"].set_result(["text", "audio"])
        return llm.MessageGeneration(
            message_id=f"agent_{self._turn}",
            text_stream=_each([text]),
            audio_stream=stream(spoken(text)),
            **known,
        )

    def _function_call(self, name: str, arguments: dict[str, Any]) -> llm.FunctionCall:
        text = json.dumps(arguments)
        return llm.FunctionCall(call_id=f"call_{self._turn}", name=name, arguments=text)


def _outputs(chat_ctx: llm.ChatContext) -> int:
    return sum(item.type == "function_call_output" for item in chat_ctx.items)


async def _each(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
