"""What is told of a session equals its own history, turn by turn and tool by tool.

The sessions run on a loop with a clock and a policy of its own, as livekit's own tests do: an hour
passes there while for this library's thread it is a second, and no two times can be compared.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("livekit.agents")

from tests.livekit.virtual_scenes import SCENES
from tests.support import livekit_features as has
from tests.support.processes import run

pytestmark = pytest.mark.asyncio(loop_scope="module")

Session = dict[str, Any]
Row = dict[str, Any]

EACH_SESSION = pytest.mark.parametrize(
    "name", [f"{name}, {kind}" for name in SCENES for kind in ("written", "spoken")]
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Session]:
    """All of them, in a process that ends."""
    folder = tmp_path_factory.mktemp("virtual")
    playing = asyncio.to_thread(run, "-m", "tests.livekit.virtual_sessions", folder)
    ended = await asyncio.wait_for(playing, 300)
    assert ended.returncode == 0, ended.stderr[-4000:]
    found: dict[str, Session] = json.loads(ended.stdout.splitlines()[-1])
    return found


def of_type(session: Session, kind: str) -> list[Row]:
    """The items of livekit's history that are one."""
    return [item for item in session["history"] if item["type"] == kind]


@EACH_SESSION
async def test_the_turns_are_those_of_the_history(sessions: dict[str, Session], name: str) -> None:
    """Each once, with its words, and cut where livekit says so."""
    kept = [
        (item["id"], item["role"], item["text_content"], item.get("interrupted", False))
        for item in of_type(sessions[name], "message")
        if item["role"] in ("user", "assistant") and item["text_content"]
    ]
    told = [
        (row["id"], row["role"], row["content"], row.get("interrupted", False))
        for row in sessions[name]["told"]["transcript"]
    ]
    assert told
    if name.endswith("spoken"):  # sound is placed by the real clock, on which it has no room
        kept, told = sorted(kept), sorted(told)
    assert told == kept


@EACH_SESSION
async def test_the_tools_are_those_of_the_history(sessions: dict[str, Session], name: str) -> None:
    """Each call once, with what it was given, what it gave, and whether it failed.

    What is told beyond the history was cancelled; older ones forget more of what was called.
    """
    results = of_type(sessions[name], "function_call_output")
    kept = [
        (call["name"], json.loads(call["arguments"]), *result_of(call, results))
        for call in of_type(sessions[name], "function_call")
        if call["call_id"] == first_id(call["call_id"])
    ]
    rows = sessions[name]["told"]["toolCalls"]
    ids = [row["toolCallId"] for row in rows if row["kind"] == "tool_call"]
    assert len(set(ids)) == len(ids)
    told = [
        (row["name"], json.loads(row["arguments"]), *told_of(row["toolCallId"], rows))
        for row in rows
        if row["kind"] == "tool_call"
    ]
    beyond = [row for row in told if row not in kept]
    known = [row for row in told if row in kept]
    assert sorted(known, key=repr) == sorted(kept, key=repr)  # 1.2 keeps them by their end
    if has.WHOLE_HISTORY:
        assert [row[-1] for row in beyond] == ["cancelled"] * len(beyond)


@EACH_SESSION
async def test_the_handoffs_are_those_of_the_history(
    sessions: dict[str, Session], name: str
) -> None:
    """None that was cancelled."""
    kept = [
        (item.get("old_agent_id"), item["new_agent_id"])
        for item in of_type(sessions[name], "agent_handoff")
    ]
    if not kept:
        pytest.skip("this livekit-agents keeps none")
    handoffs = sessions[name]["told"]["handoffs"]
    assert [(row.get("fromAgentId"), row["toAgentId"]) for row in handoffs] == kept


def first_id(call_id: str) -> str:
    """The id of the call of which a report, or a result that came later, is one."""
    return re.sub(r"_(update_\d+|final)$", "", call_id)


def result_of(call: Row, results: list[Row]) -> tuple[Any, bool]:
    """The last that livekit keeps of it; removes what it takes, for ids come again."""
    own = [each for each in results if first_id(each["call_id"]) == call["call_id"]]
    reported = [each for each in own if each["call_id"] != call["call_id"]]
    for each in [*own[:1], *reported]:
        results.remove(each)
    last = [*own[:1], *reported][-1] if own else {"output": None, "is_error": False}
    return content(last["output"], last["is_error"]), last["is_error"]


def told_of(call_id: str, rows: list[Row]) -> tuple[Any, Any]:
    """The result that is told of a call, and whether it failed or was cancelled."""
    row = next((r for r in rows if (r["kind"], r["toolCallId"]) == ("tool_result", call_id)), {})
    is_error = row.get("isError", False)
    if row.get("content") == "cancelled":
        return None, "cancelled"
    return content(row.get("content"), is_error), is_error


def content(text: str | None, is_error: bool) -> Any:
    """What was given; of an error livekit itself tells less in one place than in the other."""
    if is_error or text is None:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text
