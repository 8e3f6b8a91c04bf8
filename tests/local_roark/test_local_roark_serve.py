"""Serving on a socket: the command line, and the thread beside a demo."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import httpx
import pytest

import local_roark
from local_roark import Faults, create_app, serve_in_background
from local_roark.__main__ import greeting, main
from tests.support.wire import EVENTS, KEY, started

on_loopback = [pytest.mark.faults, pytest.mark.enable_socket]


def test_the_public_names_are_these() -> None:
    """What others import does not change by accident."""
    assert local_roark.__all__ == [
        "ConnectionDropped",
        "Fault",
        "FaultMiddleware",
        "Faults",
        "create_app",
        "serve_in_background",
    ]


def test_a_malformed_fault_ends_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason, not with a traceback."""
    with pytest.raises(SystemExit):
        main(["--fault", "events:explode"])

    assert "'explode' is no kind and no option" in capsys.readouterr().err


def test_the_greeting_says_what_to_set() -> None:
    """It can be copied as it stands."""
    assert "ROARK_BASE_URL=http://127.0.0.1:4100" in greeting(
        "http://127.0.0.1:4100", Path("calls")
    )


class TestOnLoopback:
    """With a real server."""

    pytestmark = on_loopback

    def test_it_serves_from_a_thread_and_ends(self, tmp_path: Path) -> None:
        """The port is free and the thread gone afterwards."""
        with serve_in_background(create_app(tmp_path)) as base_url:
            answer = httpx.post(base_url + EVENTS, json=started(), headers=KEY)
            assert answer.status_code == 200

        assert [thread.name for thread in threading.enumerate()].count("local-roark") == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(base_url)

    @pytest.mark.parametrize("kind", ["drop", "drop-answer"])
    def test_a_drop_closes_the_connection(
        self, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Without a byte of answer, and without a word in the log."""
        app = create_app(tmp_path, faults=Faults.parse(f"events:{kind},count=1"))
        with serve_in_background(app) as base_url, httpx.Client(base_url=base_url) as client:
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                client.post(EVENTS, json=started(), headers=KEY)
            assert client.post(EVENTS, json=started(), headers=KEY).status_code == 200

        assert not [record for record in caplog.records if "uvicorn" in record.name]

    def test_a_hanging_request_does_not_hold_back_the_end(self, tmp_path: Path) -> None:
        """The client gives up; the server ends all the same."""
        app = create_app(tmp_path, faults=Faults.parse("events:hang"))
        with serve_in_background(app) as base_url, pytest.raises(httpx.ReadTimeout):
            httpx.post(base_url + EVENTS, json=started(), headers=KEY, timeout=0.1)

    def test_a_port_in_use_ends_the_command_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Before anything is served."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            with pytest.raises(SystemExit):
                main(["--port", str(taken.getsockname()[1])])

        assert "cannot listen on 127.0.0.1" in capsys.readouterr().err
