"""A job without a worker: what LiveKit's job process does at the end, which a fake job lacks."""

from __future__ import annotations

import asyncio

from livekit.agents import JobContext


async def end_job(ctx: JobContext, reason: str = "") -> None:
    """Run a fake job's shutdown callbacks and clean up after it, as a job process does.

    `fake_job_context` has no end of a job, and LiveKit no public way to one: this is the only
    place here that reaches behind a public name.
    """
    try:
        await asyncio.gather(*(callback(reason) for callback in ctx._shutdown_callbacks))
    finally:
        await ctx._on_cleanup()
