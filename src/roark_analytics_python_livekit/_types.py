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


class ToolUpdate(TypedDict):
    content: str
    timestamp: str


class ToolCall(TypedDict):
    kind: Literal["tool_call"]
    toolCallId: str
    name: str
    arguments: str
    timestamp: str
    audioOffsetMs: int
    isRunning: NotRequired[bool]  # additive: it had not returned when the call ended
    updates: NotRequired[list[ToolUpdate]]  # additive: what it said of its progress


class ToolResult(TypedDict):
    kind: Literal["tool_result"]
    toolCallId: str
    content: str
    timestamp: str
    audioOffsetMs: int
    isError: NotRequired[bool]  # additive
    message: NotRequired[str]  # additive: the error, where the model was told less
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


class Usage(TypedDict):  # and whatever else livekit-agents counts of a model
    kind: str
    provider: str
    model: str
    inputTokens: NotRequired[int]
    inputCachedTokens: NotRequired[int]
    outputTokens: NotRequired[int]
    charactersCount: NotRequired[int]
    audioDuration: NotRequired[float]


class Span(TypedDict):
    startMs: int
    endMs: int


class Pause(Span):
    transcripts: NotRequired[bool]  # False: what was said in it was left out


class Agent(TypedDict):
    id: str
    instructions: str
    tools: list[str]


class Participant(TypedDict):
    identity: NotRequired[str]
    kind: NotRequired[str]
    name: NotRequired[str]
    sid: NotRequired[str]
    disconnectReason: NotRequired[str]
    attributes: NotRequired[dict[str, str]]


class Dtmf(TypedDict):
    digit: str
    timestamp: str
    audioOffsetMs: int


class CallEvent(TypedDict):
    kind: str
    timestamp: str
    audioOffsetMs: int
    resumed: NotRequired[bool]  # false_interruption
    isInterruption: NotRequired[bool]  # overlapping_speech, and what follows
    agentEnded: NotRequired[bool]
    detectionDelay: NotRequired[float]
    predictionDuration: NotRequired[float]
    totalDuration: NotRequired[float]
    probability: NotRequired[float]
    numRequests: NotRequired[int]
    speechDuration: NotRequired[float]  # transcription_timeout
    message: NotRequired[str]  # errors, and what follows
    recoverable: NotRequired[bool]
    source: NotRequired[str]


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
    pauses: list[Pause]


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
    durationMs: NotRequired[int]
    usage: NotRequired[list[Usage]]
    handoffs: NotRequired[list[Handoff]]
    agents: NotRequired[list[Agent]]
    agentPrompt: NotRequired[str]
    participant: NotRequired[Participant]
    dtmf: NotRequired[list[Dtmf]]
    events: NotRequired[list[CallEvent]]
    recording: NotRequired[Recording]
    delivery: NotRequired[DeliveryCounts]
    metadata: NotRequired[dict[str, Any]]
    sdk: NotRequired[Sdk]


Event = CallStarted | CallEnded
