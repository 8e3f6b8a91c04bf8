"""What users can rely on: the exported names, the call they write, the types."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import roark_analytics_python_livekit as package
from roark_analytics_python_livekit import RoarkClient, observe_session

ROOT = Path(__file__).parents[2]


def test_the_exported_names_are_these() -> None:
    """One more is a promise, one less a break."""
    assert package.__all__ == [
        *("CallHandle", "CallStats", "RoarkClient", "__version__", "observe_session"),
    ]
    assert all(hasattr(package, name) for name in package.__all__)


def test_the_version_is_that_of_the_project() -> None:
    """It goes over the wire with each call."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert re.findall(r'^version = "(.+)"$', project, re.MULTILINE) == [package.__version__]


def test_the_package_is_typed() -> None:
    """For mypy in the users' projects."""
    assert (Path(package.__file__).parent / "py.typed").exists()


def test_the_call_that_users_write_today_is_taken() -> None:
    """The published package's arguments, with their defaults; new ones are keywords only."""
    parameters = inspect.signature(observe_session).parameters
    published = {
        "ctx": inspect.Parameter.empty,
        "session": inspect.Parameter.empty,
        "api_key": None,
        "agent_id": inspect.Parameter.empty,
        "agent_name": None,
        "agent_prompt": None,
        "livekit_call_id": None,
        "capture_audio": True,
        "capture_logs": True,
        "is_test": False,
    }
    assert {name: parameters[name].default for name in published} == published
    positional = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert positional == ["ctx", "session"]
    assert parameters["metadata"].kind is inspect.Parameter.VAR_KEYWORD
    new = set(parameters) - set(published) - {"metadata"}
    assert all(parameters[name].default is not inspect.Parameter.empty for name in new)
    assert inspect.iscoroutinefunction(observe_session)


def test_the_clients_methods_are_these() -> None:
    """Each is one request; the published ones first."""
    public = [name for name in vars(RoarkClient) if not name.startswith("_")]
    assert sorted(public) == sorted(
        [
            *("post_call_started", "post_call_ended", "request_chunk_upload_url", "upload_chunk"),
            *("aclose", "create_upload", "post_event", "upload"),
        ]
    )


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("post_call_started", {"payload": {}}),
        ("post_call_ended", {"payload": {}}),
        ("request_chunk_upload_url", {"livekit_call_id": "RM_1", "chunk_index": 0}),
        ("upload_chunk", {"upload_url": "https://storage.test/1", "body": b""}),
    ],
)
def test_the_published_methods_are_called_as_before(
    method: str, arguments: dict[str, object]
) -> None:
    """By these names, and `content_type` where it is not PCM."""
    parameters = inspect.signature(getattr(RoarkClient, method)).bind(None, **arguments)
    parameters.apply_defaults()
    assert parameters.arguments.get("content_type", "audio/pcm") == "audio/pcm"


def test_every_public_thing_says_what_it_is() -> None:
    """Docstrings, for editors and for people."""
    public = [package, observe_session, RoarkClient, package.CallHandle, package.CallStats]
    public += [value for name, value in vars(RoarkClient).items() if not name.startswith("_")]
    assert all(inspect.getdoc(thing) for thing in public)


@pytest.mark.timeout(180)  # seconds: mypy's first run reads all of livekit-agents
def test_users_code_is_well_typed() -> None:
    """mypy, strict, on a file as a user writes it."""
    pytest.importorskip("livekit.agents")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "tests/typing/user_code.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
