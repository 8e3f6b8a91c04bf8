"""What call-ended says of the recording, and of the pauses in it."""

from __future__ import annotations

from math import inf

from roark_analytics_python_livekit._call.pauses import PauseLog
from roark_analytics_python_livekit._call.state import RecordingState

RATE = 8000
SECOND = RATE * 4  # bytes


def recording(seconds: int = 10) -> RecordingState:
    """One of a rate at which a second is 32,000 bytes."""
    return RecordingState(rate=RATE, origin=100.0, pcm_bytes=seconds * SECOND)


def test_what_is_missing_is_a_gap_once_even_if_it_was_damaged_on_disk_too() -> None:
    """A chunk that did not arrive, with a hole in it."""
    state = recording()
    state.gaps[3 * SECOND] = {"type": "gap", "start": 3 * SECOND, "size": SECOND}
    state.gaps[6 * SECOND] = {"type": "gap", "start": 6 * SECOND, "size": SECOND}
    manifest = state.manifest([(2 * SECOND, 3 * SECOND)], "status 503", [], is_off=False)
    assert manifest["gaps"] == [
        {"startMs": 2000, "endMs": 5000},
        {"startMs": 6000, "endMs": 7000},
    ]
    assert (manifest["status"], manifest["reason"]) == ("failed", "status 503")


def test_a_hole_alone_makes_it_partial() -> None:
    """It arrived, with silence in the hole's place."""
    state = recording()
    state.gaps[0] = {"type": "gap", "start": 0, "size": 11 * SECOND}
    manifest = state.manifest([], None, [], is_off=False)
    assert (manifest["status"], manifest["reason"]) == ("partial", "lost on disk")
    assert manifest["gaps"] == [{"startMs": 0, "endMs": 10_000}]  # no further than the recording


def test_what_the_queue_had_no_room_for_makes_it_partial() -> None:
    """With the reason, beside others."""
    state = recording()
    state.gaps[0] = {"type": "gap", "start": 0, "size": SECOND, "reason": "queue_full"}
    manifest = state.manifest([], None, [], is_off=False)
    assert (manifest["status"], manifest["reason"]) == ("partial", "the process was too busy")
    state.gaps[SECOND] = {"type": "gap", "start": SECOND, "size": SECOND, "reason": "full"}
    manifest = state.manifest([], None, [], is_off=False)
    assert manifest["reason"] == "no room, the process was too busy"


def test_what_is_missing_is_told_apart_in_proportion() -> None:
    """Eight hours without room and without the service: not a look for each pair (fault 38)."""
    looks = 0

    class Start(int):
        def __lt__(self, other: int) -> bool:
            nonlocal looks
            looks += 1
            return int(self) < other

        def __gt__(self, other: int) -> bool:
            nonlocal looks
            looks += 1
            return int(self) > other

        __hash__ = int.__hash__

    chunks, size = 10_000, 4
    state = RecordingState(rate=RATE, origin=100.0, pcm_bytes=chunks * size)
    for index in range(0, chunks, 2):
        state.gaps[index * size] = {"type": "gap", "start": index * size, "size": size}
    missing = [(Start(index * size), size) for index in range(0, chunks, 4)]
    assert len(state.gaps_beside(missing)) == chunks // 4
    assert 0 < looks < 20 * chunks


def test_the_log_gives_the_pauses_that_overlap() -> None:
    """And only those: the recording asks for each stretch that it gives out."""
    log = PauseLog()
    for at, on in ((10.0, False), (12.0, True), (20.0, False)):
        log.switch({"type": "switch", "at": at, "on": on})
    assert list(log.silences(0.0, 9.0)) == []
    assert list(log.silences(11.0, 15.0)) == [(10.0, 12.0)]
    assert list(log.silences(13.0, 19.0)) == []
    assert list(log.silences(0.0, 30.0)) == [(10.0, 12.0), (20.0, inf)]
    assert not log.is_withheld(0.0, 30.0)


def test_pausing_again_adds_what_it_stops() -> None:
    """The sound first, then transcripts too; resuming ends both."""
    log = PauseLog()
    log.switch({"type": "switch", "at": 10.0, "on": False})
    log.switch({"type": "switch", "at": 15.0, "on": False, "transcripts": False})
    log.switch({"type": "switch", "at": 20.0, "on": True})
    log.switch({"type": "switch", "at": 25.0, "on": True})
    assert not log.is_withheld(10.0, 14.0) and log.is_withheld(10.0, 15.0)
    assert log.is_withheld(20.0, 20.0) and not log.is_withheld(20.1, 30.0)
    rows = log.rows(lambda at: round(at * 1000), 30_000)
    assert rows == [{"startMs": 10_000, "endMs": 20_000, "transcripts": False}]
