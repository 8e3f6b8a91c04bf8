"""The wire: what Roark is sent and answers. Keys marked additive go beyond today's live service."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from typing_extensions import NotRequired

Role = Literal["assistant", "user", "system"]
MetricKind = Literal["eou", "stt", "llm", "tts", "agent"]
RecordingStatus = Literal["complete", "partial", "disabled", "failed"]
ContentType = Literal["audio/pcm", "audio/wav"]


class Sdk(TypedDict):
    name: str
    version: str
    livekitAgentsVersion: NotRequired[str]
    python: str


class CallStarted(TypedDict):
    event: Literal["call-started"]
    livekitCallId: str
    eventTimestamp: str
    agentId: str
    isTest: bool
    agentName: NotRequired[str]
    agentPrompt: NotRequired[str]
    jobId: NotRequired[str]
    roomName: NotRequired[str]
    roomSid: NotRequired[str]
    participantIdentity: NotRequired[str]
    metadata: NotRequired[dict[str, Any]]  # additive
    sdk: NotRequired[Sdk]  # additive


class TranscriptTurn(TypedDict):
    role: Role
    content: str
    timestamp: str
    endTimestamp: NotRequired[str]
    audioOffsetMs: int
    endAudioOffsetMs: NotRequired[int]
    userId: NotRequired[str]
    language: NotRequired[str]
    id: NotRequired[str]  # additive, and what follows
    interrupted: NotRequired[bool]
    confidence: NotRequired[float]
    agentId: NotRequired[str]
    metrics: NotRequired[dict[str, Any]]


class ToolCall(TypedDict):
    kind: Literal["tool_call"]
    toolCallId: str
    name: str
    arguments: str
    timestamp: str
    audioOffsetMs: int


class ToolResult(TypedDict):
    kind: Literal["tool_result"]
    toolCallId: str
    content: str
    timestamp: str
    audioOffsetMs: int
    isError: NotRequired[bool]  # additive
    durationMs: NotRequired[int]  # additive


ToolRow = ToolCall | ToolResult


class Metric(TypedDict):
    kind: MetricKind
    timestamp: str
    audioOffsetMs: int
    endOfUtteranceDelay: NotRequired[float]
    transcriptionDelay: NotRequired[float]
    onConversationItemAddedDelay: NotRequired[float]
    ttft: NotRequired[float]
    duration: NotRequired[float]
    ttfb: NotRequired[float]
    audioDuration: NotRequired[float]
    promptTokens: NotRequired[int]
    completionTokens: NotRequired[int]
    totalTokens: NotRequired[int]
    cachedTokens: NotRequired[int]
    tokensPerSecond: NotRequired[float]
    streamed: NotRequired[bool]
    extra: NotRequired[dict[str, Any]]


class Span(TypedDict):
    startMs: int
    endMs: int


class Handoff(TypedDict):
    fromAgentId: NotRequired[str]
    toAgentId: str
    timestamp: str
    audioOffsetMs: int


class CallError(TypedDict):
    type: str
    message: str


class Recording(TypedDict):
    status: RecordingStatus
    reason: NotRequired[str]
    chunkCount: int
    byteCount: int
    durationMs: int
    sha256: NotRequired[str]
    gaps: list[Span]
    pauses: list[Span]


class DeliveryCounts(TypedDict):
    attempts: int
    retries: int
    dropped: dict[str, int]
    recovered: bool


class CallEnded(TypedDict):
    event: Literal["call-ended"]
    livekitCallId: str
    eventTimestamp: str
    callStartedAt: str
    callEndedAt: str
    callEndedReason: str
    agentSpokeFirst: NotRequired[bool]
    recordingSampleRate: NotRequired[int]
    recordingNumChannels: NotRequired[int]
    transcript: NotRequired[list[TranscriptTurn]]
    toolCalls: NotRequired[list[ToolRow]]
    metrics: NotRequired[list[Metric]]
    endedBy: NotRequired[str]  # additive, and what follows
    error: NotRequired[CallError]
    usage: NotRequired[list[dict[str, Any]]]
    handoffs: NotRequired[list[Handoff]]
    recording: NotRequired[Recording]
    delivery: NotRequired[DeliveryCounts]
    metadata: NotRequired[dict[str, Any]]
    sdk: NotRequired[Sdk]


Event = CallStarted | CallEnded
