"""The pages' endpoints: the list, a call, its files."""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from .._recording import RECORDING
from .._records import CallRecord
from .._store import CALL_FILE, CallStore
from .call import call_page
from .document import CONTENT_SECURITY_POLICY
from .index import index_page
from .summary import summarise
from .waveform import read_waveform

_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Pages:
    """What a person looks at.

    Args:
        store: Where calls are kept.
    """

    def __init__(self, store: CallStore) -> None:
        self._store = store

    async def index(self, request: Request) -> Response:
        """The list of calls."""
        calls = [summarise(record) for record in await self._store.read_all()]
        base_url = str(request.base_url).rstrip("/")
        return HTMLResponse(index_page(calls, base_url), headers=_HEADERS)

    async def call(self, request: Request) -> Response:
        """One call."""
        record = await self._store.read(request.path_params["call_id"])
        if record is None:
            raise HTTPException(404, "no such call")
        folder = self._store.folder(record["livekitCallId"])
        page = await to_thread.run_sync(_render, record, folder / RECORDING)
        return HTMLResponse(page, headers=_HEADERS)

    async def call_file(self, request: Request) -> Response:
        """`call.json`."""
        return await self._file(request, CALL_FILE, "application/json")

    async def recording(self, request: Request) -> Response:
        """`recording.wav`, whole or in ranges, so that a player can seek in it."""
        return await self._file(request, RECORDING, "audio/wav")

    async def _file(self, request: Request, name: str, media_type: str) -> Response:
        path = self._store.folder(request.path_params["call_id"]) / name
        if not await to_thread.run_sync(path.is_file):
            raise HTTPException(404, f"the call has no {name}")
        return FileResponse(path, headers=_HEADERS, media_type=media_type)


def _render(record: CallRecord, recording: Path) -> str:
    return call_page(record, read_waveform(recording))
