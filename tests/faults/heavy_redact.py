"""A `redact` that would hold the interpreter, in another process: the one of the docs.

Run by a test: prints the answer, and how late a thread came at worst while it was computed.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

PRIVACY = Path(__file__).parents[2] / "docs" / "privacy.md"
BACKTRACKS = re.compile("(a|aa)+$")


def heavy(text: str) -> str:
    """Half a second and more of one search after the other."""
    began = time.process_time()
    for more in range(12, 40):
        BACKTRACKS.match("a" * more + "!")
        if time.process_time() - began > 0.5:
            break
    return f"{text} {time.process_time() - began}"


async def main() -> None:
    """Asks it until the processes have started, and once more."""
    from roark_analytics_python_livekit._call.redactor import Lateness, RedactionWorker

    example = next(part for part in PRIVACY.read_text().split("```python") if "Pool" in part)
    code = example.split("```")[0].replace("my_agent.redaction", "tests.faults.heavy_redact")
    names: dict[str, object] = {}
    exec(code, names)
    worker = RedactionWorker(names["redact"], patience=60.0)  # type: ignore[arg-type]  # it is one
    while await worker.redact("first") is None:
        pass
    lateness = Lateness(asyncio.get_running_loop())
    lateness.begin()
    answer = await worker.redact("hello")
    print(answer, lateness.stop())
    worker.stop()


if __name__ == "__main__":
    asyncio.run(main())
