"""The application: the service's endpoints, and the pages to look at what came."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import _paths
from ._endpoints import Endpoints
from ._errors import RefusedError
from ._faults import Faults
from ._misbehave import FaultMiddleware
from ._pages import Pages
from ._signing import Signer
from ._store import CallStore


def create_app(
    root: Path,
    *,
    api_keys: Collection[str] | None = None,
    faults: Faults | None = None,
    url_lifetime: float = 300,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Makes a stand-in for the Roark service.

    Args:
        root: The directory for calls, one folder each; made when the first call comes.
        api_keys: The keys that are known; None knows every key that is not empty.
        faults: How to misbehave. Keep the object to change it, or to read its counts, later.
        url_lifetime: How long a presigned URL is good, in seconds.
        clock: The time, in seconds since 1970.

    Returns:
        The ASGI application. It may be served by several event loops at once.

    Example:
        >>> transport = httpx.ASGITransport(create_app(tmp_path))
        >>> client = httpx.AsyncClient(transport=transport, base_url="http://local")
    """
    store = CallStore(Path(root), clock)
    endpoints = Endpoints(store, Signer(url_lifetime, clock), api_keys)
    pages = Pages(store)
    return Starlette(
        routes=[
            Route(_paths.EVENTS, endpoints.event, methods=["POST"]),
            Route(_paths.CHUNK_UPLOAD_URL, endpoints.chunk_upload_url, methods=["POST"]),
            Route(f"{_paths.UPLOADS}/{{s3_key:path}}", endpoints.upload, methods=["PUT"]),
            Route("/", pages.index),
            Route("/calls/{call_id:path}/call.json", pages.call_file),
            Route("/calls/{call_id:path}/recording.wav", pages.recording),
            Route("/calls/{call_id:path}", pages.call),
        ],
        middleware=[Middleware(FaultMiddleware, faults=faults if faults is not None else Faults())],
        exception_handlers={RefusedError: _refuse, ClientDisconnect: _gone},
    )


def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse(error.body(), error.status)


def _gone(request: Request, error: Exception) -> Response:
    """The client went away in the middle of its request: nobody reads this."""
    return Response(status_code=400)
