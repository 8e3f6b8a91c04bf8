"""A gate on loopback before local Roark: a socket server that answers as badly as a test wants.

It takes one request a connection, byte by byte where need be, so that it can do what no ASGI server
does: reset in the middle of a body, drip, redirect elsewhere, speak broken TLS.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

EVENTS = "/v1/integrations/livekit-sdk"
DRIP = 0.02  # seconds between two bytes of a slow answer


@dataclass(frozen=True)
class Arrived:
    """One request that reached the gate.

    Attributes:
        what: `call-started`, `call-ended`, `url` or `chunk`.
        at: When, in monotonic seconds.
        key: Its idempotency key.
        headers: All of them, names in lower case.
    """

    what: str
    at: float
    key: str | None
    headers: dict[str, str]


@dataclass
class Exchange:
    """A request whose head was read, and how it may be treated."""

    connection: socket.socket
    method: str
    target: str
    headers: dict[str, str]
    body: bytearray
    service: str
    closing: threading.Event  # the test is over

    def read_body(self) -> bytes:
        """The whole body."""
        while len(self.body) < self.size:
            self.read_some()
        return bytes(self.body)

    def read_some(self, most: int = 65_536) -> None:
        """A piece of the body."""
        part = self.connection.recv(most)
        if not part:
            raise ConnectionError
        self.body += part

    @property
    def size(self) -> int:
        """How long the body says it is."""
        return int(self.headers.get("content-length", 0))

    def forward(self) -> bytes:
        """What the service answers, as bytes of an HTTP answer that ends with its connection."""
        host = urlsplit(self.service).netloc
        link = http.client.HTTPConnection(host, timeout=30)
        try:
            sent = {**self.headers, "connection": "close"}
            link.request(self.method, self.target, self.read_body(), sent)
            answer = link.getresponse()
            return http_answer(answer.status, answer.read())
        finally:
            link.close()

    def reset(self) -> None:
        """Ends the connection with an RST."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()


How = Callable[[Exchange], None]


def http_answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """An HTTP answer, whole."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(data: bytes) -> How:
    """Reads the request, and answers so."""

    def act(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.connection.sendall(data)

    return act


def pass_on(exchange: Exchange) -> None:
    """Lets the service answer."""
    exchange.connection.sendall(exchange.forward())


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
    data = exchange.forward()
    head = data.index(b"\r\n\r\n")
    exchange.connection.sendall(data[: head - 3])
    exchange.reset()


def hang(exchange: Exchange) -> None:
    """Reads all, says nothing, until the other side goes."""
    exchange.read_body()
    with contextlib.suppress(OSError):
        while exchange.connection.recv(1):
            pass


def drip_the_answer(exchange: Exchange) -> None:
    """A byte at a time, for ever: no time-out between two bytes notices."""
    exchange.read_body()
    exchange.connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    with contextlib.suppress(OSError):
        while not exchange.closing.wait(DRIP):
            exchange.connection.sendall(b" ")


def drip_the_request(exchange: Exchange) -> None:
    """Takes the body a byte at a time."""
    with contextlib.suppress(OSError):
        while len(exchange.body) < exchange.size and not exchange.closing.wait(DRIP):
            exchange.read_some(1)


@dataclass
class Gate:
    """The gate. Use it as a context manager; `rules` may be changed meanwhile.

    Attributes:
        service: The base URL of what stands behind it.
        rules: (what, how, how often) of the requests that are not simply passed on.
        tls: Makes it speak TLS.
        host: The name in its base URL.
        arrived: The requests so far.
    """

    service: str
    rules: list[tuple[str, How, int]] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    arrived: list[Arrived] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Gate:
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        """Its base URL."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.host}:{self._listener.getsockname()[1]}"

    def asked(self, what: str) -> list[Arrived]:
        """The requests of one kind."""
        return [one for one in self.arrived if one.what == what]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with self._lock:
                self._open.add(connection)
            exchange = self._read_head(connection)
            how, what = self._choose(exchange)
            key = exchange.headers.get("idempotency-key")
            self.arrived.append(Arrived(what, time.monotonic(), key, exchange.headers))
            how(exchange)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _read_head(self, connection: socket.socket) -> Exchange:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            if not (part := connection.recv(65_536)):
                raise ConnectionError
            data += part
        head, _, rest = bytes(data).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if self.tls is not None:
            headers["x-forwarded-proto"] = "https"
        return Exchange(
            connection, method, target, headers, bytearray(rest), self.service, self._closing
        )

    def _choose(self, exchange: Exchange) -> tuple[How, str]:
        what = _what(exchange)
        with self._lock:
            for number, (wanted, how, left) in enumerate(self.rules):
                if left > 0 and wanted in (what, "*"):
                    self.rules[number] = (wanted, how, left - 1)
                    return how, what
        return pass_on, what


def _what(exchange: Exchange) -> str:
    if exchange.target.startswith("/uploads/"):
        return "chunk"
    if exchange.target != EVENTS:
        return "url"
    names = ("call-started", "call-ended")
    while not any(name.encode() in exchange.body for name in names):
        exchange.read_some()
    return next(name for name in names if name.encode() in exchange.body)


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
