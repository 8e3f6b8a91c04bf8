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

from tests.support.fake_agent import frames_of, spoken

SILENCE = 0.3  # seconds that end what the caller says
CAPABILITIES = {
    "turn_detection": True,
    "user_transcription": True,
    "audio_output": True,
    "auto_tool_reply_generation": True,
}

ToolCall = tuple[str, dict[str, Any]]


class ScriptedRealtime(llm.RealtimeModel):
    """Understands and answers as it was told, in this order.

    Args:
        script: (what the caller says, what is answered), one a turn. An answer may be a tool's
            call; what is said when it has returned is `after_tools`.
        after_tools: See above.
    """

    def __init__(
        self, script: list[tuple[str, str | ToolCall]], after_tools: str = "so it is"
    ) -> None:
        fields = dataclasses.fields(llm.RealtimeCapabilities)
        known = {field.name: CAPABILITIES.get(field.name, False) for field in fields}
        super().__init__(capabilities=llm.RealtimeCapabilities(**known))
        self.script = deque(script)
        self.after_tools = after_tools

    def session(self, **_: Any) -> llm.RealtimeSession:
        return _Session(self)

    async def aclose(self) -> None: ...


class _Session(llm.RealtimeSession):  # type: ignore[type-arg]  # no events of its own
    def __init__(self, model: ScriptedRealtime) -> None:
        super().__init__(model)
        self._script = model.script
        self._after_tools = model.after_tools
        self._chat_ctx = llm.ChatContext.empty()
        self._tools = llm.ToolContext([])
        self._speaking = False
        self._quiet = 0.0
        self._turn = 0

    @property
    def chat_ctx(self) -> llm.ChatContext:
        return self._chat_ctx.copy()

    @property
    def tools(self) -> llm.ToolContext:
        return self._tools

    async def update_instructions(self, instructions: str) -> None: ...

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext) -> None:
        returned = len(_outputs(chat_ctx)) > len(_outputs(self._chat_ctx))
        self._chat_ctx = chat_ctx.copy()
        if returned:
            self._turn += 1
            self.emit("generation_created", self._generation(self._after_tools))

    async def update_tools(self, tools: Any) -> None: ...

    def update_options(self, **_: Any) -> None: ...

    def push_video(self, frame: rtc.VideoFrame) -> None: ...

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
        self._turn += 1
        self.emit(
            "input_audio_transcription_completed",
            llm.InputTranscriptionCompleted(f"user_{self._turn}", heard, True, **confidence()),
        )
        self.emit("generation_created", self._generation(answer))

    def _generation(self, answer: str | ToolCall) -> llm.GenerationCreatedEvent:
        self._measure()
        called = [] if isinstance(answer, str) else [self._function_call(*answer)]
        said = [answer] if isinstance(answer, str) else []
        return llm.GenerationCreatedEvent(
            message_stream=_each([self._message(text) for text in said]),
            function_stream=_each(called),
            user_initiated=False,
        )

    def _message(self, text: str) -> llm.MessageGeneration:
        known: dict[str, Any] = {
            "message_id": f"agent_{self._turn}",
            "text_stream": _each([text]),
            "audio_stream": _sound(text),
        }
        if "modalities" in {field.name for field in dataclasses.fields(llm.MessageGeneration)}:
            modalities: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
            modalities.set_result(["text", "audio"])
            known["modalities"] = modalities
        return llm.MessageGeneration(**known)

    def _function_call(self, name: str, arguments: dict[str, Any]) -> llm.FunctionCall:
        return llm.FunctionCall(
            call_id=f"call_{self._turn}", name=name, arguments=json.dumps(arguments)
        )

    def _measure(self) -> None:
        known: dict[str, Any] = {
            "label": "speech to speech",
            "request_id": f"response_{self._turn}",
            "timestamp": time.time(),
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
        self.emit("metrics_collected", RealtimeModelMetrics(**known))

    def generate_reply(self, **_: Any) -> asyncio.Future[llm.GenerationCreatedEvent]:
        raise NotImplementedError

    def commit_audio(self) -> None: ...

    def clear_audio(self) -> None: ...

    def interrupt(self) -> None: ...

    def truncate(self, **_: Any) -> None: ...

    async def aclose(self) -> None: ...


def confidence() -> dict[str, Any]:
    """How sure it is of what it heard, where that can be said."""
    known = {field.name for field in dataclasses.fields(llm.InputTranscriptionCompleted)}
    return {"confidence": 0.75} if "confidence" in known else {}


def _outputs(chat_ctx: llm.ChatContext) -> list[Any]:
    return [item for item in chat_ctx.items if item.type == "function_call_output"]


async def _each(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def _sound(text: str) -> AsyncIterator[rtc.AudioFrame]:
    for frame in frames_of(spoken(text)):
        yield frame
        await asyncio.sleep(0)
