"""What is known of a call from its beginning, made in one place."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from roark_analytics_python_livekit._call.facts import CallFacts

KEY = "rk_live_replace_me"


def facts_of(call_id: str = "RM_1", **known: Any) -> CallFacts:
    """A call of an agent without a name or a prompt, begun now and at 0.0 monotonic seconds."""
    facts: dict[str, Any] = {
        "agent_id": "agent",
        "agent_name": None,
        "agent_prompt": None,
        "is_test": True,
        "job": {},
        "versions": {"sdk": "0"},
        "started_at": datetime.now(timezone.utc),
        "started": 0.0,
    }
    return CallFacts(call_id=call_id, **facts | known)
