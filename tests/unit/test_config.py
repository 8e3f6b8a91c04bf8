"""Settings: what cannot work is refused in words that are fit for a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roark_analytics_python_livekit._config import (
    DEFAULT_BASE_URL,
    Settings,
    SettingsError,
    clean_api_key,
    clean_base_url,
    is_loopback,
    observability_enabled,
    resolve_settings,
    shown,
)

GOOD_KEY = "rk_live_replace_me"
ARGUMENTS: dict[str, Any] = {
    "api_key": GOOD_KEY,
    "base_url": None,
    "agent_id": "support",
    "agent_name": None,
    "agent_prompt": None,
    "is_test": False,
    "capture_audio": True,
    "recording": "chunks",
    "shutdown_timeout": 6.0,
    "environ": {},
}


def resolve(**changes: Any) -> Settings:
    """Settings from good arguments with some changed."""
    return resolve_settings(**{**ARGUMENTS, **changes})


class TestApiKey:
    """Keys."""

    @pytest.mark.parametrize(
        "key",
        [
            "canary\nsecret",
            "canary\r\nx-evil: secret",
            "canary\0secret",
            "canary secret",
            "canary\tsecret",
            "canary\x7fsecret",
            "canary\u200bsecret",
            "canary\u00a0secret",
            "canarysécret",
            "сanary-ключ-secret",
            "canary\ud800secret",
        ],
        ids=ascii,
    )
    def test_a_malformed_key_is_refused_without_being_repeated(self, key: str) -> None:
        """Control characters, spaces and other alphabets; the text has no part of the key."""
        with pytest.raises(SettingsError) as refusal:
            clean_api_key(key)
        assert "anary" not in str(refusal.value)
        assert "secret" not in repr(refusal.value)
        assert refusal.value.__cause__ is None

    @pytest.mark.parametrize("key", ["", None, "   ", "\n\t "])
    def test_a_key_that_is_missing_is_said_to_be_missing(self, key: object) -> None:
        """Nothing, and white space."""
        with pytest.raises(SettingsError, match="no API key: pass api_key or set ROARK_API_KEY"):
            clean_api_key(key)

    @pytest.mark.parametrize("key", [1234, 0, b"canary", ["canary"], True])
    def test_a_key_that_is_no_text_is_said_to_be_none(self, key: object) -> None:
        """It was passed: only what it is can be wrong."""
        kind = type(key).__name__
        with pytest.raises(SettingsError, match=f"^the API key must be a string, not {kind}$"):
            clean_api_key(key)

    def test_white_space_around_a_key_is_stripped(self) -> None:
        """A secret mounted from a file often ends with a newline."""
        assert clean_api_key(f" \t{GOOD_KEY}\r\n") == GOOD_KEY

    def test_the_key_is_not_in_the_settings_repr(self) -> None:
        """Settings may end up in a log."""
        assert GOOD_KEY not in repr(resolve())

    def test_an_argument_goes_before_the_environment(self) -> None:
        """ROARK_API_KEY is for where no key is passed."""
        environ = {"ROARK_API_KEY": "from-environment"}
        assert resolve(environ=environ).api_key == GOOD_KEY
        assert resolve(api_key=None, environ=environ).api_key == "from-environment"

    def test_an_empty_argument_does_not_fall_back(self) -> None:
        """Somebody passed a key that turned out empty: another one is not used silently."""
        with pytest.raises(SettingsError):
            resolve(api_key="", environ={"ROARK_API_KEY": "from-environment"})


class TestBaseUrl:
    """Where the service is."""

    @pytest.mark.parametrize(
        ("url", "clean"),
        [
            ("https://api.roark.ai", "https://api.roark.ai"),
            ("https://api.roark.ai/", "https://api.roark.ai"),
            (" https://api.roark.ai\n", "https://api.roark.ai"),
            ("HTTPS://api.roark.ai", "https://api.roark.ai"),
            ("https://api.roark.ai:8443", "https://api.roark.ai:8443"),
            ("https://proxy.test/roark/", "https://proxy.test/roark"),
            ("https://proxy.test/a/b", "https://proxy.test/a/b"),
            ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
            ("http://localhost:8787", "http://localhost:8787"),
            ("http://LOCALHOST", "http://LOCALHOST"),
            ("http://127.0.0.1:1", "http://127.0.0.1:1"),
            ("http://127.8.9.10", "http://127.8.9.10"),
            ("http://[::1]:8787", "http://[::1]:8787"),
        ],
    )
    def test_a_good_url_is_kept_without_its_trailing_slash(self, url: str, clean: str) -> None:
        """A path is a prefix: some reach Roark through a proxy."""
        assert clean_base_url(url) == clean

    @pytest.mark.parametrize(
        "url",
        [
            "http://api.roark.ai",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://localhost.evil.test",
            "http://127.0.0.1.evil.test",
            "http://[fe80::1]",
        ],
    )
    def test_plain_http_is_for_this_machine_only(self, url: str) -> None:
        """The key would travel readable (fault 13)."""
        with pytest.raises(SettingsError, match="must use https"):
            clean_base_url(url)

    @pytest.mark.parametrize(
        "url", ["https://canary@h.test", "https://u:canary@h.test", "https://:@h"]
    )
    def test_credentials_in_a_url_are_refused_and_not_repeated(self, url: str) -> None:
        """httpx would send them, and log them."""
        with pytest.raises(SettingsError, match="must not hold credentials") as refusal:
            clean_base_url(url)
        assert "canary" not in str(refusal.value)

    @pytest.mark.parametrize("url", ["https://h.test?x=canary", "https://h.test/#canary"])
    def test_a_query_or_fragment_is_refused(self, url: str) -> None:
        """Paths are appended: they would land in it."""
        with pytest.raises(SettingsError, match="query or a fragment"):
            clean_base_url(url)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "/",
            "api.roark.ai",
            "//api.roark.ai",
            "ftp://api.roark.ai",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://",
            "https:///path",
            "https://h.test:port",
            "https://h.test:99999",
            "https://h.test:-1",
            "https://[::1",
            "https://h.te\nst",
            "https://h.test/a b",
            "https://h.test\0",
            5,
            b"https://h.test",
        ],
    )
    def test_what_is_no_url_is_refused(self, url: object) -> None:
        """Whatever stands in the environment, the error is of one kind."""
        with pytest.raises(SettingsError):
            clean_base_url(url)

    def test_argument_then_environment_then_roark(self) -> None:
        """The order of preference; an empty variable is none."""
        environ = {"ROARK_BASE_URL": "https://env.test/"}
        assert resolve(base_url="https://arg.test", environ=environ).base_url == "https://arg.test"
        assert resolve(environ=environ).base_url == "https://env.test"
        assert resolve(environ={"ROARK_BASE_URL": ""}).base_url == DEFAULT_BASE_URL
        assert resolve().base_url == DEFAULT_BASE_URL

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
    def test_loopback_is_known_by_name_and_address(self, host: str) -> None:
        """The hosts to which plain http may go."""
        assert is_loopback(host)


class TestKillSwitch:
    """`ROARK_OBSERVABILITY_ENABLED`."""

    @pytest.mark.parametrize("value", ["false", "FALSE", "False", "0", "no", "NO", "off", " Off\n"])
    def test_it_switches_off(self, value: str) -> None:
        """In any case, with white space around."""
        assert not observability_enabled({"ROARK_OBSERVABILITY_ENABLED": value})

    @pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "on", " On\n", "", " "])
    def test_it_leaves_it_on(self, value: str) -> None:
        """As does a variable that is empty."""
        assert observability_enabled({"ROARK_OBSERVABILITY_ENABLED": value})

    @pytest.mark.parametrize("value", ["disabled", "none", "enabled", "f", "2", "nope", "nein"])
    def test_what_is_neither_yes_nor_no_is_refused(self, value: str) -> None:
        """Whoever wrote it may have meant either: it must not be taken for yes."""
        with pytest.raises(SettingsError) as refused:
            observability_enabled({"ROARK_OBSERVABILITY_ENABLED": value})
        said = f"ROARK_OBSERVABILITY_ENABLED must be true or false, not '{value}'"
        assert str(refused.value) == said

    def test_without_the_variable_it_is_on(self) -> None:
        """The default."""
        assert observability_enabled({})


class TestSpool:
    """Where calls are kept."""

    def test_argument_then_environment_then_the_users_state(self, tmp_path: Path) -> None:
        """The order of preference; "off" and None are in memory."""
        environ = {"ROARK_SPOOL_DIR": str(tmp_path)}
        assert resolve(spool_dir="x", environ=environ).spool_dir == Path("x")
        assert resolve(environ=environ).spool_dir == tmp_path
        assert resolve(environ={"ROARK_SPOOL_DIR": "off"}).spool_dir is None
        assert resolve(spool_dir=None, environ=environ).spool_dir is None
        default = resolve()
        assert default.spool_dir is not None and default.spool_dir.name == "roark-livekit"
        assert default.no_spool is None

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"spool_dir": "~/spool"},
            {"spool_dir": "~nobody-of-this-name/spool"},
            {"environ": {"ROARK_SPOOL_DIR": "~/spool"}},
        ],
        ids=str,
    )
    def test_without_a_home_directory_calls_are_kept_in_memory(
        self, homeless: None, changes: dict[str, Any]
    ) -> None:
        """That is no reason to observe nothing; it is known, so that it can be said (fault 15)."""
        settings = resolve(**changes)
        assert settings.spool_dir is None
        assert settings.no_spool is not None and "set ROARK_SPOOL_DIR" in settings.no_spool

    def test_without_a_home_directory_a_spool_may_be_elsewhere(
        self, homeless: None, tmp_path: Path
    ) -> None:
        """Or nowhere: neither is a thing to say."""
        for spool_dir in (tmp_path, None):
            settings = resolve(spool_dir=spool_dir)
            assert (settings.spool_dir, settings.no_spool) == (spool_dir, None)

    def test_off_is_in_memory_as_an_argument_too(self) -> None:
        """As in the environment; no directory of that name."""
        assert resolve(spool_dir="off").spool_dir is None

    @pytest.mark.parametrize("spool_dir", [5, b"spool", object()], ids=["int", "bytes", "object"])
    def test_what_is_no_path_is_refused(self, spool_dir: object) -> None:
        """A mistake in the code, which its author should see."""
        with pytest.raises(SettingsError, match="spool_dir must be a path or None"):
            resolve(spool_dir=spool_dir)


class TestTheRest:
    """The other arguments."""

    @pytest.mark.parametrize("mode", ["chunks", "wav", "off"])
    def test_each_recording_mode_is_taken(self, mode: str) -> None:
        """As documented."""
        assert resolve(recording=mode).recording == mode

    @pytest.mark.parametrize("mode", ["", "CHUNKS", "mp3", None, True, 1, []])
    def test_other_recording_modes_are_refused(self, mode: object) -> None:
        """By a message that names those that are."""
        with pytest.raises(SettingsError, match='"chunks", "wav" or "off"'):
            resolve(recording=mode)

    @pytest.mark.parametrize("value", ["no", "false", "", 0, 1, None, []])
    def test_capture_audio_is_yes_or_no(self, value: object) -> None:
        """ "no" would be true, and the call would be recorded."""
        with pytest.raises(SettingsError, match="^capture_audio must be True or False, not "):
            resolve(capture_audio=value)

    def test_capture_audio_false_records_nothing(self) -> None:
        """Whatever `recording` says."""
        assert resolve(capture_audio=False, recording="wav").recording == "off"

    @pytest.mark.parametrize("seconds", [0.001, 1, 6.0, 3599])
    def test_a_shutdown_timeout_is_seconds(self, seconds: float) -> None:
        """Whole or not, it becomes a float."""
        timeout = resolve(shutdown_timeout=seconds).shutdown_timeout
        assert timeout == seconds
        assert isinstance(timeout, float)

    @pytest.mark.parametrize(
        "seconds",
        [0, -1, -0.5, float("nan"), float("inf"), float("-inf"), 3600, 10**400, True, "6", None],
        ids=lambda value: str(value)[:8],
    )
    def test_a_shutdown_timeout_that_is_none_is_refused(self, seconds: object) -> None:
        """Not a number, no time, or for ever."""
        with pytest.raises(SettingsError, match="shutdown_timeout must be a number of seconds"):
            resolve(shutdown_timeout=seconds)

    @pytest.mark.parametrize("agent_id", ["", "  ", None, 5])
    def test_an_agent_needs_an_id(self, agent_id: object) -> None:
        """Calls are listed by it."""
        said = f"^agent_id must be a non-empty string, not {agent_id!r}$"
        with pytest.raises(SettingsError, match=said):
            resolve(agent_id=agent_id)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            *((42, "42"), ("no", "'no'"), (None, "None"), (1.5, "1.5"), (float("nan"), "nan")),
            *((b"no", "bytes"), (object(), "object"), ("x" * 100, "str"), (10**5000, "int")),
            *(([1], "list"), (SettingsError("canary"), "SettingsError")),
        ],
        ids=lambda value: str(type(value)),
    )
    def test_what_came_is_shown(self, value: object, text: str) -> None:
        """As it is where it is small and plain, else by its type."""
        assert shown(value) == text

    @pytest.mark.parametrize(("seconds", "lines"), [(6.0, 0), (9.5, 0), (10, 1), (60, 1)])
    def test_a_shutdown_timeout_that_livekit_does_not_wait_for_is_said(
        self, seconds: float, lines: int
    ) -> None:
        """It is taken: the worker may have more time than by default."""
        advice = resolve(shutdown_timeout=seconds, spool_dir=None).advice
        assert len(advice) == lines
        assert all(f"shutdown_timeout is {seconds} s, and LiveKit kills" in one for one in advice)

    def test_a_name_and_prompt_that_are_no_text_become_text(self) -> None:
        """They go over the wire as text; a prompt object must not cost the call."""
        settings = resolve(agent_name=5, agent_prompt=["be", "kind"])
        assert (settings.agent_name, settings.agent_prompt) == ("5", "['be', 'kind']")
        assert (resolve().agent_name, resolve().agent_prompt) == (None, None)

    def test_is_test_is_a_plain_bool(self) -> None:
        """0, 1 and None are taken for what they mean; a text may mean its opposite."""
        assert resolve(is_test=1).is_test is True
        assert resolve(is_test=None).is_test is False
        with pytest.raises(SettingsError, match="^is_test must be True or False, not 'no'$"):
            resolve(is_test="no")

    @pytest.mark.parametrize("base_url", [0, False, 5, []])
    def test_a_base_url_that_is_no_text_is_not_passed_over(self, base_url: object) -> None:
        """The call would go to another service than was meant."""
        with pytest.raises(SettingsError, match="^the base URL must be a string, not "):
            resolve(base_url=base_url)
