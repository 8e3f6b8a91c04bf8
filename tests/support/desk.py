"""A desk to talk to: an agent with tools that answer, and tools that do not."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import ToolError, function_tool

from tests.support.fake_agent import NoisyAgent

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
