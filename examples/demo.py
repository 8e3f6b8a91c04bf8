"""A whole call without keys, devices or network, observed, and what arrived of it.

    uv run --directory examples demo.py

A local stand-in for Roark is started, a caller and two agents talk in real time for about 40 s,
and the call as it was delivered is shown. Nothing but uv has to be installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from livekit.agents import AgentSession, JobContext
from rich.console import Console
from rich.logging import RichHandler

from local_roark import Faults, create_app, serve_in_background
from offline import screen
from offline.call import CallError, CallTruth, run_call
from roark_analytics_python_livekit import observe_session

API_KEY = "rk_live_replace_me"
CALLS = Path(__file__).resolve().parent / "calls"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Args:
        arguments: The command line; by default the process's own.

    Returns:
        0 if the conversation went as it should have, whatever became of its delivery; 1 if not.
    """
    options = _options(arguments)
    console = Console()
    _configure_logging(console)
    with _service(options) as base_url, tempfile.TemporaryDirectory() as spool:
        console.print(f"Calling the support desk; Roark is at {base_url}\n", highlight=False)
        try:
            with screen.Screen(console) as live:
                truth = asyncio.run(_call(base_url, options.recording, Path(spool), live))
        except CallError as error:
            console.print(f"The call failed: {error}", style="bold red")
            return 1
        delivered = _delivered(truth, options)
        console.print(screen.report(truth, delivered))
        _show_where(console, options, base_url, delivered)
        if options.keep:
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    return 0


async def _call(base_url: str, recording: str, spool: Path, live: screen.Screen) -> CallTruth:
    async def observe(ctx: JobContext, session: AgentSession[None]) -> object:
        return await observe_session(
            ctx,
            session,
            api_key=API_KEY,
            agent_id="support-desk",
            agent_name="Support desk",
            base_url=base_url,
            recording=recording,  # type: ignore[arg-type]  # argparse knows the choices
            spool_dir=spool,  # the stand-in goes, and with it the only one who could take the rest
            caller_plan="gold",
            ticket=1234,
        )

    return await run_call(observe, on_progress=live.show)


@contextlib.contextmanager
def _service(options: argparse.Namespace) -> Iterator[str]:
    """Start the local Roark, unless another service is to be used, and give its address."""
    if options.base_url:
        yield options.base_url
        return
    with serve_in_background(create_app(options.dir, faults=options.faults)) as base_url:
        yield base_url


def _delivered(truth: CallTruth, options: argparse.Namespace) -> screen.Delivered:
    handle = truth.observed
    if options.base_url or not handle:
        return screen.Delivered(handle)
    found = screen.find_call(options.dir, handle.livekit_call_id)
    return screen.Delivered(handle, *(found or ()))


def _show_where(
    console: Console, options: argparse.Namespace, base_url: str, delivered: screen.Delivered
) -> None:
    if options.base_url or delivered.folder is None:
        return
    if options.keep:
        page = f"{base_url}/calls/{delivered.folder.name}"
        console.print(f"\nLook at it: {page} (Ctrl+C ends this)", soft_wrap=True)
    else:
        directory = "calls" if options.dir == CALLS else options.dir.resolve()
        command = f"uv run --directory examples python -m local_roark --dir {directory}"
        console.print(f"\nLook at it: {command}", soft_wrap=True, highlight=False)


def _configure_logging(console: Console) -> None:
    """Show warnings of the library; of LiveKit errors only, for a failing tool is in the script."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False)],
    )
    logging.getLogger("livekit").setLevel(logging.ERROR)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--recording",
        choices=("chunks", "wav", "off"),
        default="chunks",
        help="upload the recording during the call, as one file after it, or not at all",
    )
    parser.add_argument("--keep", action="store_true", help="leave the call's page up at the end")
    parser.add_argument("--dir", type=Path, default=CALLS, help="where calls go (%(default)s)")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="make the service misbehave, for example events:status=503,count=2 or *:hang",
    )
    parser.add_argument(
        "--base-url", metavar="URL", help="deliver there, and start no service, whatever it is"
    )
    options = parser.parse_args(arguments)
    if options.base_url and (options.fault or options.keep):
        parser.error("--fault and --keep are for the local service, not for --base-url")
    try:
        options.faults = Faults.parse(*options.fault)
    except ValueError as error:
        parser.error(str(error))
    return options


if __name__ == "__main__":
    sys.exit(main())
