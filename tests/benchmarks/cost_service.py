"""Roark on loopback, as cheap as can be, in a process of its own: for `cost.py`.

    python tests/benchmarks/cost_service.py healthy|slow|failing

Prints its port. `GET /log` answers what arrived, in monotonic seconds, which all processes of a
machine share. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

SLOW = 3.0  # seconds that a slow service takes for an upload
EVENTS = b"/v1/integrations/livekit-sdk"


class Log:
    """What arrived.

    Attributes:
        moments: When a request was there, and when it was answered.
        ended: When call-ended was accepted, by call.
        count: How many requests of each kind.
        recorded: Bytes uploaded.
    """

    def __init__(self) -> None:
        self.moments: list[float] = []
        self.ended: dict[str, float] = {}
        self.count: dict[str, int] = {}
        self.recorded = 0


class Connection(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self, log: Log, mode: str, port: int) -> None:
        self._log, self._mode, self._port = log, mode, port
        self._data = bytearray()
        self._body_at = self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._read_head() and len(self._data) >= self._body_at + self._size:
            head = bytes(self._data[: self._body_at])
            body = bytes(self._data[self._body_at : self._body_at + self._size])
            del self._data[: self._body_at + self._size]
            self._body_at = 0
            self._serve(head.split(b" ", 2)[1], body)

    def _read_head(self) -> bool:
        if not self._body_at and (end := self._data.find(b"\r\n\r\n")) >= 0:
            self._body_at, self._size = end + 4, 0
            for line in self._data[:end].lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    self._size = int(line[15:])
        return self._body_at > 0

    def _serve(self, path: bytes, body: bytes) -> None:
        if path == b"/log":
            return self._answer(200, vars(self._log))
        kind, event = "upload", {}
        if path.startswith(EVENTS):
            event = json.loads(body)
            kind = event.get("event", "chunk-upload-url")
        self._log.moments.append(time.monotonic())
        self._log.count[kind] = self._log.count.get(kind, 0) + 1
        if self._mode == "slow" and kind == "upload":
            asyncio.get_running_loop().call_later(SLOW, self._act, kind, event, len(body))
        else:
            self._act(kind, event, len(body))

    def _act(self, kind: str, event: dict[str, Any], size: int) -> None:
        self._log.moments.append(time.monotonic())
        if self._mode == "failing":
            return self._answer(503, {})
        if kind == "upload":
            self._log.recorded += size
        if kind == "call-ended":
            self._log.ended[event["livekitCallId"]] = time.monotonic()
        self._answer(200, self._place(event) if kind == "chunk-upload-url" else {})

    def _place(self, event: dict[str, Any]) -> dict[str, Any]:
        name = f"{event['livekitCallId']}/{event['chunkIndex']}"
        return {
            "uploadUrl": f"http://127.0.0.1:{self._port}/uploads/{name}",
            "s3Key": name,
            "chunkIndex": event["chunkIndex"],
            "expiresInSeconds": 300,
            "method": "PUT",
            "contentType": event["contentType"],
        }

    def _answer(self, status: int, answer: Any) -> None:
        if not self._transport.is_closing():
            data = json.dumps(answer).encode()
            head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
            self._transport.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)


async def main() -> None:
    loop, log = asyncio.get_running_loop(), Log()
    port = 0
    server = await loop.create_server(
        lambda: Connection(log, sys.argv[1], port), "127.0.0.1", 0, backlog=256
    )
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
