"""The pages: what they show, and that nothing in a call can act in them."""

from __future__ import annotations

import math
import re
import struct
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from tests.support.wire import CALL, ended, send, started, tool_call, tool_result, turn, upload

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>"


class Page(HTMLParser):
    """A page taken apart: tags with their attributes, and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def all(self, tag: str, class_: str = "") -> list[dict[str, str | None]]:
        """The attributes of all such tags."""
        return [a for name, a in self.tags if name == tag and class_ in (a.get("class") or "")]


async def page(client: httpx.AsyncClient, path: str = f"/calls/{CALL}") -> Page:
    """A page, as a browser gets it."""
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


def tone(seconds: float) -> bytes:
    """Stereo at 8 kHz: a tone on the left, silence on the right."""
    samples = (int(9000 * math.sin(at / 3)) for at in range(int(8000 * seconds)))
    return b"".join(struct.pack("<hh", sample, 0) for sample in samples)


async def test_the_list_says_how_to_begin(client: httpx.AsyncClient) -> None:
    """An empty list is no dead end."""
    assert "ROARK_BASE_URL=http://local" in (await page(client, "/")).text


async def test_the_list_has_the_newest_call_first(client: httpx.AsyncClient) -> None:
    """With its facts beside it."""
    times = {"RM_a": "2025-11-24T08:00:00Z", "RM_b": "2025-11-24T09:00:00Z"}
    for call, at in times.items():
        await send(client, started(livekitCallId=call, eventTimestamp=at))
    await send(client, ended(livekitCallId="RM_0"))

    shown = await page(client, "/")
    links = [link["href"] for link in shown.all("a") if "/calls/" in (link["href"] or "")]

    assert links == ["/calls/RM_b", "/calls/RM_0", "/calls/RM_a"]
    for fact in ("Front desk", "24 Nov 2025, 09:00:00 UTC", "2 s", "live"):
        assert fact in shown.text


async def test_a_call_is_shown_with_all_that_is_known(client: httpx.AsyncClient) -> None:
    """Turns in their order with what happened in between, latencies, facts, log."""
    await send(client, started())
    await upload(client, 0, tone(1.5))
    await send(client, ended())

    text = re.sub(r"\s+", " ", (await page(client)).text).partition(" Conversation ")[2]

    story = ["How can I help?", "lookup_order", "NW-4471", "shipped", "Where is my bike?"]
    places = [text.index(words) for words in story]
    assert places == sorted(places)
    for fact in ("interrupted", "420 ms", "310 ms", "00:00.7", "northwind", "Handoff delivery"):
        assert fact in text
    for fact in ("Key pressed 7", "8000 Hz, 2 channels", "missing", "attempts", "Be kind."):
        assert fact in text


async def test_a_turn_can_be_played_from_its_start(client: httpx.AsyncClient) -> None:
    """The script finds in each item where it begins."""
    await upload(client, 0, tone(0.5))
    await send(client, ended())

    shown = await page(client)

    assert [item["data-seek"] for item in shown.all("li", "turn ")] == ["0", "700"]
    assert [player["src"] for player in shown.all("audio")] == [f"/calls/{CALL}/recording.wav"]


async def test_the_waveform_has_a_lane_for_each_side(client: httpx.AsyncClient) -> None:
    """The tone is on the caller's side; the agent's is a line."""
    await upload(client, 0, tone(1))
    await send(client, ended())

    caller, agent = (await page(client)).all("path", "bars")

    assert "V97.0" in (caller["d"] or "") and "caller" in (caller["class"] or "")
    assert "V97.0" not in (agent["d"] or "") and "agent" in (agent["class"] or "")


async def test_a_failed_tool_is_marked(client: httpx.AsyncClient) -> None:
    """In the conversation and in the waveform."""
    await upload(client, 0, tone(1))
    await send(client, ended(toolCalls=[tool_call(), tool_result(isError=True)]))

    shown = await page(client)

    assert len(shown.all("li", "tool failed")) == 1
    assert len(shown.all("g", "tool-mark failed")) == 1


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (started(), "live"),
        (ended(error={"type": "LLMError", "message": "gone"}), "error"),
        (ended(recording={"status": "partial"}), "partial recording"),
        (ended(recording={"status": "failed", "reason": "disk"}), "no recording"),
        (ended(), "start missing"),
        (ended(transcript=[], toolCalls=[], handoffs=[], dtmf=[]), "Nothing was said."),
    ],
    ids=["live", "error", "partial", "failed", "unannounced", "silent"],
)
async def test_a_call_that_is_not_whole_has_a_page_too(
    client: httpx.AsyncClient, event: dict[str, Any], status: str
) -> None:
    """It says what is not as it should be."""
    await send(client, event)

    assert status in (await page(client)).text


async def test_a_refused_event_is_shown(client: httpx.AsyncClient) -> None:
    """With the field that was at fault."""
    await send(client, ended(callEndedReason=""))

    text = (await page(client)).text

    assert "1 refused" in text
    assert "callEndedReason must be a string that is not empty" in text


async def test_nothing_in_a_call_becomes_markup(client: httpx.AsyncClient) -> None:
    """Every word of it comes from outside: it is text on the page, wherever it stands."""
    await upload(client, 0, tone(1))
    await send(client, started(agentName=EVIL, roomName=EVIL, metadata={EVIL: EVIL}))
    harmless = await scripts_and_handlers(client)
    await send(client, ended(**evil_parts()))

    assert EVIL in (await page(client)).text
    assert await scripts_and_handlers(client) == harmless
    assert await scripts_and_handlers(client, "/") == harmless


def evil_parts() -> dict[str, Any]:
    """Every free text that call-ended has."""
    return {
        "callEndedReason": EVIL,
        "error": EVIL,
        "transcript": [turn("user", EVIL, 0, language=EVIL), turn("assistant", EVIL, 9)],
        "toolCalls": [
            tool_call(name=EVIL, arguments=EVIL),
            tool_result(content=EVIL, isError=True),
        ],
        "handoffs": [{"fromAgentId": EVIL, "toAgentId": EVIL}],
        "dtmf": [{"digit": EVIL}],
        "metadata": {EVIL: {EVIL: EVIL}},
        "participant": {"identity": EVIL, "attributes": {EVIL: EVIL}},
        "agents": [{"id": EVIL, "tools": [EVIL]}],
        "usage": [{"model": EVIL, EVIL: EVIL}],
        "recording": {"status": "failed", "reason": EVIL},
        "sdk": {"name": EVIL},
    }


async def scripts_and_handlers(client: httpx.AsyncClient, path: str = f"/calls/{CALL}") -> Any:
    """All that could act on a page: how many scripts, which images, which handlers."""
    shown = await page(client, path)
    handlers = [name for _, attributes in shown.tags for name in attributes if name[:2] == "on"]
    return len(shown.all("script")), shown.all("img"), handlers


@pytest.mark.parametrize("call", ["a/b", "<b>&\"'", "ü ?#%"])
async def test_a_strange_call_id_has_a_page(client: httpx.AsyncClient, call: str) -> None:
    """The list's link leads to it."""
    await send(client, started(livekitCallId=call))
    hrefs = [link["href"] or "" for link in (await page(client, "/")).all("a")]

    answer = await client.get(hrefs[-1])

    assert answer.status_code == 200
    assert call in Page(answer.text).text


async def test_a_page_brings_all_it_needs(client: httpx.AsyncClient) -> None:
    """It works offline, and the browser is told to load and run nothing else."""
    await upload(client, 0, tone(1))
    await send(client, ended())

    answer = await client.get(f"/calls/{CALL}")
    shown = Page(answer.text)
    sources = [a.get("src") or a.get("href") or "" for _, a in shown.tags]

    assert not [source for source in sources if re.match(r"(https?:)?//", source)]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert not [a for _, a in shown.tags if "style" in a]


async def test_a_recording_is_served_in_ranges(client: httpx.AsyncClient) -> None:
    """A player seeks without fetching the whole."""
    await upload(client, 0, tone(1))
    await send(client, ended())

    part = await client.get(f"/calls/{CALL}/recording.wav", headers={"range": "bytes=8-11"})

    assert (part.status_code, part.content) == (206, b"WAVE")
    assert part.headers["content-type"] == "audio/wav"


@pytest.mark.parametrize("path", ["", "/call.json", "/recording.wav"])
@pytest.mark.parametrize("call", ["RM_unknown", "%2E%2E", "..%2F..%2Fetc", ""])
async def test_what_is_not_there_is_not_found(
    client: httpx.AsyncClient, path: str, call: str
) -> None:
    """Whatever is asked for."""
    assert (await client.get(f"/calls/{call}{path}")).status_code == 404
