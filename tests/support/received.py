"""What local Roark has of a call, in the folder where it keeps calls."""

from __future__ import annotations

import json
import wave
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def call_file(calls: Path, call_id: str = "RM_1") -> dict[str, Any]:
    return dict(json.loads((calls / call_id / "call.json").read_text()))


def recording(calls: Path, call_id: str = "RM_1") -> tuple[int, npt.NDArray[np.int16]]:
    """(rate, samples × 2) of a call's recording."""
    with wave.open(str(calls / call_id / "recording.wav")) as wav:
        assert (wav.getnchannels(), wav.getsampwidth()) == (2, 2)
        samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
        return wav.getframerate(), samples.reshape(-1, 2)


def taken_at(call: dict[str, Any], **what: object) -> list[float]:
    """When each delivery with these items was taken (status 200), as times of day in seconds."""
    return [
        datetime.fromisoformat(delivery["at"].replace("Z", "+00:00")).timestamp()
        for delivery in call["deliveries"]
        if {**what, "status": 200}.items() <= delivery.items()
    ]
