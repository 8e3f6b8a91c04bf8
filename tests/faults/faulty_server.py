"""A gate on loopback before local Roark: a socket server that answers as badly as a test wants.

It takes one request a connection, byte by byte where need be, so that it can do what no ASGI server
does: reset in the middle of a body, drip, redirect elsewhere, speak broken TLS.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import urlsplit

EVENTS = "/v1/integrations/livekit-sdk"
DRIP = 0.02  # seconds between two bytes of a slow answer


class Arrived(NamedTuple):
    """One request that reached the gate."""

    what: str  # `call-started`, `call-ended`, `url` or `chunk`
    at: float  # monotonic seconds
    key: str | None  # for idempotency
    headers: Message


class Exchange(http.server.BaseHTTPRequestHandler):
    """A request whose head was read, and how it may be treated."""

    rbufsize = 0  # no more of a body is taken than a test asks for
    server: Gate

    def setup(self) -> None:
        self.request.settimeout(30)
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self.body = bytearray()
        self.closing = self.server.closing

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            return
        self.size = int(self.headers.get("content-length", 0))
        what = self._what()
        how = self.server.choose(what)
        key = self.headers.get("idempotency-key")
        self.server.arrived.append(Arrived(what, time.monotonic(), key, self.headers))
        how(self)

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def log_message(self, *_: Any) -> None: ...

    def _what(self) -> str:
        if self.path.startswith("/uploads/"):
            return "chunk"
        if self.path != EVENTS:
            return "url"
        names = ("call-started", "call-ended")
        while not any(name.encode() in self.body for name in names):
            self.read_some()
        return next(name for name in names if name.encode() in self.body)

    def read_body(self) -> bytes:
        while len(self.body) < self.size:
            self.read_some()
        return bytes(self.body)

    def read_some(self, most: int = 65_536) -> None:
        part = self.rfile.read(most)
        if not part:
            raise ConnectionError
        self.body += part

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def forward(self) -> bytes:
        """What the service answers, as bytes of an HTTP answer that ends with its connection."""
        sent = {**self.headers, "connection": "close"}
        if self.server.tls is not None:
            sent["x-forwarded-proto"] = "https"
        host = urlsplit(self.server.service).netloc
        with contextlib.closing(http.client.HTTPConnection(host, timeout=30)) as link:
            link.request(self.command, self.path, self.read_body(), sent)
            answer = link.getresponse()
            return http_answer(answer.status, answer.read())

    def reset(self) -> None:
        """The connection will end with an RST."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


How = Callable[[Exchange], None]


class Gate(socketserver.ThreadingTCPServer):
    """The gate, a context manager; its rules and TLS may be changed meanwhile."""

    request_queue_size = 64

    def __init__(
        self, service: str, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.service, self.tls, self.host = service, tls, host
        self.rules: list[tuple[str, How, int]] = []  # (what, how, how often); else passed on
        self.arrived: list[Arrived] = []
        self.connections = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Gate:
        threading.Thread(target=self.serve_forever, args=(0.01,)).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()  # waits for what is being served

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.host}:{self.server_address[1]}"

    def asked(self, what: str) -> list[Arrived]:
        return [one for one in self.arrived if one.what == what]

    def choose(self, what: str) -> How:
        with self._lock:
            for number, (wanted, how, left) in enumerate(self.rules):
                if left > 0 and wanted in (what, "*"):
                    self.rules[number] = (wanted, how, left - 1)
                    return how
        return pass_on

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()

    def handle_error(self, *_: Any) -> None:
        """Connections that break are what the tests are about."""


def http_answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(data: bytes) -> How:
    """Reads the request, and answers so."""

    def act(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(data)

    return act


def pass_on(exchange: Exchange) -> None:
    exchange.send(exchange.forward())


def reset_at_once(exchange: Exchange) -> None:
    """The request came whole; no byte goes back."""
    exchange.read_body()
    exchange.reset()


def reset_in_the_request(exchange: Exchange) -> None:
    """Cut after the first bytes of the body."""
    if not exchange.body:
        exchange.read_some(16)
    exchange.reset()


def reset_in_the_answer(exchange: Exchange) -> None:
    """The service did the work; its answer is cut in the middle."""
    head, _, _ = exchange.forward().partition(b"\r\n\r\n")
    exchange.send(head[:-3])
    exchange.reset()


def hang(exchange: Exchange) -> None:
    """Reads all, says nothing."""
    exchange.read_body()
    exchange.closing.wait()


def drip_the_answer(exchange: Exchange) -> None:
    """A byte at a time, for ever: no time-out between two bytes notices."""
    exchange.read_body()
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not exchange.closing.wait(DRIP):
        exchange.send(b" ")


def drip_the_request(exchange: Exchange) -> None:
    """Takes the body a byte at a time."""
    while len(exchange.body) < exchange.size and not exchange.closing.wait(DRIP):
        exchange.read_some(1)


@contextlib.contextmanager
def nobody_accepts() -> Iterator[str]:
    """A base URL where connecting never ends: the queue of a listener that accepts nobody."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
