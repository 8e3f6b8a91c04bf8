"""A real process that ends without a word: its last call arrives all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local_roark import Faults, create_app, serve_in_background
from roark_analytics_python_livekit._call.redactor import FAILED
from tests.support.fake_roark import call_file
from tests.support.processes import run

# As a script that ends where an agent's job would have said goodbye. The service's host is a name,
# not an address: it has to be looked up after the interpreter has begun to shut down.
SCRIPT = """
import sys
import time

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._pipeline import CallPipeline, CallSetup
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._delivery.worker import Worker
from tests.support.simulated_call import facts_of

url, budget = sys.argv[1], float(sys.argv[2])
facts = facts_of(started=time.monotonic())
client = RoarkClient("rk_live_replace_me", base_url=url)
kept = {"recording": "off", "spool_dir": None}
pipeline = CallPipeline(
    CallSetup(facts, {}, **kept, budget=budget), client, None, guard=Guard()
)
worker = Worker(pipeline.run, name="roark-RM_1", budget=budget)
worker.start()
while pipeline.call is None:
    time.sleep(0.01)
turn = {"type": "turn", "role": "user", "text": "hello", "at": time.monotonic()}
worker.queue.put_urgent(turn)
"""


@pytest.mark.faults
@pytest.mark.enable_socket
def test_the_call_of_a_process_that_just_ends_is_delivered(tmp_path: Path) -> None:
    """Both events; the reason says that nobody ended it."""
    with serve_in_background(create_app(tmp_path)) as url:
        ended = run("-W", "error", "-c", SCRIPT, url.replace("127.0.0.1", "localhost"), 30.0)
    assert (ended.returncode, ended.stderr) == (0, "")
    call = call_file(tmp_path)
    assert call["started"] is not None
    assert call["ended"]["callEndedReason"] == "process_exit"
    assert [row["content"] for row in call["ended"]["transcript"]] == ["hello"]


@pytest.mark.faults
@pytest.mark.enable_socket
def test_a_process_ends_even_if_the_service_never_answers(tmp_path: Path) -> None:
    """Within the budget: the thread is no daemon, but it ends itself."""
    with serve_in_background(create_app(tmp_path, faults=Faults.parse("*:hang"))) as url:
        ended = run("-W", "error", "-c", SCRIPT, url, 1.0)
    assert ended.returncode == 0
    assert ended.stderr.startswith("roark: call RM_1: not delivered: call-started, call-ended")


# `redact` never comes back. No service: what would be sent to one is printed.
HANGING = """
import json
import sys
import threading
import time

import httpx

from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._call import redactor
from roark_analytics_python_livekit._call.records import end_record
from roark_analytics_python_livekit._pipeline import CallPipeline, CallSetup
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._delivery.worker import Worker
from tests.support.simulated_call import facts_of

redactor.Journal.__init__.__kwdefaults__["patience"] = 3600.0  # the budget has to be enough

def answer(request):
    print(request.content.decode(), flush=True)
    return httpx.Response(200)


asked = threading.Event()


def redact(text):
    asked.set()
    time.sleep(600)


facts = facts_of(agent_prompt="a prompt", started=time.monotonic())
transport = httpx.MockTransport(answer)
client = RoarkClient("rk_live_replace_me", base_url="https://roark.test", transport=transport)
kept = {"recording": "off", "spool_dir": None, "redact": redact}
pipeline = CallPipeline(
    CallSetup(facts, {}, **kept, budget=1.0), client, None, guard=Guard()
)
worker = Worker(pipeline.run, name="roark-RM_1", budget=1.0)
worker.start()
turn = {"type": "turn", "role": "user", "text": "hello", "at": time.monotonic()}
worker.queue.put_urgent(turn)
asked.wait()
if sys.argv[1] == "ended":
    worker.queue.put_urgent(end_record(time.monotonic(), "user_initiated"))
"""


@pytest.mark.parametrize(
    ("how", "reason"), [("ended", "user_initiated"), ("just left", "process_exit")]
)
def test_a_redactor_that_never_returns_keeps_no_process_alive(how: str, reason: str) -> None:
    """Both events go out, with the marker in the place of every text; then the process ends."""
    ended = run("-W", "error", "-c", HANGING, how)
    assert ended.returncode == 0
    started, end = map(json.loads, ended.stdout.splitlines())
    assert started["agentPrompt"] == FAILED
    assert [row["content"] for row in end["transcript"]] == [FAILED]
    assert end["callEndedReason"] == reason
    assert end["delivery"]["dropped"] == {"redaction_failed": 2}
