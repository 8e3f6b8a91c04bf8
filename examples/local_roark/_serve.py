"""Serving the application on a socket: from the command line, or beside a test or a demo."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ._misbehave import ABORT_EXTENSION


@contextmanager
def serve_in_background(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serves an application from a thread, for as long as the block lasts.

    It installs no signal handlers and logs warnings only. Entering and leaving block for a moment,
    so in a coroutine put the block around `asyncio.run`, not inside.

    Args:
        app: The application, for example from `create_app`.
        host: The address to listen on.
        port: The port; 0 takes a free one.

    Yields:
        The base URL, without a slash at its end. Connections are taken from the first moment.

    Raises:
        OSError: The address cannot be had.

    Example:
        >>> with serve_in_background(create_app(Path("calls"))) as base_url:
        ...     asyncio.run(call(base_url))
    """
    with listen(host, port) as listener:
        server = make_server(app)
        thread = Thread(target=server.run, args=([listener],), name="local-roark")
        thread.start()
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def url_of(listener: socket.socket) -> str:
    """The base URL of a listening socket, without a slash at its end."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: ASGIApp) -> uvicorn.Server:
    """A server under which `drop` faults cut the connection."""
    config = uvicorn.Config(
        app,
        http=_AbortableProtocol,
        lifespan="off",
        log_level="warning",
        # A request that a fault lets hang must not hold back the end.
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


class _AbortableProtocol(H11Protocol):
    """uvicorn's HTTP protocol, plus what ASGI lacks: closing without an answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inner = self.app
        self.app = self._with_abort

    async def _with_abort(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("extensions", {})[ABORT_EXTENSION] = self.transport.abort
        await self._inner(scope, receive, send)
