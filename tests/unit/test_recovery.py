"""What a dead process left is delivered once, by whoever may, and is never made worse."""

from __future__ import annotations

import asyncio
import io
import os
import wave
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from local_roark import Faults
from roark_analytics_python_livekit import RoarkClient, _recovery
from roark_analytics_python_livekit._call.facts import call_record
from roark_analytics_python_livekit._delivery.chunks import wav_header
from roark_analytics_python_livekit._delivery.limits import DEFAULT_LIMITS, Limits, RetryPolicy
from roark_analytics_python_livekit._delivery.outbox import Outbox
from roark_analytics_python_livekit._delivery.spool import Spool
from roark_analytics_python_livekit._delivery.stats import Outcome
from roark_analytics_python_livekit._diagnostics import Guard
from roark_analytics_python_livekit._recovery import IN_FLIGHT, TRIES, Recovered, recover_all
from tests.support.deliveries import RATE, until
from tests.support.fake_roark import BASE_URL, KEY, Roark
from tests.support.simulated_call import facts_of
from tests.support.spool_ages import later_spool, make_old
from tests.unit.test_call import Calling

CHUNK_BYTES = DEFAULT_LIMITS.chunk_bytes

NO_WAITS = Limits(retry=RetryPolicy(base=0.0, cap=0.0, burst=10_000))
HEADER = 44  # bytes before the PCM of a plain WAV file
SOUND = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"rest"


def dead_call(
    root: Path,
    call_id: str = "RM_1",
    *,
    key: str = KEY,
    base_url: str = BASE_URL,
    sound: bytes = SOUND,
    recording: str = "chunks",
) -> Path:
    """A call whose process has died in its middle."""
    call = Spool(root).begin(call_id)
    facts = facts_of(call_id, started=100.0)
    entry = call_record(facts, {}, base_url=base_url, api_key=key, recording=recording)
    store = Outbox(call)
    store.append_record(cast(dict[str, Any], entry))
    store.append_record({"type": "recording", "rate": RATE, "origin": 100.0})
    store.append_pcm(sound)
    store.append_record({"type": "turn", "role": "user", "text": "hello", "at": 101.0, "id": "1"})
    call.release()
    return call.path


async def recover(root: Path, client: RoarkClient, *, any_key: bool = False) -> list[Recovered]:
    """What the next process does."""
    found: list[Recovered] = []
    await recover_all(
        Spool(root), client, Guard(), any_key=any_key, limits=NO_WAITS, on_call=found.append
    )
    return found


def sound_of(roark: Roark, call_id: str = "RM_1") -> bytes:
    """The recording's samples."""
    with wave.open(io.BytesIO(roark.recording(call_id))) as wav:
        return wav.readframes(wav.getnframes())


async def test_a_dead_call_is_delivered_and_gone(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """call-started, its chunks, call-ended; the reason says that its process died."""
    dead_call(tmp_path / "spool")
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.call_id, one.outcome, one.chunks, one.events) == ("RM_1", Outcome.OK, 3, 2)
    assert roark.accepted()[0] == "call-started" and roark.accepted()[-1] == "call-ended"
    assert sound_of(roark) == SOUND
    ended = roark.call("RM_1")["ended"]
    assert ended["callEndedReason"] == "process_died"
    assert ended["delivery"]["recovered"] is True
    assert list((tmp_path / "spool").iterdir()) == []
    assert await recover(tmp_path / "spool", client) == []


def flip(path: Path, needle: bytes) -> None:
    """Turns a bit of a journal over."""
    data = bytearray((path / "journal").read_bytes())
    data[data.index(needle)] ^= 1
    (path / "journal").write_bytes(data)


async def test_a_damaged_record_costs_nothing_but_itself(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """What was said before and after it arrives, and that something is missing (fault 22)."""
    path = dead_call(tmp_path / "spool")
    (call,) = Spool(path.parent).abandoned()
    turn = {"type": "turn", "role": "user", "at": 102.0}
    for number in (2, 3):
        call.append_record(turn | {"text": f"turn {number}", "id": str(number)})
    call.append_record(END)
    call.release()
    flip(path, b"turn 2")
    (one,) = await recover(path.parent, client)
    assert one.outcome is Outcome.OK
    ended = roark.call("RM_1")["ended"]
    assert [row["content"] for row in ended["transcript"]] == ["hello", "turn 3"]
    assert ended["callEndedReason"] == "done"
    assert ended["delivery"]["dropped"] == {"damaged": 1}
    assert ended["recording"]["status"] == "complete"
    assert sound_of(roark) == SOUND


async def test_a_call_whose_first_record_is_damaged_is_set_aside(
    client: RoarkClient, roark: Roark, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows whose it is: its sound stays until it goes by age; said once (fault 22)."""
    root = tmp_path / "spool"
    path = dead_call(root)
    flip(path, b"agent")
    (one,) = await recover(root, client)
    assert (one.call_id, one.outcome) == (None, Outcome.UNREADABLE)
    assert await recover(root, client) == []
    assert caplog.text.count("set aside") == 1
    assert roark.seen == []
    (call,) = Spool(root).calls()
    assert (call.path, call.claimed, call.aside) == (path, False, True)
    assert len(list(path.glob("*.pcm"))) == 3
    assert Spool(root, quota=1000).evict() == ["quota"]
    dead = dead_call(root)
    flip(dead, b"agent")
    await recover(root, client)
    assert later_spool(root, 8 * 86_400).evict() == ["age"]
    assert list(root.iterdir()) == []


async def test_a_call_that_was_killed_in_its_first_record_is_removed(
    client: RoarkClient, tmp_path: Path
) -> None:
    """There is nothing of it (fault 16)."""
    path = dead_call(tmp_path / "spool", sound=b"")
    os.truncate(path / "journal", 20)
    (one,) = await recover(path.parent, client)
    assert one.outcome is Outcome.EMPTY
    assert list(path.parent.iterdir()) == []


async def test_recovery_that_is_cut_off_loses_nothing(
    client: RoarkClient, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """The call that recovers in its background has ended: the next one goes on."""
    dead_call(tmp_path / "spool")
    (call,) = Spool(tmp_path / "spool").abandoned()
    call.append_record(
        {"type": "sent", "event": "call-started"}
    )  # nothing else is noted before the cut
    call.release()
    faults.add("uploads:hang")
    recovering = asyncio.ensure_future(recover(tmp_path / "spool", client))
    await until(lambda: faults.hits["uploads"] == IN_FLIGHT)
    recovering.cancel()
    await asyncio.gather(recovering, return_exceptions=True)
    faults.clear()
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.chunks) == (Outcome.OK, 3)
    assert sound_of(roark) == SOUND
    assert roark.call("RM_1")["ended"]["recording"]["status"] == "complete"


async def test_a_service_that_takes_nothing_is_asked_about_one_call_only(
    client: RoarkClient, faults: Faults, tmp_path: Path
) -> None:
    """The others would fare no better; all are kept."""
    faults.add("*:status=401")
    for name in ("RM_1", "RM_2", "RM_3"):
        dead_call(tmp_path / "spool", name)
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.reason) == (Outcome.LATER, "status 401")
    assert len(list((tmp_path / "spool").iterdir())) == 3


async def test_calls_of_another_key_are_left_alone(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """They are not this project's."""
    path = dead_call(tmp_path / "spool", key="rk_live_another")
    before = sorted((file.name, file.read_bytes()) for file in path.iterdir())
    (one,) = await recover(tmp_path / "spool", client)
    assert one.outcome is Outcome.FOREIGN and roark.seen == []
    assert sorted((file.name, file.read_bytes()) for file in path.iterdir()) == before


async def test_calls_of_another_key_are_delivered_where_that_is_wanted(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """The key was corrected or rotated; another service's calls are left alone even then."""
    root = tmp_path / "spool"
    dead_call(root, key="rk_live_another")
    dead_call(root, "RM_2", key="rk_live_another", base_url="https://elsewhere.test")
    found = await recover(root, client, any_key=True)
    assert [(one.call_id, one.outcome) for one in found] == [
        ("RM_1", Outcome.OK),
        ("RM_2", Outcome.FOREIGN),
    ]
    assert sound_of(roark) == SOUND
    assert [path.name.split(".")[0] for path in root.iterdir()] == ["RM_2"]


async def test_calls_for_a_wrong_url_are_delivered_where_that_is_wanted(
    roark: Roark, client: RoarkClient, tmp_path: Path
) -> None:
    """With the key that they have: those of other keys need `any_key` too."""
    root = tmp_path / "spool"
    dead_call(root, "RM_1", base_url="https://wrong.test")
    dead_call(root, "RM_2", base_url="https://wrong.test", key="rk_live_another")
    found: list[Recovered] = []
    options: dict[str, Any] = {"limits": NO_WAITS, "on_call": found.append}
    await recover_all(Spool(root), client, Guard(), any_service=True, **options)
    assert {one.call_id: one.outcome for one in found} == {
        "RM_1": Outcome.OK,
        "RM_2": Outcome.FOREIGN,
    }
    await recover_all(Spool(root), client, Guard(), any_key=True, **options)
    assert [path.name.split(".")[0] for path in root.iterdir()] == ["RM_2"]
    await recover_all(Spool(root), client, Guard(), any_service=True, any_key=True, **options)
    assert list(root.iterdir()) == []
    assert sound_of(roark, "RM_1") == sound_of(roark, "RM_2") == SOUND


async def test_two_at_once_share_the_work(roark: Roark, tmp_path: Path) -> None:
    """Each call is claimed by one of them, and its chunks are accepted once."""
    names = [f"RM_{number}" for number in range(6)]
    for name in names:
        dead_call(tmp_path / "spool", name)
    async with (
        RoarkClient(KEY, base_url=BASE_URL, transport=roark) as first,
        RoarkClient(KEY, base_url=BASE_URL, transport=roark) as second,
    ):
        found = await asyncio.gather(
            recover(tmp_path / "spool", first), recover(tmp_path / "spool", second)
        )
    delivered = [one.call_id for part in found for one in part]
    assert sorted(map(str, delivered)) == names
    for name in names:
        uploads = [e for e in roark.call(name)["deliveries"] if e["endpoint"] == "uploads"]
        assert sorted(one["chunkIndex"] for one in uploads) == [0, 1, 2]


@pytest.mark.invented
async def test_what_was_sent_before_is_not_sent_again(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """The journal knows what Roark has: call-started, and the first chunk."""
    path = dead_call(tmp_path / "spool")
    (call,) = Spool(path.parent).abandoned()
    call.append_record({"type": "sent", "event": "call-started"})
    chunk = {"type": "chunk", "index": 0, "start": 0, "size": CHUNK_BYTES, "result": "ok"}
    call.append_record(chunk)
    call.release()
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.OK, 2, 1)
    assert sorted(roark.accepted()[:2]) == ["chunk 1", "chunk 2"]
    assert roark.accepted()[2:] == ["call-ended"]


async def test_a_chunk_that_had_no_room_is_silence_of_its_length(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """Its record says that it was given up; without it all sound behind it would be shifted."""
    path = dead_call(tmp_path / "spool")
    (call,) = Spool(path.parent).abandoned()
    chunk = {"type": "chunk", "index": 1, "start": CHUNK_BYTES, "size": CHUNK_BYTES}
    call.append_record({**chunk, "result": "full"})
    call.remove_chunk(1)
    call.release()
    (one,) = await recover(path.parent, client)
    assert (one.outcome, one.chunks) == (Outcome.OK, 3)
    silent = bytes(CHUNK_BYTES)
    assert sound_of(roark) == SOUND[:CHUNK_BYTES] + silent + SOUND[2 * CHUNK_BYTES :]


async def test_what_a_pause_kept_out_is_counted_by_the_next_process_too(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """The journal has the count, and nothing else of it."""
    path = dead_call(tmp_path / "spool", sound=b"")
    (call,) = Spool(path.parent).abandoned()
    for count in (1, 2):
        call.append_record({"type": "withheld", "role": "user", "at": 102.0, "count": count})
    call.release()
    (one,) = await recover(tmp_path / "spool", client)
    assert one.outcome is Outcome.OK
    assert roark.call("RM_1")["ended"]["delivery"]["dropped"] == {"paused": 2}


async def test_a_call_that_lacks_nothing_is_only_removed(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """Killed between the last answer and the removal."""
    path = dead_call(tmp_path / "spool", sound=b"")
    (call,) = Spool(path.parent).abandoned()
    call.append_record({"type": "sent", "event": "call-started"})
    call.append_record({"type": "ended", "event": {"event": "call-ended"}})
    call.append_record({"type": "sent", "event": "call-ended"})
    call.release()
    (one,) = await recover(tmp_path / "spool", client)
    assert one.outcome is Outcome.OK and roark.seen == []
    assert list((tmp_path / "spool").iterdir()) == []


async def test_call_ended_that_was_built_is_sent_with_the_same_key(
    roark: Roark, client: RoarkClient, faults: Faults, tmp_path: Path
) -> None:
    """Accepted, and killed before the answer: the service can tell that it is the same."""
    path = dead_call(tmp_path / "spool")
    faults.add("events:drop-answer,count=1,after=1")  # its first call-ended
    faults.add("events:status=401,after=1")
    (one,) = await recover(path.parent, client)
    assert one.outcome is Outcome.LATER
    faults.clear()
    (one,) = await recover(path.parent, client)
    assert one.outcome is Outcome.OK
    assert len({seen.key for seen in roark.asked("call-ended")}) == 1
    events = [e for e in roark.call("RM_1")["deliveries"] if e["endpoint"] == "events"]
    assert [e["duplicate"] for e in events] == [False, False, True]


def wav_accepted(path: Path, size: int, *entries: dict[str, Any]) -> None:
    """Notes that the service has the one file of a call, and more."""
    (call,) = Spool(path.parent).abandoned()
    call.append_record({"type": "sent", "event": "call-started"})
    call.append_record({"type": "chunk", "index": 0, "start": 0, "size": size, "result": "ok"})
    for entry in entries:
        call.append_record(entry)
    call.release()


END = {"type": "end", "at": 120.0, "reason": "done", "pcm_bytes": len(SOUND)}


@pytest.mark.invented
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("left", [[0, 1, 2], [1, 2], [2], [0, 2], []])
async def test_killed_while_the_pieces_of_an_accepted_wav_were_removed_nothing_is_missing(
    client: RoarkClient, roark: Roark, tmp_path: Path, left: list[int], ended: bool
) -> None:
    """Whichever pieces were still there: they are part of the file that Roark has."""
    path = dead_call(tmp_path / "spool", recording="wav")
    wav_accepted(path, HEADER + len(SOUND), *([END] if ended else []))
    for index in {0, 1, 2} - set(left):
        (path / f"{index:06d}.pcm").unlink()
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.OK, 0, 1)
    assert roark.accepted() == ["call-ended"]
    event = roark.call("RM_1")["ended"]
    assert event["delivery"]["dropped"] == {}
    manifest = event["recording"]
    assert (manifest["status"], manifest["gaps"]) == ("complete", [])
    assert (manifest["chunkCount"], manifest["byteCount"]) == (1, len(SOUND))
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.invented
@pytest.mark.parametrize("pcm", [4 * RATE, 5 * 2**30])
async def test_the_header_of_an_accepted_wav_is_no_sound(
    client: RoarkClient, roark: Roark, tmp_path: Path, pcm: int
) -> None:
    """Killed before the end of the call was noted: 44 bytes, or the 80 of an RF64 file."""
    path = dead_call(tmp_path / "spool", recording="wav", sound=b"")
    wav_accepted(path, len(wav_header(RATE, 2, pcm)) + pcm)
    (one,) = await recover(tmp_path / "spool", client)
    assert one.outcome is Outcome.OK
    manifest = roark.call("RM_1")["ended"]["recording"]
    assert (manifest["status"], manifest["gaps"]) == ("complete", [])
    assert manifest["byteCount"] == pcm
    assert manifest["durationMs"] == round(pcm / 4 / RATE * 1000)


V1 = {"event": "call-ended", "livekitCallId": "RM_1", "recording": {"status": "partial"}}


def ended_as_partial(root: Path, *entries: dict[str, Any]) -> Path:
    """A call whose process told of its end before all chunks were accepted, and then died."""
    path = dead_call(root)
    (call,) = Spool(root).abandoned()
    chunk = {"type": "chunk", "index": 0, "start": 0, "size": CHUNK_BYTES, "result": "ok"}
    sent = [{"type": "sent", "event": name} for name in ("call-started", "call-ended")]
    for entry in (sent[0], chunk, END, {"type": "ended", "event": V1}, sent[1], *entries):
        call.append_record(entry)
    call.release()
    return path


@pytest.mark.invented
async def test_the_call_ended_that_completes_a_call_is_owed_until_it_is_accepted(
    client: RoarkClient, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """An older one was; this one is refused at first, and comes with the same key later."""
    root = tmp_path / "spool"
    ended_as_partial(root)
    faults.add("events:status=401")
    (one,) = await recover(root, client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.LATER, 2, 0)
    faults.clear()
    (one,) = await recover(root, client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.OK, 0, 1)
    assert len({seen.key for seen in roark.asked("call-ended")}) == 1
    recording = roark.call("RM_1")["ended"]["recording"]
    assert (recording["status"], recording["chunkCount"]) == ("complete", 3)
    assert list(root.iterdir()) == []


async def test_a_storage_that_cannot_be_reached_says_nothing_of_the_service(
    client: RoarkClient, faults: Faults, tmp_path: Path
) -> None:
    """It gives the places of the chunks: the next call is tried, and its events arrive."""
    root = tmp_path / "spool"
    ended_as_partial(root)
    dead_call(root, "RM_2")
    faults.add("uploads:drop")
    found = await recover(root, client)
    assert [(one.call_id, one.outcome, one.events) for one in found] == [
        ("RM_1", Outcome.LATER, 0),
        ("RM_2", Outcome.LATER, 2),
    ]


@pytest.mark.invented
async def test_killed_before_the_call_ended_that_completes_a_call_was_made_it_is_made_again(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """The last chunks were accepted and noted, and nothing else was."""
    root = tmp_path / "spool"
    rest = [
        {"type": "chunk", "index": index, "start": index * CHUNK_BYTES, "result": "ok"}
        for index in (1, 2)
    ]
    path = ended_as_partial(root, rest[0] | {"size": CHUNK_BYTES}, rest[1] | {"size": 4})
    for index in range(3):
        (path / f"{index:06d}.pcm").unlink()
    (one,) = await recover(root, client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.OK, 0, 1)
    recording = roark.call("RM_1")["ended"]["recording"]
    assert (recording["status"], recording["gaps"]) == ("complete", [])
    assert list(root.iterdir()) == []


async def test_a_chunk_that_is_refused_is_one_gap(
    client: RoarkClient, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """Refused by a recovery, it is told once."""
    dead_call(tmp_path / "spool")
    faults.add("uploads:status=400,count=1")
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.chunks) == (Outcome.OK, 2)
    assert len(roark.call("RM_1")["ended"]["recording"]["gaps"]) == 1


async def test_a_call_that_is_kept_again_and_again_neither_grows_nor_is_told_again(
    client: RoarkClient, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """Its sound is not taken: call-ended says so once, and a damaged chunk is noted once."""
    path = dead_call(tmp_path / "spool")
    (path / "000001.pcm").write_bytes(b"damaged")
    faults.add("uploads:status=403")  # an expired URL, for ever
    (one,) = await recover(path.parent, client)
    assert (one.outcome, one.events) == (Outcome.LATER, 2)
    size = (path / "journal").stat().st_size
    for _ in range(3):
        (one,) = await recover(path.parent, client)
        assert (one.outcome, one.events) == (Outcome.LATER, 0)
    assert (path / "journal").stat().st_size == size
    assert len(roark.asked("call-ended")) == 1
    faults.clear()
    (one,) = await recover(path.parent, client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.OK, 3, 1)
    (gap,) = roark.call("RM_1")["ended"]["recording"]["gaps"]


async def test_a_call_grows_old_though_every_try_writes_to_it(
    client: RoarkClient, faults: Faults, tmp_path: Path
) -> None:
    """Its age counts from its beginning: no call stays for ever (fault 23)."""
    path = dead_call(tmp_path / "spool")
    week = 7 * 86_400
    make_old(path, week - 60)
    faults.add("uploads:status=403")
    (one,) = await recover(path.parent, client)
    assert one.outcome is Outcome.LATER
    (found,) = Spool(path.parent).calls()
    assert week - 70 < found.age < week
    assert later_spool(path.parent, 120).evict() == ["age"]


async def test_one_bad_call_does_not_keep_those_behind_it(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """Whatever is asked about it is answered with 503: the others arrive."""
    root = tmp_path / "spool"
    for name in ("RM_bad", "RM_1", "RM_2"):
        dead_call(root, name)
    roark.broken_calls.add("RM_bad")
    found = await recover(root, client)
    assert [(one.call_id, one.outcome) for one in found] == [
        ("RM_bad", Outcome.LATER),
        ("RM_1", Outcome.OK),
        ("RM_2", Outcome.OK),
    ]


async def test_after_two_calls_of_which_nothing_is_taken_the_rest_waits_and_has_its_turn(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """The service is down, it seems; the next time those that were tried come last."""
    root = tmp_path / "spool"
    for name in ("RM_bad", "RM_worse", "RM_1"):
        dead_call(root, name)
    roark.broken_calls |= {"RM_bad", "RM_worse"}
    found = await recover(root, client)
    assert [one.call_id for one in found] == ["RM_bad", "RM_worse"]
    found = await recover(root, client)
    assert [one.call_id for one in found] == ["RM_1", "RM_bad", "RM_worse"]
    assert found[0].outcome is Outcome.OK


@pytest.mark.parametrize("fault", ["*:drop", "*:status=403"])
async def test_where_nobody_answers_or_the_key_is_refused_one_call_is_enough(
    client: RoarkClient, faults: Faults, tmp_path: Path, fault: str
) -> None:
    """The next would fare no better."""
    for name in ("RM_1", "RM_2"):
        dead_call(tmp_path / "spool", name)
    faults.add(fault)
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.LATER, 0, 0)


async def test_a_service_that_is_down_is_not_asked_about_each_chunk(
    client: RoarkClient, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """After call-started had its tries nothing else is tried."""
    dead_call(tmp_path / "spool", sound=bytes(40 * CHUNK_BYTES))
    faults.add("*:status=503")
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.reason) == (Outcome.LATER, "status 503")
    assert [seen.what for seen in roark.seen] == ["call-started"] * TRIES
    faults.clear()
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.OK, 40, 2)


async def test_a_storage_that_is_down_is_not_asked_about_each_chunk(
    client: RoarkClient, roark: Roark, faults: Faults, tmp_path: Path
) -> None:
    """The first ones had their tries; the events are delivered, and the sound waits."""
    dead_call(tmp_path / "spool", sound=bytes(40 * CHUNK_BYTES))
    faults.add("uploads:status=503")
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.LATER, 0, 2)
    assert {seen.what for seen in roark.asked("chunk")} <= {f"chunk {index}" for index in range(6)}
    assert roark.call("RM_1")["ended"]["recording"]["status"] == "failed"
    faults.clear()
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.OK, 40, 1)


async def test_one_chunk_that_is_never_taken_does_not_keep_the_others(
    client: RoarkClient, roark: Roark, tmp_path: Path
) -> None:
    """They are delivered in the same recovery."""
    dead_call(tmp_path / "spool", sound=bytes(12 * CHUNK_BYTES))
    roark.broken.add("chunk 0")
    (one,) = await recover(tmp_path / "spool", client)
    assert (one.outcome, one.chunks, one.events) == (Outcome.LATER, 11, 2)


class Slow(httpx.AsyncBaseTransport):
    """The service, where the uploads of one call take for ever until they are let go."""

    def __init__(self, roark: Roark, call_id: str) -> None:
        self.let_go = asyncio.Event()
        self._roark = roark
        self._call_id = call_id

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Waits where it has to."""
        if request.method == "PUT" and self._call_id in str(request.url):
            await self.let_go.wait()
        return await self._roark.handle_async_request(request)


async def test_a_slow_call_keeps_nobody_waiting(
    roark: Roark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others arrive beside it; it goes to the back, also if it is cut off (fault 33)."""
    monkeypatch.setattr(_recovery, "SLOW", 0.01)
    root, slow = tmp_path / "spool", Slow(roark, "RM_slow")
    for name in ("RM_slow", "RM_1", "RM_2", "RM_3"):
        dead_call(root, name)
    client = RoarkClient(KEY, base_url=BASE_URL, transport=slow)
    recovering = asyncio.ensure_future(recover(root, client))
    await until(lambda: [path.name.split(".")[0] for path in root.iterdir()] == ["RM_slow"])
    assert not recovering.done()
    recovering.cancel()
    await asyncio.gather(recovering, return_exceptions=True)
    dead_call(root, "RM_4")
    later = [path.name.split(".")[0] for path in Spool(root)._paths()]
    assert later == ["RM_slow", "RM_4"]
    slow.let_go.set()
    found = await recover(root, client)
    assert [one.call_id for one in found] == ["RM_slow", "RM_4"]
    assert {one.outcome for one in found} == {Outcome.OK}
    assert sound_of(roark, "RM_slow") == SOUND


async def test_a_turn_that_is_over_goes_on_in_the_next_round(
    client: RoarkClient, roark: Roark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was delivered stays delivered; call-ended waits until it is all (fault 33)."""
    monkeypatch.setattr(_recovery, "IN_FLIGHT", 1)
    dead_call(tmp_path / "spool")
    put = RoarkClient.upload
    clock = [0.0]

    async def slowly(self: RoarkClient, *args: Any, **options: Any) -> None:
        await put(self, *args, **options)
        clock[0] += 0.8 * _recovery.TURN

    monkeypatch.setattr(RoarkClient, "upload", slowly)
    found: list[Recovered] = []
    await recover_all(
        Spool(tmp_path / "spool"),
        client,
        Guard(),
        limits=NO_WAITS,
        clock=lambda: clock[0],
        on_call=found.append,
    )
    assert [(one.outcome, one.chunks) for one in found] == [
        (Outcome.LATER, 1),
        (Outcome.LATER, 1),
        (Outcome.OK, 1),
    ]
    assert roark.accepted() == ["call-started", "chunk 0", "chunk 1", "chunk 2", "call-ended"]
    assert sound_of(roark) == SOUND


async def test_one_heart_beats_for_the_live_calls_and_the_dead_ones(
    client: RoarkClient, tmp_path: Path
) -> None:
    """As often as one call needs it: each beat is for all calls of the process."""
    dead_call(tmp_path / "spool")
    beating: list[int] = []

    def count(recovered: Recovered) -> None:
        coroutines = [task.get_coro() for task in asyncio.all_tasks()]
        beating.append(sum(getattr(one, "__name__", "") == "beat" for one in coroutines))

    calling = Calling(client, call_id="RM_2")
    await until(lambda: calling.pipeline.call is not None)
    await recover_all(Spool(tmp_path / "spool"), client, Guard(), limits=NO_WAITS, on_call=count)
    await calling.end()
    assert beating == [1]
