"""`recover` and `doctor` in this process: what they return and say, and that no key is said."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_roark import Faults
from roark_analytics_python_livekit import RoarkClient, __main__, __version__
from roark_analytics_python_livekit.__main__ import OK, TROUBLE, main
from roark_analytics_python_livekit._delivery.spool import Spool
from tests.support.fake_roark import BASE_URL, KEY, Roark
from tests.unit.test_recovery import SOUND, dead_call, sound_of

NEXT = "run `doctor`: it says what to do about them\n"

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where calls wait."""
    return tmp_path / "spool"


@pytest.fixture
def run(
    roark: Roark, spool: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs a command as the user of a good key; its exit status, and all that it says."""
    monkeypatch.setattr(__main__, "RoarkClient", functools.partial(RoarkClient, transport=roark))
    monkeypatch.setenv("ROARK_API_KEY", KEY)
    monkeypatch.setenv("ROARK_BASE_URL", BASE_URL)
    monkeypatch.setenv("ROARK_SPOOL_DIR", str(spool))
    said: list[str] = []

    def run(*arguments: object) -> tuple[int, str]:
        status = main([str(argument) for argument in arguments])
        said.append("".join(capsys.readouterr()))
        return status, said[-1]

    yield run
    assert not re.search(r"rk_live|canary", "".join(said))


class TestRecover:
    """By hand, or from cron."""

    def test_it_delivers_and_says_what(self, run: Run, roark: Roark, spool: Path) -> None:
        """Status 0, one line a call, one at the end; the spool is empty."""
        dead_call(spool, "RM_1")
        dead_call(spool, "RM_2", sound=b"")
        status, said = run("recover")
        assert (status, said.splitlines()) == (
            OK,
            [
                "RM_1: delivered (3 recording chunks sent)",
                "RM_2: delivered (0 recording chunks sent)",
                f"2 delivered to {BASE_URL}, 0 left in {spool}",
            ],
        )
        assert sound_of(roark) == SOUND
        assert list(spool.iterdir()) == []

    def test_nothing_to_do_is_no_trouble(self, run: Run, roark: Roark, spool: Path) -> None:
        """Every time but the first, from cron."""
        assert run("recover") == (OK, f"0 delivered to {BASE_URL}, 0 left in {spool}\n")
        assert roark.seen == []

    def test_arguments_go_before_the_environment(self, run: Run, spool: Path) -> None:
        """Another spool, another service: that call is not its own."""
        dead_call(spool.with_name("another"))
        status, said = run("recover", "--spool-dir", spool.with_name("another"))
        assert status == OK and "1 delivered" in said
        dead_call(spool)
        assert run("recover", "--base-url", "https://another.test") == (
            TROUBLE,
            f"RM_1: left alone, it belongs to another service ({BASE_URL})\n"
            f"0 delivered to https://another.test, 1 left in {spool}\n{NEXT}",
        )

    def test_calls_of_a_key_that_was_replaced_are_delivered_on_demand(
        self, run: Run, roark: Roark, spool: Path
    ) -> None:
        """Only then: they may be another project's."""
        dead_call(spool, key="rk_live_mistyped")
        assert run("recover") == (
            TROUBLE,
            "RM_1: left alone, it belongs to another key\n"
            f"0 delivered to {BASE_URL}, 1 left in {spool}\n{NEXT}",
        )
        assert run("recover", "--any-key") == (
            OK,
            "RM_1: delivered (3 recording chunks sent)\n"
            f"1 delivered to {BASE_URL}, 0 left in {spool}\n",
        )
        assert sound_of(roark) == SOUND

    def test_what_is_not_taken_is_kept_and_its_reason_said(
        self, run: Run, faults: Faults, spool: Path
    ) -> None:
        """Status 1: cron should mail that."""
        faults.add("*:status=403")
        dead_call(spool)
        assert run("recover") == (
            TROUBLE,
            "RM_1: kept (status 403; 0 recording chunks sent)\n"
            f"0 delivered to {BASE_URL}, 1 left in {spool}\n{NEXT}",
        )
        faults.clear()
        assert run("recover")[0] == OK

    def test_a_call_that_tells_nothing_is_set_aside(self, run: Run, spool: Path) -> None:
        """Its journal is rubbish; without sound it is removed. Neither is tried again."""
        nothing = f"0 delivered to {BASE_URL}, 0 left in {spool}\n"
        (dead_call(spool) / "journal").write_bytes(b"rubbish")
        assert run("recover") == (
            OK,
            f"a call without a readable journal: set aside\n{nothing}",
        )
        assert run("recover") == (OK, nothing)
        status, said = run("doctor")
        assert status == OK
        assert re.search(r"ok +aside +1 call not readable \(0.5 MiB, .*\)", said)
        (dead_call(spool, sound=b"") / "journal").write_bytes(b"rubbish")
        assert run("recover") == (
            OK,
            f"a call without a readable journal: removed\n{nothing}",
        )

    def test_an_error_of_its_own_is_trouble(
        self,
        run: Run,
        spool: Path,
        monkeypatch: pytest.MonkeyPatch,
        internal_errors: list[Exception],
    ) -> None:
        """It is not said to be well; the call stays."""

        def broken(call: object) -> None:
            raise RuntimeError("canary")

        monkeypatch.setattr("roark_analytics_python_livekit._recovery.reading_state", broken)
        dead_call(spool)
        status, said = run("recover")
        assert (status, said) == (
            TROUBLE,
            f"0 delivered to {BASE_URL}, 1 left in {spool}\n{NEXT}",
        )
        assert len(internal_errors) == 1
        internal_errors.clear()

    def test_a_directory_that_does_not_exist_is_trouble(self, run: Run, tmp_path: Path) -> None:
        """It was mistyped, in cron say; none is made."""
        path = tmp_path / "mistyped"
        status, said = run("recover", "--spool-dir", str(path))
        assert (status, path.exists()) == (TROUBLE, False)
        assert said == f"{path} does not exist: there is nothing to recover\n"

    def test_calls_for_a_wrong_url_are_delivered_on_demand(
        self, run: Run, roark: Roark, spool: Path
    ) -> None:
        """The URL was corrected."""
        dead_call(spool, base_url="https://wrong.test")
        assert run("recover")[0] == TROUBLE
        assert run("recover", "--any-service") == (
            OK,
            "RM_1: delivered (3 recording chunks sent)\n"
            f"1 delivered to {BASE_URL}, 0 left in {spool}\n",
        )
        assert sound_of(roark) == SOUND

    def test_a_spool_that_is_off_has_nothing(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """That is a choice, no trouble."""
        monkeypatch.setenv("ROARK_SPOOL_DIR", "off")
        assert run("recover") == (
            OK,
            "the spool is off (ROARK_SPOOL_DIR): there is nothing to recover\n",
        )


class TestDoctor:
    """One line for each thing that is checked."""

    def test_a_good_set_up_is_all_ok(self, run: Run, spool: Path) -> None:
        """Status 0; key, service and spool are named, the key by its length only."""
        status, said = run("doctor")
        assert status == OK
        lines = [line.split(maxsplit=1) for line in said.splitlines()]
        assert {line[0] for line in lines} == {"ok"}
        told = "\n".join(" ".join(line[1].split()) for line in lines)
        assert told == "\n".join(
            [
                f"version {__version__}",
                "switch on",
                f"key {len(KEY)} characters",
                f"base URL {BASE_URL}",
                "service answers, and takes the key",
                f"spool {spool} (mode 0700, quota 1024.0 MiB)",
                "calls 0 in work",
                "left nothing waits to be delivered",
            ]
        )

    def test_calls_that_wait_are_trouble_and_are_not_touched(
        self, run: Run, roark: Roark, spool: Path
    ) -> None:
        """With the advice what to do; one in work is no trouble."""
        working = Spool(spool).begin("RM_working")
        working.append_record({})
        assert run("doctor")[0] == OK
        path = dead_call(spool)
        before = sorted(path.iterdir())
        status, said = run("doctor")
        assert status == TROUBLE
        assert re.search(r"ok +calls +1 in work\n", said)
        assert re.search(r"FAIL +left +1 call waiting \(0.5 MiB, .*\); run `recover`\n", said)
        assert sorted(path.iterdir()) == before
        assert {seen.what for seen in roark.seen} == {"url 0"}
        working.remove()

    def test_calls_of_other_keys_and_services_are_told_apart(
        self, run: Run, spool: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`recover` alone would not deliver them: what would is said; none is touched."""
        dead_call(spool)
        for name in ("RM_2", "RM_3"):
            dead_call(spool, name, key="rk_live_another")
        dead_call(spool, "RM_4", base_url="https://elsewhere.test")
        before = sorted((file, file.read_bytes()) for file in spool.glob("*/*"))
        status, said = run("doctor")
        assert status == TROUBLE
        assert re.search(r"FAIL +left +1 call waiting \(0.5 MiB, .*\); run `recover`\n", said)
        assert re.search(
            r"FAIL +other key +2 calls waiting \(1.0 MiB, .*\); "
            r"if the key was replaced, run `recover --any-key`\n",
            said,
        )
        assert re.search(
            r"FAIL +elsewhere +1 call waiting \(0.5 MiB, .*\); "
            r"run `recover --base-url https://elsewhere.test` with their key, "
            r"or `recover --any-service` if that URL was wrong\n",
            said,
        )
        assert sorted((file, file.read_bytes()) for file in spool.glob("*/*")) == before
        assert not any(call.claimed for call in Spool(spool).calls())
        monkeypatch.delenv("ROARK_API_KEY")  # nobody knows then which of them are its own
        assert re.search(r"FAIL +left +3 calls waiting .*; run `recover`\n", run("doctor")[1])

    @pytest.mark.parametrize(
        ("fault", "line"),
        [
            ("status=401", "FAIL service answers, and refuses the key (status 401)"),
            ("status=503", "FAIL service answers (status 503)"),
            ("status=400", "ok service answers (status 400)"),
            ("status=404", "FAIL service answers, and has no such path (status 404)"),
            ("status=405", "FAIL service answers, and has no such path (status 405)"),
            ("drop", "FAIL service does not answer (ConnectionDropped): is the base URL right"),
        ],
    )
    def test_what_is_wrong_with_the_service(
        self, run: Run, faults: Faults, fault: str, line: str
    ) -> None:
        """Refused, out of order, or not there."""
        faults.add(f"*:{fault}")
        status, said = run("doctor")
        assert line in " ".join(said.split())
        assert status == (OK if line.startswith("ok") else TROUBLE)

    def test_without_a_key_the_service_is_not_asked(
        self, run: Run, roark: Roark, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it says to another key tells nothing."""
        monkeypatch.delenv("ROARK_API_KEY")
        status, said = run("doctor")
        assert status == TROUBLE
        assert re.search(r"FAIL +service +not asked: that needs a key and a base URL\n", said)
        assert not roark.seen

    @pytest.mark.parametrize("proxy", ["foo://proxy.test", "http://[::1"])
    def test_a_mistyped_proxy_is_seen(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, proxy: str
    ) -> None:
        """With what to look at; the spool is looked at all the same."""
        monkeypatch.setattr(__main__, "RoarkClient", RoarkClient)
        monkeypatch.setenv("ALL_PROXY", proxy)
        status, said = run("doctor")
        assert status == TROUBLE
        assert re.search(r"FAIL +service +cannot be asked \(\w+\): .*proxy variables", said)
        assert re.search(r"ok +spool ", said)

    def test_the_kill_switch_is_seen(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is observed then: whoever looks for a call should know."""
        monkeypatch.setenv("ROARK_OBSERVABILITY_ENABLED", "off")
        status, said = run("doctor")
        assert status == TROUBLE
        assert re.search(r"FAIL +switch +off: ROARK_OBSERVABILITY_ENABLED says so\n", said)

    def test_a_switch_that_says_neither_yes_nor_no_is_seen(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is observed, as long as it says that; what it says may be a key."""
        for value, shown in (("disabled", "disabled"), ("rk_live_canary0", "rk_...")):
            monkeypatch.setenv("ROARK_OBSERVABILITY_ENABLED", value)
            status, said = run("doctor")
            assert status == TROUBLE
            assert f"must be true or false, not '{shown}': nothing is observed\n" in said

    def test_a_spool_that_is_off_is_said(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """And what that costs."""
        monkeypatch.setenv("ROARK_SPOOL_DIR", "off")
        status, said = run("doctor")
        assert status == OK
        assert "off: a killed process loses what is not delivered" in said


class TestSettings:
    """What neither of them can work with."""

    @pytest.mark.parametrize("command", ["recover", "doctor"])
    @pytest.mark.parametrize(
        ("name", "value", "complaint"),
        [
            ("ROARK_API_KEY", None, "no API key"),
            ("ROARK_API_KEY", "", "no API key"),
            ("ROARK_API_KEY", "rk_live_canary\x07", "the API key has characters"),
            ("ROARK_API_KEY", "rk_live_canary\u0416", "the API key has characters"),
            ("ROARK_BASE_URL", "http://roark.test", "must use https"),
            ("ROARK_BASE_URL", "https://user:canary@roark.test", "must not hold credentials"),
            ("ROARK_SPOOL_DIR", "{file}", "file is not a directory"),
        ],
    )
    def test_they_are_named_and_no_part_of_a_key_is(
        self,
        run: Run,
        roark: Roark,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        command: str,
        name: str,
        value: str | None,
        complaint: str,
    ) -> None:
        """Status 1 and one clear line (fault 14)."""
        (tmp_path / "file").touch()
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value.format(file=tmp_path / "file"))
        status, said = run(command)
        assert status == TROUBLE
        assert complaint in said
        assert roark.accepted() == []

    @pytest.mark.parametrize("command", ["recover", "doctor"])
    def test_without_a_home_directory_they_say_what_to_do(
        self, run: Run, homeless: None, command: str
    ) -> None:
        """The default is below it."""
        status, said = run(command)
        assert status == TROUBLE
        assert "there is no home directory (set ROARK_SPOOL_DIR" in said

    @pytest.mark.parametrize("arguments", [[], ["nonsense"], ["recover", "--api-key", "x"]])
    def test_an_unknown_command_or_option_is_refused(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """There is none for the key: arguments show in process lists."""
        with pytest.raises(SystemExit) as refused:
            main(arguments)
        assert refused.value.code == 2
        assert "usage:" in capsys.readouterr().err

    def test_the_version_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`--version`."""
        with pytest.raises(SystemExit) as ended:
            main(["--version"])
        assert ended.value.code == 0
        assert capsys.readouterr().out == f"{__version__}\n"
