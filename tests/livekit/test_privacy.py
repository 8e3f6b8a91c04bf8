"""What `redact` takes out is nowhere: in no request, and in no file at any time."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("livekit.agents")

import httpx
from livekit.agents import RunContext, ToolError, function_tool
from livekit.agents.voice import events

from local_roark import create_app
from roark_analytics_python_livekit import RoarkClient
from roark_analytics_python_livekit._call.pauses import NOT_TRANSCRIBED
from roark_analytics_python_livekit._call.redactor import FAILED
from tests.livekit.test_the_room import Room, somebody
from tests.support import livekit_features as has
from tests.support.fake_agent import ANSWER as ON_ITS_WAY
from tests.support.fake_agent import ID, LONG, ORDER, STOP, STOPPED, Desk, NoisyAgent
from tests.support.observed_calls import KEY, Call, FakeJob, a_call, close, failing, spool_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY, REDACTED = "canary", "[x]"
GREETING, QUESTION, ANSWER = f"hello {CANARY} here", f"look the {CANARY} up", f"the {CANARY} is up"
BROKEN = f"break the {CANARY} now"

IS_TOLD_OF_SPEAKERS = "speaker_id" in events.UserInputTranscribedEvent.model_fields  # 1.1
SPEAKER: dict[str, Any] = {"speaker_id": f"S {CANARY}"} if IS_TOLD_OF_SPEAKERS else {}


class Keeper(NoisyAgent):
    """Has the canary in its prompt, and in everything that its tools take and give."""

    def __init__(self) -> None:
        super().__init__(GREETING, instructions=f"Keep the {CANARY}.")

    @function_tool
    async def look_up(self, context: RunContext[Any], what: str) -> dict[str, Any]:
        """Gives an object, and says how far it is where livekit has a way to."""
        if has.TOOL_TIMES:
            await context.update(f"looking for the {CANARY}")
        return {f"the {CANARY}": [f"{CANARY} found"]}

    @function_tool
    async def refuse(self) -> str:
        """Refuses."""
        raise ToolError(f"no {CANARY}")

    @function_tool
    async def fail(self) -> str:
        """Fails by an error of its own."""
        raise ValueError(f"no connection to the {CANARY}")


class Cashier(NoisyAgent):
    """Its tool pauses for as long as it asks for the card, and returns what it was told."""

    handle: Any = None

    @function_tool
    async def collect_card(self) -> str:
        """Collects a card."""
        self.handle.pause_recording(transcripts=False)
        await asyncio.sleep(0.3)
        self.handle.resume_recording()
        await asyncio.sleep(0.05)
        return f"card of the {CANARY}"


class Watching(httpx.AsyncBaseTransport):
    """Local Roark, and every byte that it was sent.

    Args:
        folder: Where it keeps calls.
        takes_the_end: Or refuses call-ended for ever, so that the whole call stays in the spool.
    """

    def __init__(self, folder: Path, *, takes_the_end: bool) -> None:
        self.sent: list[bytes] = []
        self.ended: dict[str, Any] = {}
        self._roark = httpx.ASGITransport(create_app(folder))
        self._takes_the_end = takes_the_end

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        headers = b"\n".join(name + b": " + value for name, value in request.headers.raw)
        self.sent.append(str(request.url).encode() + headers + body)
        if b'"call-ended"' in body:
            self.ended = json.loads(body)
            if not self._takes_the_end:
                return httpx.Response(503)
        return await self._roark.handle_async_request(request)


class Told:
    """One call, and whatever has left the agent's process or was written to the disk."""

    def __init__(self, folder: Path, *, redacting: bool, takes_the_end: bool = True) -> None:
        self.transport = Watching(folder, takes_the_end=takes_the_end)
        self.folder = folder
        self.redacting = redacting
        self.found: list[str] = []  # files that had the canary while the call went on
        self.spooled = b""  # what the spool holds in the end

    def redact(self, text: str) -> str:
        """Replaces the canary, and looks for it in the spool: it is on a thread of its own."""
        self.found += [path.name for path, data in self._files() if CANARY.encode() in data]
        return text.replace(CANARY, REDACTED)

    def _files(self) -> Iterator[tuple[Path, bytes]]:
        for path in spool_of(self.folder).rglob("*"):
            if path.is_file():
                yield path, path.read_bytes()

    async def tell(self) -> Told:
        """The call, with the canary in every place that there is."""
        room = SimpleNamespace(name=f"call of the {CANARY}", remote_participants={})
        job = FakeJob()
        job.job.room.name, job.room = room.name, _room_of_a_caller(room.name)
        client = RoarkClient(KEY, base_url="https://roark.test", transport=self.transport)
        answers: dict[str, Any] = {
            QUESTION: [("look_up", {"what": CANARY}), ("refuse", {}), ("fail", {})],
            BROKEN: RuntimeError(f"no {CANARY}"),
        }
        async with a_call(
            self.folder,
            Keeper(),
            answers,
            job=job,
            client=client,
            redact=self.redact if self.redacting else None,
            shutdown_timeout=3.0,
            note=f"a {CANARY}",
            deep={CANARY: [f"more of the {CANARY}"]},
        ) as call:
            await self._converse(call)
        self.spooled = b"".join(data for _, data in self._files())
        return self

    async def _converse(self, call: Call) -> None:
        call.handle.add_metadata(later=[f"the {CANARY} again"])
        await call.answered(1)
        await call.say(QUESTION)
        await call.listening(2)
        call.job.room.press("7")  # type: ignore[attr-defined]  # more of a room than the stand-in
        call.session.emit(
            "user_input_transcribed",
            events.UserInputTranscribedEvent(is_final=True, transcript=CANARY, **SPEAKER),
        )
        failed = failing(call)
        await call.say(BROKEN)
        await failed.wait()
        await call.handle.aflush(reason=f"the {CANARY} flew away")
        await close(call.session)


def _room_of_a_caller(name: str) -> Any:
    room = Room()
    room.name = name
    named = {"sid": "PA_1", "name": f"Phone {CANARY}"}
    attributes = {"sip.phoneNumber": CANARY, "sip.h.x": f"the {CANARY}"}
    room.join(somebody(f"sip_{CANARY}", "sip", attributes=attributes, **named))
    return room


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """The same call as it is, redacted, and redacted with a service that never takes its end."""
    folder = tmp_path_factory.mktemp("privacy")
    calls = {
        "as it is": Told(folder / "open", redacting=False),
        "redacted": Told(folder / "redacted", redacting=True),
        "kept": Told(folder / "kept", redacting=True, takes_the_end=False),
    }
    await asyncio.gather(*(call.tell() for call in calls.values()))
    return calls


def places(value: Any, word: str, path: str = "") -> set[str]:
    """Where a word stands in JSON; rows of a kind are one place."""
    if isinstance(value, dict):
        inside = [places(item, word, f"{path}.{_name(key)}") for key, item in value.items()]
        return set().union(*inside, *({f"{path}.*"} for key in value if word in key))
    if isinstance(value, list):
        return set().union(*(places(item, word, f"{path}[]") for item in value))
    return {path} if isinstance(value, str) and word in value else set()


def _name(key: str) -> str:
    return key.replace(REDACTED, "*").replace(CANARY, "*")


@pytest.mark.parametrize("which", ["redacted", "kept"])
async def test_the_canary_is_in_no_request_and_in_no_file(
    told: dict[str, Told], which: str
) -> None:
    """Not in headers and URLs either; the journal is only ever written to at its end."""
    call = told[which]
    assert len(call.transport.sent) > 3
    assert [data for data in call.transport.sent if CANARY.encode() in data] == []
    assert call.found == []
    assert CANARY.encode() not in call.spooled
    assert (REDACTED.encode() in call.spooled) == (which == "kept")


async def test_it_was_in_all_the_places_where_it_is_no_more(told: dict[str, Told]) -> None:
    """And each of them is told, redacted: nothing is just left out."""
    open_call, redacted = told["as it is"].transport.ended, told["redacted"].transport.ended
    before = places(open_call, CANARY)
    assert before == places(redacted, REDACTED)
    assert before >= {
        ".callEndedReason",
        ".agentPrompt",
        ".agents[].instructions",
        ".transcript[].content",
        ".toolCalls[].arguments",
        ".toolCalls[].content",
        ".events[].message",
        ".error.message",
        ".participant.identity",
        ".participant.name",
        ".participant.attributes.sip.phoneNumber",
        ".metadata.note",
        ".metadata.deep.*",
        ".metadata.later[]",
    }
    if SPEAKER:
        assert ".transcript[].userId" in before
    if has.TOOL_TIMES:
        assert before >= {".toolCalls[].updates[].content", ".toolCalls[].message"}
    assert [row["digit"] for row in open_call["dtmf"]] == ["7"]
    assert [row["digit"] for row in redacted["dtmf"]] == ["*"]


async def test_so_it_is_with_how_the_call_began(told: dict[str, Told]) -> None:
    """The caller's number stands in identities and in names of rooms."""
    begun = {
        which: next(json.loads(d[d.index(b"{") :]) for d in told[which].transport.sent)
        for which in ("as it is", "redacted")
    }
    before = places(begun["as it is"], CANARY)
    assert before == places(begun["redacted"], REDACTED)
    assert before >= {".participantIdentity", ".roomName", ".metadata.note"}


async def test_what_is_said_in_a_pause_without_transcripts_is_told_nowhere(tmp_path: Path) -> None:
    """Turns that overlap it, also if their text comes later, and tools; the rest is as ever."""
    secret, secret_answer = "my number is eleven", "eleven it is"
    answers = {
        secret: [("lookup_order", ID)],
        "order 427 is on its way": secret_answer,
        STOP: STOPPED,
        ORDER: ON_ITS_WAY,
    }
    uninterrupted = {"interruption": {"resume_false_interruption": False}} if has.PAUSE else {}
    async with a_call(tmp_path, Desk(LONG), answers, **uninterrupted) as call:
        await call.speaking(1, 0.5)
        call.handle.pause_recording(transcripts=False)
        await call.answered(1)
        await call.say(secret)
        await call.answered(2)
        call.handle.resume_recording()
        await call.say(ORDER)
        await call.answered(3)
        call.handle.pause_recording(transcripts=False)
        await call.say(STOP)
        call.handle.resume_recording()  # what was said is understood only now
        await call.answered(4)
    text = json.dumps(call.ended)
    assert [words for words in ("eleven", "once upon", "order 427", STOP) if words in text] == []
    said = [(row["role"], row["content"]) for row in call.ended["transcript"]]
    assert said == [("user", ORDER), ("assistant", ON_ITS_WAY), ("assistant", STOPPED)]
    assert call.ended["toolCalls"] == []
    pauses = call.ended["recording"]["pauses"]
    assert [pause["transcripts"] for pause in pauses] == [False, False]
    rate, sound = call.recording()
    for pause in pauses:
        begin, end = (pause[key] * rate // 1000 for key in ("startMs", "endMs"))
        assert end > begin and not sound[begin + rate // 500 : end - rate // 500].any()


async def test_what_is_typed_or_said_after_a_pause_is_told_at_once(tmp_path: Path) -> None:
    """It has no speech of its own: no transcript, and in a text-only session no sound."""
    answers = {"one": "this is one", "two": "this is two", "three": "this is three"}
    async with a_call(tmp_path, NoisyAgent(), answers, with_audio=False) as call:
        await call.session.generate_reply(user_input="one")
        call.handle.pause_recording(transcripts=False)
        await call.session.generate_reply(user_input="two")
        call.handle.resume_recording()
        await call.session.generate_reply(user_input="three")
        await call.session.say("and this is said")
    told = [row["content"] for row in call.ended["transcript"]]
    assert told == ["one", "this is one", "three", "this is three", "and this is said"]
    assert call.ended["delivery"]["dropped"] == {"paused": 2}


async def test_a_tool_that_pauses_gives_away_nothing_of_what_it_returns(tmp_path: Path) -> None:
    """The usual use: it asks for the card itself. That it ran, and for how long, is told."""
    agent = Cashier()
    answers = {QUESTION: [("collect_card", {})], f"card of the {CANARY}": ANSWER}
    async with a_call(tmp_path, agent, answers) as call:
        agent.handle = call.handle
        await call.say(QUESTION)
        await call.answered(1)
    tool, result = call.ended["toolCalls"]
    assert tool["name"] == "collect_card" and "isRunning" not in tool
    assert result["content"] == NOT_TRANSCRIBED and result["durationMs"] >= 300


async def test_a_pause_keeps_transcripts_unless_told_otherwise(tmp_path: Path) -> None:
    """The span is in the manifest, also where nothing is recorded at all."""
    for options in ({}, {"recording": "off"}, {"capture_audio": False}):
        folder = tmp_path / "-".join(options or ["on"])
        async with a_call(folder, NoisyAgent("good morning"), **options) as call:
            call.handle.pause_recording()
            await call.answered(1)
            call.handle.resume_recording()
        assert [row["content"] for row in call.ended["transcript"]] == ["good morning"]
        (pause,) = call.ended["recording"]["pauses"]
        assert pause["endMs"] > pause["startMs"] and "transcripts" not in pause
        status = call.ended["recording"]["status"]
        assert status == ("disabled" if options else "complete")
        assert ("recordingSampleRate" in call.ended) == (not options)


async def test_a_redactor_that_never_returns_costs_its_texts_and_no_more(tmp_path: Path) -> None:
    """The call is delivered within its budget: everything that there is no need to redact."""
    release = threading.Event()

    def redact(text: str) -> str:
        release.wait(60)
        return text

    options: dict[str, Any] = {"redact": redact, "shutdown_timeout": 2.0, "note": CANARY}
    async with a_call(tmp_path, NoisyAgent(GREETING), **options) as call:
        await call.answered(1)
    release.set()
    assert [row["content"] for row in call.ended["transcript"]] == [FAILED]
    assert call.json["started"]["metadata"] == call.ended["metadata"] == {"note": FAILED}
    assert call.ended["callEndedReason"] != "process_died"
    assert call.ended["recording"]["status"] == "complete"
    assert call.ended["delivery"]["dropped"]["redaction_failed"] > 0
