"""The agents of the demo as a LiveKit worker: a real room, and still no provider and no key.

    python -m local_roark                     # in another terminal: http://127.0.0.1:4100
    python offline_agent.py console           # talk to it with a microphone
    python offline_agent.py dev               # or serve rooms of a LiveKit server:
    python offline_agent.py start             # LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET

It understands what `offline.recognition.SUPPORT_GRAMMAR` says: ask for your order four two seven,
for a refund, for billing, and say thank you, goodbye.
"""

from __future__ import annotations

import os

from livekit.agents import AgentServer, CloseEvent, JobContext, JobProcess, cli

from offline.agents import SupportAgent
from offline.recognition import Recognizer
from offline.session import create_session, load_vad
from roark_analytics_python_livekit import observe_session

API_KEY = os.environ.get("ROARK_API_KEY", "rk_live_replace_me")
BASE_URL = os.environ.get("ROARK_BASE_URL", "http://127.0.0.1:4100")


def prepare(process: JobProcess) -> None:
    """Load what every call needs, before one comes."""
    recognizer = Recognizer()
    recognizer.load()
    process.userdata["recognizer"] = recognizer
    process.userdata["vad"] = load_vad()


def always_free() -> float:
    """Say that there is room for a call, however busy the machine is with other things."""
    return 0.0


server = AgentServer(
    setup_fnc=prepare,
    load_fnc=always_free,
    num_idle_processes=1,
    initialize_process_timeout=60.0,
    host="127.0.0.1",
    port=0,  # of the health check: any that is free
)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """Take one call."""
    await ctx.connect()
    session = create_session(ctx.proc.userdata["recognizer"], ctx.proc.userdata["vad"])
    await observe_session(
        ctx,
        session,
        api_key=API_KEY,
        agent_id="support-desk",
        agent_name="Support desk",
        base_url=BASE_URL,
    )

    @session.on("close")
    def hang_up(event: CloseEvent) -> None:
        ctx.shutdown(event.reason.value)

    await session.start(agent=SupportAgent(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
