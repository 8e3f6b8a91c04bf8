"""What the caller said and livekit made no turn of, because nobody was to answer it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("livekit.agents")

from livekit.agents import StopResponse

from tests.support.fake_agent import NoisyAgent, until
from tests.support.observed_calls import a_call

ASIDE, ORDER, ANSWER = "i talk to my dog", "where is my order please", "it is on its way"


class Discreet(NoisyAgent):
    """Does not answer what is not meant for it."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_over = 0

    async def on_user_turn_completed(self, turn_ctx: Any, new_message: Any) -> None:
        if new_message.text_content == ASIDE:
            self.passed_over += 1
            raise StopResponse


async def test_what_nobody_answered_is_in_the_transcript_where_it_was_said(tmp_path: Path) -> None:
    """Before an answered turn, and at the end of the call; once each."""
    agent = Discreet()
    async with a_call(tmp_path, agent, {ORDER: ANSWER}) as call:
        await call.say(ASIDE)
        await until(lambda: agent.passed_over == 1)
        await call.say(ORDER)
        await call.answered(1)
        await call.say(ASIDE)
        await until(lambda: agent.passed_over == 2)
    rows = call.ended["transcript"]
    assert [(row["role"], row["content"]) for row in rows] == [
        ("user", ASIDE),
        ("user", ORDER),
        ("assistant", ANSWER),
        ("user", ASIDE),
    ]
    ends = [row["endAudioOffsetMs"] for row in rows]
    starts = [row["audioOffsetMs"] for row in rows]
    assert all(e <= s + 20 for e, s in zip(ends, starts[1:], strict=False)), f"{starts} {ends}"
