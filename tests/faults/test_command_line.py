"""`recover` and `doctor`: what they do, say and return, and that they never say the key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from local_roark import Faults
from roark_analytics_python_livekit._delivery.spool import Spool
from tests.faults.test_disk import FRAMES, dead_call, sound
from tests.support.fake_roark import call_file
from tests.support.processes import run
from tests.support.simulated_call import KEY, pcm

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]  # four interpreters in a test

NOBODY = "http://127.0.0.1:9"


def command(*arguments: object, key: str | None = KEY, **settings: str) -> tuple[int, str]:
    """Runs a command; its exit status and all that it says."""
    if key is not None:
        settings["ROARK_API_KEY"] = key
    ended = run("-m", "roark_analytics_python_livekit", *arguments, **settings)
    said = ended.stdout + ended.stderr
    assert KEY not in said and "Traceback" not in said, said.replace(KEY, "KEY")
    return ended.returncode, said


@pytest.mark.parametrize("recording", ["chunks", "wav"])
def test_recover_delivers_and_says_what(
    service: str, calls: Path, spool: Path, recording: str
) -> None:
    """Status 0, one line a call, a recording equal to the sample; nothing is left (fault 17)."""
    dead_call(spool, service, recording=recording)
    dead_call(spool, service, "RM_foreign", frames=0)
    foreign = next(spool.glob("RM_foreign.*"))
    status, said = command("recover", "--spool-dir", spool, "--base-url", service)
    assert status == 0, said
    sent = "1 recording chunk" if recording == "wav" else "4 recording chunks"
    assert f"RM_1: delivered ({sent} sent)" in said
    assert f"2 delivered to {service}, 0 left in {spool}" in said
    assert np.array_equal(sound(calls), pcm(0, 4 * FRAMES))
    assert call_file(calls)["ended"]["delivery"]["recovered"] is True
    assert not foreign.exists() and list(spool.iterdir()) == []


def test_recover_leaves_other_keys_calls_alone(service: str, calls: Path, spool: Path) -> None:
    """Status 1, whose they are, and what to do: they wait until their age ends that (fault 17)."""
    dead_call(spool, service, frames=0)
    status, said = command("recover", ROARK_SPOOL_DIR=str(spool), ROARK_BASE_URL=NOBODY)
    assert status == 1 and f"RM_1: left alone, it belongs to another service ({service})" in said
    assert f"0 delivered to {NOBODY}, 1 left in {spool}\nrun `doctor`" in said
    status, said = command(
        "recover", "--spool-dir", spool, "--base-url", service, key="rk_live_another"
    )
    assert status == 1 and "RM_1: left alone, it belongs to another key\n" in said
    assert not calls.exists()


def test_recover_keeps_what_the_service_does_not_take(
    service: str, calls: Path, spool: Path, faults: Faults
) -> None:
    """Status 1 and the reason; the next run delivers it (fault 17)."""
    faults.add("*:status=401")
    dead_call(spool, service, frames=FRAMES)
    status, said = command("recover", "--spool-dir", spool, "--base-url", service)
    assert status == 1 and "RM_1: kept (status 401; 0 recording chunks sent)" in said
    assert "0 delivered to " in said and ", 1 left in " in said
    faults.clear()
    status, said = command("recover", "--spool-dir", spool, "--base-url", service)
    assert status == 0 and "1 delivered to " in said and ", 0 left in " in said
    assert call_file(calls)["ended"]["recording"]["status"] == "complete"


@pytest.mark.parametrize("name", ["recover", "doctor"])
def test_a_key_or_a_spool_that_cannot_be_used_is_said(service: str, spool: Path, name: str) -> None:
    """Status 1 and one clear line, never the key (fault 15)."""
    spool.write_text("")
    to = ("--base-url", service)
    status, said = command(name, "--spool-dir", spool, *to)
    assert status == 1 and f"the spool directory {spool} is not a directory" in said
    status, said = command(name, "--spool-dir", spool, *to, key=None)
    assert status == 1 and "no API key" in said
    status, said = command(name, "--spool-dir", spool, *to, key=f"{KEY}\u0416")
    assert status == 1 and "the API key has characters" in said
    status, said = command(name, "--spool-dir", spool, "--base-url", "http://example.com")
    assert status == 1 and "must use https" in said


def test_the_spool_may_be_off(service: str) -> None:
    """Nothing to recover, nothing wrong (fault 15)."""
    assert command("recover", "--base-url", service, ROARK_SPOOL_DIR="off") == (
        0,
        "the spool is off (ROARK_SPOOL_DIR): there is nothing to recover\n",
    )
    status, said = command("doctor", "--base-url", service, ROARK_SPOOL_DIR="off")
    assert "off: a killed process loses what is not delivered" in said


def test_doctor_is_content_with_a_good_set_up(service: str, spool: Path) -> None:
    """Status 0, one line a check (fault 21)."""
    spool.mkdir(mode=0o755)
    status, said = command("doctor", "--spool-dir", spool, "--base-url", service)
    assert status == 0, said
    assert "FAIL" not in said and "(mode 0700, quota 1024.0 MiB)" in said
    assert f"{len(KEY)} characters" in said


def test_doctor_finds_calls_that_wait_and_touches_none(service: str, spool: Path) -> None:
    """Status 1: they could have been recovered (fault 23)."""
    dead_call(spool, service)
    status, said = command("doctor", "--spool-dir", spool, "--base-url", service)
    assert status == 1 and "1 call waiting (1.0 MiB, the oldest 0.0 h); run `recover`" in said
    (call,) = Spool(spool).calls()
    assert not call.claimed


def test_doctor_says_what_is_wrong_with_the_service(
    service: str, spool: Path, faults: Faults
) -> None:
    """Status 1 where it refuses the key or does not answer (fault 25)."""
    faults.add("*:status=403")
    status, said = command("doctor", "--spool-dir", spool, "--base-url", service)
    assert status == 1 and "refuses the key (status 403)" in said
    status, said = command("doctor", "--spool-dir", spool, "--base-url", NOBODY)
    assert status == 1 and "does not answer (127.0.0.1:9 refuses connections): is the" in said
    status, said = command("doctor", "--spool-dir", spool, "--base-url", "https://roark.invalid")
    assert status == 1 and "does not answer (no address for roark.invalid): is the" in said
