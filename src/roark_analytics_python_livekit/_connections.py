"""Connections: who shares them, through which proxy they go, and whom they trust."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from urllib.request import getproxies, proxy_bypass

import httpx

from ._process import shared

MAX_CONNECTIONS = 256  # of one kind in one loop, for a client that many calls share


@dataclass(frozen=True)
class Route:
    """How a request gets to where it goes."""

    transport: httpx.AsyncBaseTransport
    peer: str  # who is at the other end of the connection, for a log: the proxy, where there is one


class Pools:
    """One event loop's connections, in sets that never mix.

    Roark's carry the key, those for uploads nothing. Plain http has sets of its own, which need no
    certificates: loading them takes 20 ms and more. It is for this machine, and never passes one
    of the environment's proxies: it would carry the key there in clear text. https does, through a
    tunnel.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None) -> None:
        self.process = os.getpid()  # whose connections these are: a forked child makes its own
        self.made: dict[tuple[bool, bool, str | None], httpx.AsyncBaseTransport] = {}
        self._transport = transport
        self._proxies = getproxies()

    def route(self, request: httpx.Request, *, with_key: bool) -> Route:
        """The set for a request's URL, which is made on first use, and who is at its end."""
        secure = request.url.scheme != "http"
        proxy = self._proxy_for(request.url.host) if secure else None
        kind = with_key, secure, proxy
        if kind not in self.made:
            self.made[kind] = self._transport or _connections(secure, proxy)
        peer = _name(request.url) if proxy is None else f"the proxy {_name(httpx.URL(proxy))}"
        return Route(self.made[kind], peer)

    def _proxy_for(self, host: str) -> str | None:
        proxy = self._proxies.get("https") or self._proxies.get("all")
        if proxy is None or proxy_bypass(host):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    async def aclose(self) -> None:
        while self.made:
            await self.made.popitem()[1].aclose()


def _name(url: httpx.URL) -> str:
    return url.host if url.port is None else f"{url.host}:{url.port}"


def _connections(secure: bool, proxy: str | None) -> httpx.AsyncBaseTransport:
    """A pool of connections. An `httpx.AsyncClient` on top would add a third to each request."""
    return httpx.AsyncHTTPTransport(
        verify=_trust() if secure else _trust_nobody(),
        proxy=proxy,
        # Each call limits what it has in flight: one that is slow takes no other's place.
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=8, keepalive_expiry=30.0
        ),
    )


def _trust() -> ssl.SSLContext:
    """The process's trusted certificates; loaded again where the environment names others."""
    where = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return shared.keep(("trust", *where), httpx.create_ssl_context)


def _trust_nobody() -> ssl.SSLContext:
    """For plain http: it costs nothing, and lets no TLS pass unchecked."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
