"""A file as a user writes it; a test has mypy check it, strictly. It is never run."""

from collections.abc import Mapping
from uuid import uuid4

from livekit.agents import Agent, AgentSession, JobContext

import roark_analytics_python_livekit as roark
from roark_analytics_python_livekit import CallHandle, CallStats, RoarkClient, observe_session


async def as_in_the_readme(ctx: JobContext) -> None:
    """One line."""
    await ctx.connect()
    session: AgentSession[None] = AgentSession()
    await observe_session(ctx, session, agent_id="support")
    await session.start(agent=Agent(instructions="Be kind."), room=ctx.room)


async def as_before(ctx: JobContext, session: AgentSession[dict[str, str]]) -> str:
    """With everything that the published package took."""
    state = await observe_session(
        ctx,
        session,
        api_key="rk_live_replace_me",
        agent_id="support",
        agent_name=None,
        agent_prompt="Be kind.",
        livekit_call_id=None,
        capture_audio=True,
        capture_logs=True,
        is_test=False,
        plan="gold",
        tries=3,
    )
    await state.aflush(reason="done")
    return state.livekit_call_id


async def with_every_option(ctx: JobContext, session: AgentSession[None]) -> Mapping[str, int]:
    """What is new, and the handle."""
    async with RoarkClient("rk_live_replace_me", base_url="http://localhost:8787") as client:
        call = await observe_session(
            ctx,
            session,
            agent_id="support",
            recording="wav",
            shutdown_timeout=5,
            client=client,
        )
        if not call:
            return {}
        call.pause_recording()
        call.resume_recording()
        call.add_metadata(order="NW-4471", items=[1, 2])
        await call.aflush()
        if call.stats.done and not call.stats.undelivered:
            print(call.stats.events_sent, call.stats.chunks_sent, call.stats.bytes_sent)
        return call.stats.dropped


def as_they_are_annotated(call: CallHandle) -> CallStats:
    """What is returned has a name to write down."""
    return call.stats


async def with_the_client_as_before(pcm: bytes) -> bool:
    """With every method that the published package has."""
    client = RoarkClient(api_key="rk_live_replace_me")
    done = await client.post_call_started({"event": "call-started"})
    answer = await client.request_chunk_upload_url(livekit_call_id="RM_1", chunk_index=0)
    if answer is not None:
        done &= await client.upload_chunk(upload_url=answer["uploadUrl"], body=pcm)
    done &= await client.post_call_ended({"event": "call-ended"})
    await client.aclose()
    return done


async def with_the_client_alone() -> None:
    """Without livekit."""
    async with RoarkClient("rk_live_replace_me") as client:
        await client.post_event({"event": "call-started"}, idempotency_key=str(uuid4()))
        upload = await client.create_upload("RM_1", 0, "audio/pcm")
        await client.upload(upload, b"", size=0)
    print(roark.__version__)


async def what_is_wrong_is_found(ctx: JobContext, session: AgentSession[None]) -> None:
    """Each of these is an error to mypy; were it none, the comment would be one."""
    await observe_session(ctx, session)  # type: ignore[call-arg]  # no agent_id
    await observe_session(ctx, session, agent_id=5)  # type: ignore[arg-type]  # no text
    await observe_session(
        ctx,
        session,
        agent_id="support",
        recording="mp3",  # type: ignore[arg-type]  # none of "chunks", "wav", "off"
    )
    await observe_session(ctx, session, "key", agent_id="a")  # type: ignore[call-arg]  # by name
