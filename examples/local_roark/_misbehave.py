"""The one place in which faults are acted out: a pure ASGI middleware."""

from __future__ import annotations

import anyio
import httpx
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ._faults import Fault, Faults
from ._paths import endpoint_of

ABORT_EXTENSION = "local_roark.abort"
"""The ASGI extension by which a server lets the application cut the connection."""


class ConnectionDropped(httpx.ReadError):
    """The connection ended without an answer.

    `drop` and `drop-answer` raise it where there is no connection to cut. It is httpx's own error
    for that, so a client that reaches the app through `httpx.ASGITransport` sees what it would see
    on a network.
    """


class FaultMiddleware:
    """Stands before the routes and lets either them or a fault take a request."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes one request."""
        endpoint = endpoint_of(scope["path"]) if scope["type"] == "http" else None
        fault = self._faults.next(endpoint) if endpoint else None
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await self._act_out(fault, scope, receive, send)

    async def _act_out(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        match fault.kind:
            case "status":
                await _answer(fault)(scope, receive, send)
            case "delay":
                await anyio.sleep(fault.seconds)
                await self._app(scope, receive, send)
            case "hang":
                await _until_disconnect(receive)
            case "drop":
                await _drop(scope, receive)
            case "drop-answer":
                await self._app(scope, receive, _nowhere)
                await _drop(scope, receive)


def _answer(fault: Fault) -> JSONResponse:
    headers = {} if fault.retry_after is None else {"retry-after": fault.retry_after}
    body = {"error": {"message": "an injected fault", "field": ""}}
    return JSONResponse(body, fault.status, headers)


async def _drop(scope: Scope, receive: Receive) -> None:
    abort = scope.get("extensions", {}).get(ABORT_EXTENSION)
    if abort is None:
        raise ConnectionDropped("an injected fault closed the connection")
    abort()
    await _until_disconnect(receive)


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nowhere(message: Message) -> None:
    pass
