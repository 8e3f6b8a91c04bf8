"""The wire: what Roark is sent and answers. Keys marked additive go beyond today's live service."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from typing_extensions import NotRequired

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


class Placed(TypedDict):  # a moment: ISO 8601 in UTC, and its place on the recording
    timestamp: str
    audioOffsetMs: int


class TranscriptTurn(Placed):
    role: Literal["assistant", "user", "system"]
    content: str
    endTimestamp: NotRequired[str]
    endAudioOffsetMs: NotRequired[int]
    userId: NotRequired[str]
    language: NotRequired[str]
    id: NotRequired[str]  # additive, and what follows
    interrupted: NotRequired[bool]
    spokenPartUnknown: NotRequired[bool]  # its content may go on where the sound was cut
    confidence: NotRequired[float]
    agentId: NotRequired[str]
    metrics: NotRequired[dict[str, Any]]


class ToolUpdate(TypedDict):
    content: str
    timestamp: str


class ToolCall(Placed):
    kind: Literal["tool_call"]
    toolCallId: str
    name: str
    arguments: str
    isRunning: NotRequired[bool]  # additive: it had not returned when the call ended
    updates: NotRequired[list[ToolUpdate]]  # additive: what it said of its progress


class ToolResult(Placed):
    kind: Literal["tool_result"]
    toolCallId: str
    content: str
    isError: NotRequired[bool]  # additive
    message: NotRequired[str]  # additive: the error, where the model was told less
    durationMs: NotRequired[int]  # additive


ToolRow = ToolCall | ToolResult


class Metric(Placed):
    kind: Literal["eou", "stt", "llm", "tts", "agent"]
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


class Dtmf(Placed):
    digit: str


class CallEvent(Placed):
    kind: str
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


class Handoff(Placed):
    fromAgentId: NotRequired[str]
    toAgentId: str


class CallError(TypedDict):
    type: str
    message: str


class Recording(TypedDict):
    status: Literal["complete", "partial", "disabled", "failed"]
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
