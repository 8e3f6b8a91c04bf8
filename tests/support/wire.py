"""The wire's contract, as local Roark asks it: payloads in tests go through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from local_roark._errors import RefusedError
from local_roark._validate import parse_object, validate_event
from roark_analytics_python_livekit.client import _encode


def received(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as the service reads it; fails the test where it would be refused."""
    try:
        body = parse_object(_encode(event))
        validate_event(body)
    except RefusedError as refusal:
        pytest.fail(f"the service would refuse this: {refusal.field} {refusal.message}")
    return body
