"""What is known of a call from its beginning, and the record that opens its journal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from .._serialize import json_safe
from .records import CallRecord


@dataclass(frozen=True)
class CallFacts:
    """What is known of a call from its beginning; `started` is monotonic, in seconds."""

    call_id: str
    agent_id: str  # and down to `is_test`: as given to `observe_session`
    agent_name: str | None
    agent_prompt: str | None
    is_test: bool
    job: Mapping[str, str]  # jobId, roomName, roomSid and participantIdentity, as far as known
    versions: Mapping[str, str]  # of this package and livekit-agents
    started_at: datetime
    started: float

    def iso(self, at: float) -> str:
        """A monotonic moment as ISO 8601 in UTC, whatever the wall clock did since."""
        moment = self.started_at + timedelta(seconds=at - self.started)
        return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


def account_of(api_key: str) -> str:
    """Distinguishes keys without revealing them: 64 bits of a salted SHA-256."""
    return hashlib.sha256(b"roark spool account\0" + api_key.encode()).hexdigest()[:16]


def call_record(
    facts: CallFacts, metadata: Mapping[str, Any], *, base_url: str, api_key: str, recording: str
) -> CallRecord:
    """The record that opens a call's journal."""
    values = asdict(facts) | {"started_at": facts.started_at.isoformat()}
    return {
        "type": "call",
        "facts": json_safe(values),
        "metadata": json_safe(metadata),
        "base_url": base_url,
        "account": account_of(api_key),
        "recording": recording,
    }


def facts_of(record: CallRecord) -> CallFacts:
    """The facts that a call record holds; KeyError, TypeError or ValueError if it is damaged."""
    values = dict(record["facts"])
    values["started_at"] = datetime.fromisoformat(values["started_at"])
    return CallFacts(**values)
