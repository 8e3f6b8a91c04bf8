"""What belongs to the process, not to a call: the only module with state of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class _Observation(Protocol):
    @property
    def is_over(self) -> bool: ...


class ObservedSessions:
    """Which sessions are observed, and which ids the calls of a job have."""

    def __init__(self) -> None:
        self._handles: weakref.WeakKeyDictionary[Any, tuple[Any, _Observation]]
        self._handles = weakref.WeakKeyDictionary()
        self._ids: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()

    def handle_of(self, session: Any) -> Any:
        """The handle of a session whose call goes on, or None; it may be started again later."""
        handle, observation = self._handles.get(session, (None, None))
        return None if observation is None or observation.is_over else handle

    def add(self, session: Any, handle: Any, observation: _Observation) -> None:
        """From here on the session is observed."""
        self._handles[session] = handle, observation

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


class _Call(Protocol):
    def beat(self) -> None: ...

    def forget(self) -> None: ...

    def remove(self) -> bool: ...


open_calls: weakref.WeakSet[_Call] = weakref.WeakSet()  # those in the spool, of this process


open_locks: set[int] = set()  # descriptors: of those calls, and of any that is looked at now


unremoved: set[_Call] = set()  # delivered calls that the disk did not let go of: still claimed


def remove_later(call: _Call) -> None:
    """Keeps a delivered call claimed, so that nobody delivers it again, until it can be removed."""
    unremoved.add(call)


async def beat(interval: float) -> None:
    """Says every so many seconds that this process works on its calls, for other hosts to see.

    Tries as often to remove those that are delivered.
    """
    while True:
        await asyncio.sleep(interval)
        for call in list(open_calls):
            with contextlib.suppress(OSError):
                call.beat()
        for call in list(unremoved):
            with contextlib.suppress(OSError):
                if call.remove():
                    unremoved.discard(call)


def _forget_open_calls() -> None:
    """In a forked child: a lock lasts until every copy is closed, and is to die with the parent."""
    for call in list(open_calls):
        with contextlib.suppress(OSError):
            call.forget()
    while open_locks:
        with contextlib.suppress(OSError):
            os.close(open_locks.pop())


class SharedObjects:
    """What all calls of a process share: made on first use, whoever asks first.

    A forked child makes its own: it has no copy of the threads, only of their locks.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """The object of this key, for as long as the process lives."""
        kept: T | None = self._kept.get(key)
        return self._kept.setdefault(key, make()) if kept is None else kept

    def forget(self) -> None:
        """The next one who asks gets another."""
        self._kept = {}


shared = SharedObjects()


class _Shared:
    def __init__(self) -> None:
        self.users = 0
        self.task: asyncio.Task[None] | None = None


class SharedTasks:
    """Work of which an event loop does one of each kind at a time, while anybody takes part."""

    def __init__(self) -> None:
        self._kinds: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[Hashable, _Shared]
        ] = weakref.WeakKeyDictionary()

    @asynccontextmanager
    async def join(
        self, kind: Hashable, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> AsyncIterator[None]:
        """Takes part: begins the work unless it goes on; the last who leaves cancels it."""
        kinds = self._kinds.setdefault(asyncio.get_running_loop(), {})
        shared = kinds.setdefault(kind, _Shared())
        shared.users += 1
        if shared.task is None or shared.task.done():
            shared.task = asyncio.ensure_future(work())
        try:
            yield
        finally:
            shared.users -= 1
            if not shared.users:
                del kinds[kind]
                shared.task.cancel()
                await asyncio.gather(shared.task, return_exceptions=True)


recoveries = SharedTasks()
heartbeats = SharedTasks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_open_calls)
    os.register_at_fork(after_in_child=shared.forget)
