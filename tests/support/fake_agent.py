"""A voice agent in memory whose every sound is known: for each livekit-agents 1.x.

Speech is a burst of noise that only one text makes, so that it is found by correlation. The
caller's words are told to the recognizer beforehand; the rest is livekit's own session.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import zlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from livekit import agents, rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    Agent,
    ToolError,
    function_tool,
    llm,
    stt,
    vad,
)

RATE = 24_000
SECONDS_PER_WORD = 0.25
_ENGLISH: Any = getattr(agents, "LanguageCode", str)("en")  # a type of its own in newer ones

Samples = npt.NDArray[np.int16]


def spoken(text: str) -> Samples:
    """What `text` sounds like: noise of its own, 0.25 s a word, at 24 kHz."""
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    count = round(len(text.split()) * SECONDS_PER_WORD * RATE)
    return (rng.normal(0, 5000, count).clip(-32000, 32000)).astype(np.int16)


def frames_of(samples: Samples, seconds: float = 0.1) -> list[rtc.AudioFrame]:
    """Samples at 24 kHz as livekit frames."""
    size = round(seconds * RATE)
    return [
        rtc.AudioFrame(part.tobytes(), RATE, 1, len(part))
        for part in (samples[i : i + size] for i in range(0, len(samples), size))
    ]


class EnergyVAD(vad.VAD):
    """Hears speech where there is any sound."""

    def __init__(self) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.05))

    def stream(self) -> vad.VADStream:
        return _EnergyStream(self)


class _EnergyStream(vad.VADStream):
    SILENCE = 0.2  # seconds that end an utterance

    async def _main_task(self) -> None:
        self._speaking = False
        self._speech, self._silence, self._index = 0.0, 0.0, 0
        heard: list[rtc.AudioFrame] = []
        async for frame in self._input_ch:
            if not isinstance(frame, rtc.AudioFrame):
                continue
            loud = bool(np.abs(np.frombuffer(frame.data, np.int16)).max() > 500)
            self._index += frame.samples_per_channel
            if loud and not self._speaking:
                self._speaking, self._speech, heard = True, 0.0, []
                self._send(vad.VADEventType.START_OF_SPEECH, [])
            if self._speaking:
                heard.append(frame)
                self._speech += frame.duration
                self._silence = 0.0 if loud else self._silence + frame.duration
            self._send(vad.VADEventType.INFERENCE_DONE, [frame])
            if self._speaking and self._silence >= self.SILENCE:
                self._speaking = False
                self._send(vad.VADEventType.END_OF_SPEECH, heard)
                self._speech = 0.0

    def _send(self, kind: vad.VADEventType, frames: list[rtc.AudioFrame]) -> None:
        event = vad.VADEvent(
            type=kind,
            samples_index=self._index,
            timestamp=self._index / RATE,
            speech_duration=self._speech,
            silence_duration=self._silence,
            frames=frames,
            probability=float(self._speaking),
            speaking=self._speaking,
            raw_accumulated_silence=self._silence,
            raw_accumulated_speech=self._speech,
        )
        self._event_ch.send_nowait(event)


class ScriptedSTT(stt.STT[Any]):
    """Understands what it was told would be said."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self.script: deque[str] = deque()

    async def _recognize_impl(self, buffer: Any, **_: Any) -> stt.SpeechEvent:
        text = self.script.popleft() if self.script else ""
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(language=_ENGLISH, text=text)],
        )


ToolCalls = list[tuple[str, dict[str, Any]]]
Answer = str | ToolCalls | Exception


class ScriptedLLM(llm.LLM):
    """Answers what the caller (or a tool) said last from a table."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__()
        self._answers = answers
        self.calls = itertools.count(1)

    def chat(self, *, chat_ctx: llm.ChatContext, tools: Any = None, **options: Any) -> Any:
        return _ScriptedStream(
            self,
            self._answer(chat_ctx),
            chat_ctx=chat_ctx,
            tools=tools or [],
            conn_options=options.get("conn_options", DEFAULT_API_CONNECT_OPTIONS),
        )

    def _answer(self, chat_ctx: llm.ChatContext) -> Answer:
        for item in reversed(chat_ctx.items):
            if item.type == "function_call_output":
                return self._answers.get(item.output, f"so {item.output}")
            if item.type == "message" and item.role == "user":
                return self._answers.get(item.text_content or "", "pardon me")
        return "hello"


class _ScriptedStream(llm.LLMStream):
    def __init__(self, model: ScriptedLLM, answer: Answer, **options: Any) -> None:
        super().__init__(model, **options)
        self._model = model
        self._answer = answer

    async def _run(self) -> None:
        if isinstance(self._answer, Exception):
            raise self._answer
        if isinstance(self._answer, str):
            self._send(content=self._answer)
        else:
            self._send(tool_calls=[self._tool_call(*call) for call in self._answer])
        usage = llm.CompletionUsage(completion_tokens=5, prompt_tokens=7, total_tokens=12)
        self._event_ch.send_nowait(llm.ChatChunk(id="chunk", usage=usage))

    def _send(self, **delta: Any) -> None:
        self._event_ch.send_nowait(
            llm.ChatChunk(id="chunk", delta=llm.ChoiceDelta(role="assistant", **delta))
        )

    def _tool_call(self, name: str, arguments: dict[str, Any]) -> llm.FunctionToolCall:
        return llm.FunctionToolCall(
            name=name, arguments=json.dumps(arguments), call_id=f"call_{next(self._model.calls)}"
        )


class NoisyAgent(Agent):
    """An agent whose voice is `spoken`, as a TTS gives it: a burst of frames."""

    def __init__(self, greeting: str | None = None, **options: Any) -> None:
        super().__init__(instructions=options.pop("instructions", "Be brief."), **options)
        self._greeting = greeting

    async def on_enter(self) -> None:
        if self._greeting is not None:
            self.session.say(self._greeting, audio=stream(spoken(self._greeting)))

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: Any
    ) -> AsyncIterator[rtc.AudioFrame]:
        whole = "".join([part async for part in text]).strip()
        for frame in frames_of(spoken(whole)):
            yield frame


async def stream(samples: Samples) -> AsyncIterator[rtc.AudioFrame]:
    for frame in frames_of(samples):
        yield frame
        await asyncio.sleep(0)  # all at once is over for 1.3 before it was told that it began


async def until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    """Waits for a condition that the session's own progress will make true."""

    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), timeout)


ORDER, ANSWER = "where is my order please", "it is on its way"
LONG = "once upon a time " + "very " * 24 + "long ago"
STOP, STOPPED = "stop that right now", "of course"
ID = {"order_id": "427"}
ON_ITS_WAY = "order 427 is on its way"  # what the tool says


class Desk(NoisyAgent):
    """Tools that answer, and tools that do not."""

    def __init__(self, greeting: str | None = None) -> None:
        super().__init__(greeting, instructions="Answer briefly.")
        self.waiting = asyncio.Event()
        self.never = asyncio.Event()

    @function_tool
    async def lookup_order(self, order_id: str) -> str:
        """Looks an order up."""
        return f"order {order_id} is on its way"

    @function_tool
    async def weather(self, place: str) -> dict[str, Any]:
        """Gives an object."""
        return {"place": place, "degrees": 21.5}

    @function_tool
    async def note_down(self) -> None:
        """Gives nothing."""

    @function_tool
    async def issue_refund(self) -> str:
        """Refuses."""
        raise ToolError("refunds are closed")

    @function_tool
    async def break_down(self) -> str:
        """Fails by an error of its own."""
        raise ValueError("no connection to the ledger")

    @function_tool
    async def search(self) -> str:
        """Takes longer than the call."""
        self.waiting.set()
        await self.never.wait()
        return "found"
