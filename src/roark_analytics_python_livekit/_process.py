"""What belongs to the process, not to a call: the only module with state of its own."""

from __future__ import annotations

import weakref
from typing import Any


class ObservedSessions:
    """Which sessions are observed, and which ids the calls of a job have."""

    def __init__(self) -> None:
        self._handles: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._ids: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()

    def handle_of(self, session: Any) -> Any:
        """The handle of a session that is observed already, or None."""
        return self._handles.get(session)

    def add(self, session: Any, handle: Any) -> None:
        """From here on the session is observed."""
        self._handles[session] = handle

    def own_id(self, job: Any, call_id: str) -> str:
        """An id that no other session of this job has: from the second one on with a number."""
        try:
            taken = self._ids.setdefault(job, set())
        except TypeError:  # a stand-in for a job that cannot be a key
            return call_id
        own, number = call_id, 1
        while own in taken:
            number += 1
            own = f"{call_id}-{number}"
        taken.add(own)
        return own


observed_sessions = ObservedSessions()
