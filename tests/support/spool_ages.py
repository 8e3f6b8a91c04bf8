"""Calls in the spool that are older than they are, and a spool in the future."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from roark_analytics_python_livekit._delivery.claim import myself, uptime
from roark_analytics_python_livekit._delivery.spool import Spool


def make_old(call: Path, seconds: float) -> None:
    """The call in this directory began so long ago, by every clock."""
    birth = {"boot": myself().boot, "uptime": uptime() - seconds}
    (call / "lock").write_text(json.dumps(birth))
    for name in (*call.iterdir(), call):
        os.utime(name, (time.time() - seconds, time.time() - seconds))


def later_spool(root: Path, seconds: float) -> Spool:
    """The spool, so much later."""
    return Spool(root, clock=lambda: time.time() + seconds, uptime=lambda: uptime() + seconds)
