"""`observe_session` and the call's handle: puts the parts together, owns the life cycle."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from ._call.facts import CallFacts
from ._call.privacy import Redact, check_redact
from ._call.records import Record, SwitchRecord
from ._config import (
    DEFAULT_SHUTDOWN_TIMEOUT,
    RecordingMode,
    Settings,
    SettingsError,
    SpoolDir,
    UseDefault,
    observability_enabled,
    resolve_settings,
    shown,
)
from ._delivery.stats import CallStats as CallStats
from ._delivery.worker import Worker
from ._diagnostics import Guard, logger
from ._metadata import merged, metadata_of
from ._pipeline import CallPipeline, CallSetup
from ._process import observed_sessions
from ._serialize import clean_text
from ._version import __version__
from .client import RoarkClient

# Here and not in `observe_session`: an import takes time, which the agent's event loop has not.
try:
    from ._livekit import agents, compat, job
    from ._livekit.observer import Observation
    from ._livekit.taps import RtcResampler
except ImportError:  # without livekit-agents the client and the mixer still work
    compat = None  # type: ignore[assignment]  # checked where it is used

if TYPE_CHECKING:
    from livekit.agents import AgentSession, JobContext

GRACE = 0.5  # seconds on top of the budget, for the thread to wind up


class CallHandle:
    """One observed call. Every method is safe at any time, raises nothing and blocks nothing.

    The handle is falsy and inert where nothing is observed: switched off by
    `ROARK_OBSERVABILITY_ENABLED`, or set up in a way that cannot work (said in a warning).

    Attributes:
        livekit_call_id: The call's id at Roark; empty for an inert handle.
    """

    def __init__(self, livekit_call_id: str = "", parts: _Parts | None = None) -> None:
        self.livekit_call_id = livekit_call_id
        self._parts = parts

    def __bool__(self) -> bool:
        return self._parts is not None

    def __repr__(self) -> str:
        return f"CallHandle({self.livekit_call_id!r})" if self else "CallHandle(inert)"

    async def aflush(self, reason: str = "flushed") -> None:
        """Ends the observation and waits until the call is delivered or its budget is spent.

        Not needed in a job: the session's close and the job's shutdown do it. Calling it again
        waits again, and sends nothing twice.

        Args:
            reason: What is sent as `callEndedReason` where the session has not closed before.
        """
        if self._parts is not None:
            await self._parts.end("aflush", reason)

    def add_metadata(self, **metadata: Any) -> None:
        """Adds to the call's metadata; later values replace earlier ones of the same name.

        `metadata={...}` is more of it, of any name.
        """
        self._put({"type": "metadata", "values": merged(metadata)})

    def pause_recording(self, *, transcripts: bool = True) -> None:
        """Silences both channels of the recording from now on; its time line goes on.

        Args:
            transcripts: False also leaves out what is said, which tools run and which keys are
                pressed until the recording is resumed: every turn of which some part falls in
                the pause.
        """
        record: SwitchRecord = {"type": "switch", "at": time.monotonic(), "on": False}
        if not transcripts:
            record["transcripts"] = False
        self._put(record)

    def resume_recording(self) -> None:
        """Ends the silence that `pause_recording` began."""
        self._put({"type": "switch", "at": time.monotonic(), "on": True})

    @property
    def stats(self) -> CallStats:
        """What was sent, repeated and given up so far."""
        if self._parts is None or self._parts.pipeline.call is None:
            return CallStats(done=self._parts is None or self._parts.worker.done)
        stats = self._parts.pipeline.call.uploader.stats
        return stats.snapshot(done=self._parts.worker.done)

    def _put(self, record: Record) -> None:
        if self._parts is not None:
            self._parts.worker.queue.put_urgent(record)


@dataclass(frozen=True)
class _Parts:
    """What an active handle holds."""

    observation: Observation
    worker: Worker
    pipeline: CallPipeline
    guard: Guard
    budget: float

    async def end(self, where: str, reason: str, ended_by: str | None = None) -> None:
        """Ends what has not ended before, and waits for its delivery."""
        with self.guard(where):
            await self.observation.end(str(reason), ended_by=ended_by)
            await self.worker.wait(self.budget + GRACE)

    async def shut_down(self, reason: str) -> None:
        """The job is over."""
        await self.end("shutdown", reason, ended_by="worker")


async def observe_session(
    ctx: JobContext,
    session: AgentSession[Any],
    *,
    api_key: str | None = None,
    agent_id: str,
    agent_name: str | None = None,
    agent_prompt: str | None = None,
    livekit_call_id: str | None = None,
    capture_audio: bool = True,
    capture_logs: bool = True,
    is_test: bool = False,
    base_url: str | None = None,
    recording: RecordingMode = "chunks",
    shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT,
    spool_dir: SpoolDir = UseDefault.SPOOL_DIR,
    redact: Callable[[str], str] | None = None,
    client: RoarkClient | None = None,
    **metadata: Any,
) -> CallHandle:
    """Observes one call and ships it to Roark, without the agent noticing.

    Call it once, after `await ctx.connect()` and before `await session.start(...)`. It waits for
    nothing and raises nothing: what cannot work is said in one warning, and the call goes on.

    Args:
        ctx: The job's context.
        session: The agent session to observe.
        api_key: The key of the LiveKit integration; `ROARK_API_KEY` where it is not given.
        agent_id: Your id of the agent.
        agent_name: How the agent is called at Roark.
        agent_prompt: The agent's instructions, to be shown with the call.
        livekit_call_id: The call's id; by default the LiveKit room's session id. Each session is
            a call of its own: the second one of a job has `-2` behind its id, and so on.
        capture_audio: False records nothing, as `recording="off"`.
        capture_logs: Reserved: logs are not captured, whatever it says.
        is_test: Marks the call as a test.
        base_url: Roark's origin; `ROARK_BASE_URL`, else `https://api.roark.ai`.
        recording: "chunks" uploads the audio while the call goes on, "wav" one finished stereo
            WAV at its end, "off" none. Left is the caller, right the agent.
        shutdown_timeout: Seconds that the delivery may take once the call is over. A LiveKit job
            is killed 10 s after it was asked to stop.
        spool_dir: Where calls are kept until they are delivered, so that a killed process loses
            next to nothing: the next one on this disk delivers the rest. By default
            `ROARK_SPOOL_DIR`, else the user's state directory; None keeps them in memory.
        redact: Applied to every transcript text, prompt, tool argument and result, metadata value,
            error message and phone number before it is stored or sent, on a thread of its own.
            Where it raises, a marker stands in the text's place. `redaction.redact_pii` is a
            ready-made one.
        client: A client to use instead of one made from `api_key` and `base_url`.
        **metadata: Anything worth knowing about the call; JSON values, others as their `str()`.
            `metadata={...}` is more of it, of any name. API keys in it are not sent.

    Returns:
        The call's handle; falsy and inert where nothing is observed.

    Example:
        ```python
        async def entrypoint(ctx: JobContext) -> None:
            await ctx.connect()
            session = AgentSession(stt=..., llm=..., tts=...)
            await observe_session(ctx, session, agent_id="support", plan="gold")
            await session.start(agent=Support(), room=ctx.room)
        ```
    """
    guard = Guard()
    with guard("observe_session"):
        try:
            if not observability_enabled():
                return CallHandle()
            if not isinstance(client, (RoarkClient, type(None))):
                raise SettingsError(f"client must be a RoarkClient, not {shown(client)}")
            metadata = metadata_of(metadata, _OPTIONS)
            settings = resolve_settings(
                api_key=api_key if client is None else client.api_key,
                base_url=base_url if client is None else client.base_url,
                agent_id=agent_id,
                agent_name=agent_name,
                agent_prompt=agent_prompt,
                is_test=is_test,
                capture_audio=capture_audio,
                recording=recording,
                shutdown_timeout=shutdown_timeout,
                spool_dir=spool_dir,
            )
            check_redact(redact)
        except SettingsError as error:
            logger.warning("roark: nothing is observed: %s", error)
            return CallHandle()
        return _observe(ctx, session, settings, livekit_call_id, client, redact, metadata, guard)
    return CallHandle()


_OPTIONS = tuple(inspect.signature(observe_session).parameters)[2:]  # behind ctx and session


def _observe(
    ctx: Any,
    session: Any,
    settings: Settings,
    livekit_call_id: str | None,
    client: RoarkClient | None,
    redact: Redact | None,
    metadata: Mapping[str, Any],
    guard: Guard,
) -> CallHandle:
    if compat is None:
        logger.warning("roark: nothing is observed: livekit-agents cannot be imported")
        return CallHandle()
    if not compat.is_session(session):
        logger.warning("roark: nothing is observed: %s is no AgentSession", type(session).__name__)
        return CallHandle()
    if (known := observed_sessions.handle_of(session)) is not None:
        logger.warning("roark: this session is observed already; the first handle goes on")
        return cast(CallHandle, known)
    if compat.is_running(session):
        logger.warning("roark: observing after session.start(): what came before is missing")
    for advice in settings.advice:
        logger.warning("roark: %s", advice)

    call_id = clean_text(str(livekit_call_id or job.call_id(ctx) or uuid.uuid4()))
    own_id = observed_sessions.own_id(ctx, call_id)
    if own_id != call_id:
        logger.info(
            "roark: this job has a call %s already; this session is call %s", call_id, own_id
        )
    facts = _facts(ctx, session, settings, own_id)
    setup = CallSetup(
        facts,
        metadata,
        recording=settings.recording,
        spool_dir=settings.spool_dir,
        budget=settings.shutdown_timeout,
        redact=redact,
    )
    # Its own connections: a pool of httpx's looks at all of them for each request.
    client = client or RoarkClient(settings.api_key, base_url=settings.base_url)
    pipeline = CallPipeline(setup, client, RtcResampler, guard=guard)
    worker = Worker(pipeline.run, name=f"roark-{facts.call_id}", budget=setup.budget)
    observation = Observation(
        session, worker.queue, guard, audio=setup.recording != "off", room=job.room_of(ctx)
    )
    worker.start()
    parts = _Parts(observation, worker, pipeline, guard, setup.budget)
    handle = CallHandle(facts.call_id, parts)
    job.on_shutdown(ctx, parts.shut_down)
    observed_sessions.add(session, handle, observation)
    with guard("attaching"):  # whatever happens to it, somebody ends the call
        observation.attach()
    return handle


def _facts(ctx: Any, session: Any, settings: Settings, call_id: str) -> CallFacts:
    return CallFacts(
        call_id=call_id,
        agent_id=settings.agent_id,
        agent_name=settings.agent_name,
        agent_prompt=settings.agent_prompt or agents.prompt_of(session),
        is_test=settings.is_test,
        job=job.job_facts(ctx),
        versions={"sdk": __version__, "livekit-agents": compat.LIVEKIT_AGENTS_VERSION},
        started_at=datetime.now(timezone.utc),
        started=time.monotonic(),
    )
