"""Calls as folders: one a call, with `call.json`, `recording.wav` and the chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from threading import Lock

from anyio import to_thread

from ._errors import RefusedError
from ._names import folder_name
from ._recording import assemble, store_chunk, write_whole
from ._records import CallRecord, Delivery, JsonObject, is_duplicate, is_reused_key, new_record
from ._signing import Grant

CALL_FILE = "call.json"


class CallStore:
    """The calls under one directory.

    Every method leaves the event loop alone: disk work runs in a thread. A lock per call makes a
    change of one call whole, while different calls change side by side.

    Args:
        root: The directory; it is made when the first call comes.
        clock: The time of deliveries, in seconds since 1970.
    """

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._root = root
        self._clock = clock
        self._locks: dict[str, Lock] = {}

    def folder(self, call_id: str) -> Path:
        """Where a call's files lie, whether or not there are any yet."""
        return self._root / folder_name(call_id)

    async def take_event(self, event: JsonObject, key: str | None) -> bool:
        """Keeps a validated event; the second call-ended of a call replaces the first.

        Args:
            event: The event as it came.
            key: The request's idempotency key, if it had one.

        Returns:
            Whether it was a duplicate, which changes nothing but the delivery log.

        Raises:
            RefusedError: 409 where the key was another event's.
        """
        return await to_thread.run_sync(self._take_event, event, key)

    async def take_chunk(self, grant: Grant, data: bytes) -> None:
        """Keeps one chunk of audio, and joins the recording again if the call has ended."""
        await to_thread.run_sync(self._take_chunk, grant, data)

    async def log(self, call_id: str, delivery: Delivery) -> None:
        """Notes a request that left nothing behind but the fact that it came."""
        await to_thread.run_sync(self._log, call_id, delivery)

    async def read(self, call_id: str) -> CallRecord | None:
        """One call as it is now; None if it is unknown."""
        return await to_thread.run_sync(_load, self.folder(call_id))

    async def read_all(self) -> list[CallRecord]:
        """All calls, in no order."""
        return await to_thread.run_sync(self._read_all)

    def _take_event(self, event: JsonObject, key: str | None) -> bool:
        kind = event["event"]
        with self._changing(event["livekitCallId"]) as record:
            if is_reused_key(record, kind, key):
                raise RefusedError(409, "this key was another event's", "idempotency-key")
            duplicate = is_duplicate(record, kind, key)
            entry = Delivery(endpoint="events", status=200, event=kind, duplicate=duplicate)
            self._append(record, {**entry, "idempotencyKey": key} if key else entry)
            if not duplicate:
                self._set_event(record, event)
        return duplicate

    def _set_event(self, record: CallRecord, event: JsonObject) -> None:
        if event["event"] == "call-started":
            record["started"] = event
        else:
            record["ended"] = event
            self._join(record)
        record["startedMissing"] = record["started"] is None

    def _take_chunk(self, grant: Grant, data: bytes) -> None:
        with self._changing(grant.call) as record:
            store_chunk(self.folder(grant.call), grant.index, grant.type, data)
            entry = Delivery(endpoint="uploads", status=200)
            self._append(record, {**entry, "chunkIndex": grant.index, "bytes": len(data)})
            self._join(record)

    def _join(self, record: CallRecord) -> None:
        folder = self.folder(record["livekitCallId"])
        record["recording"] = assemble(folder, record["ended"], record["recording"])

    def _log(self, call_id: str, delivery: Delivery) -> None:
        with self._changing(call_id) as record:
            self._append(record, delivery)

    def _append(self, record: CallRecord, delivery: Delivery) -> None:
        at = datetime.fromtimestamp(self._clock(), timezone.utc)
        stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record["deliveries"].append({**delivery, "at": stamp})

    @contextmanager
    def _changing(self, call_id: str) -> Iterator[CallRecord]:
        """The call's record under its lock; written back when the block ends well."""
        with self._locks.setdefault(call_id, Lock()):
            folder = self.folder(call_id)
            record = _load(folder) or new_record(call_id)
            yield record
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(record, indent=2, ensure_ascii=False)
            write_whole(folder / CALL_FILE, text.encode())

    def _read_all(self) -> list[CallRecord]:
        folders = [path.parent for path in self._root.glob(f"*/{CALL_FILE}")]
        return [record for folder in folders if (record := _load(folder))]


def _load(folder: Path) -> CallRecord | None:
    try:
        record: CallRecord = json.loads((folder / CALL_FILE).read_bytes())
    except FileNotFoundError:
        return None
    return record
