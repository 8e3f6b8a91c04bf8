"""Local Roark on a loopback socket, and what it has of a call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from local_roark import create_app, serve_in_background

Call = dict[str, Any]
"""What local Roark's `call.json` holds."""

_LOOK_AGAIN = 0.02


@dataclass(frozen=True)
class Recording:
    """A stereo recording; `rate` in Hz."""

    rate: int
    left: npt.NDArray[np.int16]
    right: npt.NDArray[np.int16]


@dataclass(frozen=True)
class RoarkServer:
    """A running local Roark: where it listens, and the directory that it keeps calls in."""

    url: str
    api_key: str = field(repr=False)
    root: Path

    def calls(self) -> list[Call]:
        """Return every call that it knows of."""
        return [json.loads(path.read_text()) for path in self.root.glob("*/call.json")]

    def recording(self) -> Recording:
        """Return the one recording that there is."""
        [path] = self.root.glob("*/recording.wav")
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
            return Recording(file.getframerate(), left=samples[::2], right=samples[1::2])

    async def the_call(self, ready: Callable[[Call], object], *, seconds: float) -> Call:
        """Wait until the one call is `ready`, and return it.

        Raises:
            TimeoutError: It took longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for call in self.calls():
                if ready(call):
                    return call
            await asyncio.sleep(_LOOK_AGAIN)
        raise TimeoutError(f"no such call in {seconds} s; there is: {self.calls()}")


def taken_at(call: Call, **what: object) -> list[float]:
    """Return when each delivery of this kind was taken (status 200), as times of day in seconds.

    Args:
        call: What `call.json` holds.
        what: Items that the deliveries have, for example `endpoint="uploads"`.
    """
    return [
        datetime.fromisoformat(delivery["at"].replace("Z", "+00:00")).timestamp()
        for delivery in call["deliveries"]
        if {**what, "status": 200}.items() <= delivery.items()
    ]


@contextlib.contextmanager
def roark_server(root: Path) -> Iterator[RoarkServer]:
    """Run local Roark on a free port of loopback, with the one key that it knows made up for it."""
    api_key = f"rk_test_{secrets.token_hex(16)}"
    with serve_in_background(create_app(root, api_keys={api_key})) as url:
        yield RoarkServer(url, api_key, root)
