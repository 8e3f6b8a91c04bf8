"""A support agent as it goes into production, observed in Roark by one line.

    uv run --directory examples --extra agent python agent.py console
    uv run --directory examples --extra agent python agent.py dev
    uv run --directory examples --extra agent python agent.py start

Keys come from the environment: ROARK_API_KEY, OPENAI_API_KEY, DEEPGRAM_API_KEY, CARTESIA_API_KEY,
and for `dev` and `start` LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET.
"""

from __future__ import annotations

import os
import sys

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    JobContext,
    JobProcess,
    RunContext,
    ToolError,
    cli,
    function_tool,
)
from livekit.plugins import cartesia, deepgram, openai, silero

from roark_analytics_python_livekit import observe_session

KEYS = ("ROARK_API_KEY", "OPENAI_API_KEY", "DEEPGRAM_API_KEY", "CARTESIA_API_KEY")

INSTRUCTIONS = """You are the support desk of a shop, on the telephone. Answer in one or two short
sentences, without lists or markup. Look an order up before you say anything about it, and ask for
its number if you do not know it. You cannot change or refund orders."""

# In place of the shop's own system.
ORDERS = {
    "427": "left our warehouse on Monday, arrives on Friday",
    "519": "is being packed, leaves our warehouse tomorrow",
}


class SupportAgent(Agent):
    """Greets the caller, and knows where orders are."""

    def __init__(self) -> None:
        super().__init__(instructions=INSTRUCTIONS)

    async def on_enter(self) -> None:
        """Speak first."""
        self.session.generate_reply(instructions="Greet the caller, and offer to find an order.")

    @function_tool
    async def lookup_order(self, context: RunContext[None], order_id: str) -> str:
        """Tell where an order is.

        Args:
            order_id: The order's number, digits only.
        """
        if order_id not in ORDERS:
            raise ToolError(f"there is no order {order_id}; ask the caller for the number again")
        return f"order {order_id} {ORDERS[order_id]}"


def prepare(process: JobProcess) -> None:
    """Load the voice activity detection before a call comes."""
    process.userdata["vad"] = silero.VAD.load()


server = AgentServer(setup_fnc=prepare)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """Take one call."""
    await ctx.connect()
    session: AgentSession[None] = AgentSession(
        stt=deepgram.STT(model="nova-3"),
        llm=openai.LLM(model="gpt-4.1-mini"),
        tts=cartesia.TTS(),
        vad=ctx.proc.userdata["vad"],
        # Turns by voice activity need no model besides the ones above.
        turn_handling={"turn_detection": "vad", "interruption": {"mode": "vad"}},
    )
    await observe_session(  # the one line; the key is ROARK_API_KEY
        ctx,
        session,
        agent_id="support-desk",
        agent_name="Support desk",
        agent_prompt=INSTRUCTIONS,
        environment=os.environ.get("ENVIRONMENT", "development"),
    )
    await session.start(agent=SupportAgent(), room=ctx.room)


def main() -> None:
    """Run the command line of LiveKit Agents, if all keys are there."""
    if missing := [key for key in KEYS if not os.environ.get(key)]:
        sys.exit(f"Please set {', '.join(missing)} in the environment, and start this again.")
    cli.run_app(server)


if __name__ == "__main__":
    main()
