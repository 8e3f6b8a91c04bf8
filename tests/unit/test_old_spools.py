"""Spools outlive upgrades: what an older version left is delivered as it would have been."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._recovery import recover_all

FIXTURES = Path(__file__).parents[1] / "fixtures"
KEY = "rk_live_replace_me"


class Service:
    """Takes everything, and keeps what it took, by call."""

    def __init__(self) -> None:
        self.calls: dict[str, dict[str, Any]] = {}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        if request.method == "PUT":
            _, call_id, index = request.url.path.split("/")
            self._of(call_id)["chunks"][index] = {
                "sha256": hashlib.sha256(body).hexdigest(),
                "size": len(body),
                "type": request.headers["content-type"],
            }
            return httpx.Response(200)
        asked = json.loads(body)
        if request.url.path.endswith("chunk-upload-url"):
            place = f"https://storage.example/{asked['livekitCallId']}/{asked['chunkIndex']}"
            return httpx.Response(200, json={"uploadUrl": place})
        asked["sdk"].pop("python")
        self._of(asked["livekitCallId"])[asked["event"]] = {"body": asked, "key": None}
        return httpx.Response(200)

    def _of(self, call_id: str) -> dict[str, Any]:
        return self.calls.setdefault(call_id, {"chunks": {}})


@pytest.mark.parametrize("fixture", sorted(path.name for path in FIXTURES.glob("spool_*")))
async def test_a_spool_of_an_older_version_is_delivered_as_that_version_would(
    fixture: str, tmp_path: Path
) -> None:
    """Three killed calls: in the middle, after the end, and with a WAV to upload.

    The fixture holds each kind of record and what the version that wrote it delivered of it.
    """
    with tarfile.open(FIXTURES / fixture / "spool.tar.xz") as archive:
        for member in archive.getmembers():
            if member.isfile():  # with today's times: an old call would go by its age
                target = tmp_path / member.name
                target.parent.mkdir(mode=0o700, exist_ok=True)
                source = archive.extractfile(member)
                assert source is not None
                target.write_bytes(source.read())
    service = Service()
    async with RoarkClient(KEY, transport=httpx.MockTransport(service)) as client:
        await recover_all(Spool(tmp_path), client, Guard())
    expected = json.loads((FIXTURES / fixture / "delivered.json").read_text())
    assert service.calls == expected
    assert not list(tmp_path.iterdir())
