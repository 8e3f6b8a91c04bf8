"""The service's endpoints: events, presigned URLs, uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from urllib.parse import quote, urlencode

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._auth import refuse_credentials, require_api_key
from ._errors import RefusedError
from ._paths import UPLOADS
from ._records import Delivery, JsonObject
from ._signing import Grant, Signer
from ._store import CallStore
from ._validate import parse_object, validate_event, validate_upload_request


class Endpoints:
    """What the live service answers, answered from a directory.

    Args:
        store: Where calls are kept.
        signer: Issues and checks presigned URLs.
        api_keys: The keys that are known; None knows every key that is not empty.
    """

    def __init__(self, store: CallStore, signer: Signer, api_keys: Collection[str] | None) -> None:
        self._store = store
        self._signer = signer
        self._api_keys = api_keys

    async def event(self, request: Request) -> Response:
        """Takes call-started and call-ended."""
        event = await self._read(request, "events", validate_event)
        key = request.headers.get("idempotency-key")
        async with self._refusals_logged(event["livekitCallId"], "events"):
            duplicate = await self._store.take_event(event, key)
        return _data({"livekitCallId": event["livekitCallId"], "duplicate": duplicate})

    async def chunk_upload_url(self, request: Request) -> Response:
        """Presigns the upload of one chunk."""
        body = await self._read(request, "chunk-upload-url", validate_upload_request)
        grant = self._signer.issue(body["livekitCallId"], body["chunkIndex"], body["contentType"])
        entry = Delivery(endpoint="chunk-upload-url", status=200, chunkIndex=grant.index)
        await self._store.log(grant.call, entry)
        return _data(
            {
                "uploadUrl": self._upload_url(request, grant),
                "s3Key": grant.s3_key,
                "chunkIndex": grant.index,
                "expiresInSeconds": int(self._signer.lifetime),
                "method": "PUT",
                "contentType": grant.type,
            }
        )

    async def upload(self, request: Request) -> Response:
        """Takes one chunk, as a storage server would: by the URL's signature alone."""
        refuse_credentials(request.headers)
        grant = self._signer.verify(request.query_params)
        async with self._refusals_logged(grant.call, "uploads", grant.index):
            await self._redeem(request, grant)
        return Response(status_code=200)

    async def _redeem(self, request: Request, grant: Grant) -> None:
        if request.path_params["s3_key"] != grant.s3_key:
            raise RefusedError(403, "the URL's path is not the one that was signed")
        if request.headers.get("content-type") != grant.type:
            raise RefusedError(403, f"the content type signed is {grant.type}", "content-type")
        with self._signer.redeem(grant):
            data = await request.body()
            if not data:
                raise RefusedError(400, "the chunk is empty")
            await self._store.take_chunk(grant, data)

    async def _read(
        self, request: Request, endpoint: str, validate: Callable[[JsonObject], None]
    ) -> JsonObject:
        """The request's body, if the sender may send it and it is as the contract says."""
        require_api_key(request.headers, self._api_keys)
        body = parse_object(await request.body())
        async with self._refusals_logged(body.get("livekitCallId"), endpoint):
            await to_thread.run_sync(validate, body)
        return body

    @asynccontextmanager
    async def _refusals_logged(
        self, call_id: object, endpoint: str, index: int | None = None
    ) -> AsyncIterator[None]:
        """Notes a refusal in the call's log, if it is known whose call it is, and passes it on."""
        try:
            yield
        except RefusedError as refusal:
            entry = Delivery(endpoint=endpoint, status=refusal.status)
            entry["error"], entry["field"] = refusal.message, refusal.field
            if index is not None:
                entry["chunkIndex"] = index
            if isinstance(call_id, str) and call_id:
                await self._store.log(call_id, entry)
            raise

    def _upload_url(self, request: Request, grant: Grant) -> str:
        path = f"{UPLOADS.lstrip('/')}/{quote(grant.s3_key)}"
        return f"{request.base_url}{path}?{urlencode(self._signer.query(grant))}"


def _data(data: JsonObject) -> JSONResponse:
    return JSONResponse({"data": data})
