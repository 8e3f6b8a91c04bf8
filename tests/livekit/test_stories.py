"""Recorded conversations: call-ended is the golden one, on every livekit-agents that tells it."""

from __future__ import annotations

import asyncio
import logging

import pytest
import pytest_asyncio

pytest.importorskip("livekit.agents")

from tests.support import livekit_features as has
from tests.support.golden import seen_and_golden
from tests.support.observed_calls import Call
from tests.support.scenarios import STORIES

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNTOLD = {
    "false_interruption": not has.USAGE,  # before 1.5 a speech may stay paused for ever
    "tts_error": not has.CLOSE_REASON,  # 1.0 takes for said what it could not say,
    "participant_leaves": not has.CLOSE_REASON,  # 1.0 goes on without the caller,
    "worker_shutdown": not has.CLOSE_REASON,  # and without the job
    "unfinished_tool": not has.TOOL_TIMES,
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    """All stories, at once."""
    folder = tmp_path_factory.mktemp("stories")
    telling = {
        name: story(folder / name) for name, story in STORIES.items() if not UNTOLD.get(name)
    }
    logging.getLogger("livekit.agents").setLevel(logging.CRITICAL)  # their errors are the point
    return dict(zip(telling, await asyncio.gather(*telling.values()), strict=True))


@pytest.mark.parametrize("name", STORIES)
async def test_a_story_arrives_as_it_was(told: dict[str, Call], name: str) -> None:
    """Compared with its golden file, without what differs from run to run."""
    if UNTOLD.get(name):
        pytest.skip("this livekit-agents does not tell it")
    seen, golden = seen_and_golden(name, told[name].ended)
    assert seen == golden
