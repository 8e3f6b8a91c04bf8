"""Keywords that are no option: misspelt ones are said, and no key is ever sent."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from roark_analytics_python_livekit import observe_session
from roark_analytics_python_livekit._config import SettingsError
from roark_analytics_python_livekit._metadata import metadata_of, sendable
from roark_analytics_python_livekit.session import _OPTIONS

KEY = "rk_live_canary0"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged."""
    return [record.getMessage() for record in caplog.records]


def test_the_options_are_the_arguments() -> None:
    """One that is added is known here too."""
    names = list(inspect.signature(observe_session).parameters)
    assert names == ["ctx", "session", *_OPTIONS]


@pytest.mark.parametrize(
    "name",
    [
        *("plan", "tries", "order", "agent", "agent_version", "version", "user", "caller", "test"),
        *("call_id", "room", "key", "url", "record", "redacted", "recorded", "audio", "logs"),
        *("client_id", "customer", "metadata_version", "is_vip", "prompt", "", "ü", "\ud800"),
    ],
)
def test_a_name_of_its_own_is_metadata(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """As ever, and nothing is said."""
    assert metadata_of({name: True}, _OPTIONS) == {name: True}
    assert lines(caplog) == []


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("agent_nme", "agent_name"), ("agentName", "agent_name"), ("agent_ids", "agent_id")),
        *(("is_tset", "is_test"), ("shutdown_timout", "shutdown_timeout"), ("clint", "client")),
        *(("livekit_callid", "livekit_call_id"), ("captur_logs", "capture_logs")),
    ],
)  # fmt: skip
def test_a_misspelt_option_is_said_and_stays_metadata(
    name: str, option: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With what was meant, and how to say that it was not."""
    assert metadata_of({name: 1, "plan": "gold"}, _OPTIONS) == {name: 1, "plan": "gold"}
    assert lines(caplog) == [
        f"roark: '{name}' is no option, and becomes metadata: write {option},"
        f" or metadata={{'{name}': ...}}"
    ]


@pytest.mark.parametrize("name", ["api_keyy", "apikey", "api_kye", "API_KEY", "ap_key"])
def test_what_was_meant_to_be_the_key_is_not_sent(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it looks like; nor is it logged."""
    assert metadata_of({name: "canary", "plan": "gold"}, _OPTIONS) == {"plan": "gold"}
    assert lines(caplog) == [f"roark: '{name}' is no option, and is not sent: write api_key"]


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        *(("redct", len, "redact"), ("redcat", len, "redact"), ("redactor", len, "redact")),
        *(("redact_with", len, "redact"), ("Redact", None, "redact")),
        *(("recodring", "off", "recording"), ("recordng", "off", "recording")),
        *(("capture_adio", False, "capture_audio"), ("captureAudio", False, "capture_audio")),
        *(("base_ulr", "https://h.test", "base_url"), ("spooldir", None, "spool_dir")),
    ],
)
def test_a_misspelt_option_that_keeps_something_back_is_refused(
    name: str, value: object, option: str
) -> None:
    """What it was to keep back would be sent: nothing is observed instead."""
    with pytest.raises(SettingsError) as refused:
        metadata_of({name: value}, _OPTIONS)
    said = f"'{name}' is no option: write {option}, or metadata={{'{name}': ...}}"
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("name", "value", "how"),
    [
        *(("redact_pii", True, "redact=redact_pii"), ("pii_redaction", True, "redact=redact_pii")),
        *(("record", False, "capture_audio"), ("record_audio", False, "capture_audio")),
        *(("audio", None, "capture_audio"), ("enable_recording", False, "capture_audio")),
        ("transcripts", False, "call.pause_recording(transcripts=False)"),
        ("capture_transcripts", False, "call.pause_recording(transcripts=False)"),
        ("spool", None, "spool_dir"),
    ],
)
def test_what_reads_like_a_privacy_option_is_refused(name: str, value: object, how: str) -> None:
    """It would be metadata, and all would be sent."""
    with pytest.raises(SettingsError) as refused:
        metadata_of({name: value}, _OPTIONS)
    said = f"'{name}' is no option: write {how}, or metadata={{'{name}': ...}}"
    assert str(refused.value) == said


@pytest.mark.parametrize(
    "plain", [{"has_audio": False}, {"record": True}, {"audio": "off"}, {"spool": 7}, {"pii": ""}]
)
def test_what_switches_nothing_off_is_metadata(plain: dict[str, object]) -> None:
    """A value of its own, or a name with a word of its own."""
    assert metadata_of(plain, _OPTIONS) == plain


def test_a_mapping_is_more_metadata_of_any_name(caplog: pytest.LogCaptureFixture) -> None:
    """A keyword of the same name goes before."""
    more = {"plan": "silver", "redct": 1, "api_keyy": 2, "metadata": 3}
    found = metadata_of({"plan": "gold", "metadata": more}, _OPTIONS)
    assert found == {**more, "plan": "gold"}
    assert lines(caplog) == []


@pytest.mark.parametrize("value", [None, "text", ["a"], 5])
def test_what_is_no_mapping_is_a_value(value: object) -> None:
    """Nothing that was given is left out."""
    assert metadata_of({"metadata": value}, _OPTIONS) == {"metadata": value}


def test_a_mapping_that_raises_costs_nothing_else() -> None:
    """It becomes a value, as any object that cannot be looked into."""

    class Hostile(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise RuntimeError

        def __iter__(self) -> Iterator[str]:
            raise RuntimeError

        def __len__(self) -> int:
            return 1

    hostile = Hostile()
    found = metadata_of({"metadata": hostile, "plan": "gold"}, _OPTIONS)
    assert found["metadata"] is hostile and found["plan"] == "gold"


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({"token": KEY}, {"token": "rk_..."}),
        ({"a": [{"b": f"Bearer {KEY}"}]}, {"a": [{"b": "Bearer rk_..."}]}),
        ({KEY: 1}, {"rk_...": 1}),
        ({"own": "key=another-canary-key!"}, {"own": "key=...!"}),
    ],
)
def test_no_key_is_sent(
    values: dict[str, Any], sent: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Roark's, as they look, and the one that the call itself is sent with; said without it."""
    assert sendable(values, "another-canary-key") == sent
    assert lines(caplog) == ["roark: an API key in the metadata is not sent"]


@pytest.mark.parametrize("key", ["k", "gold", KEY])
def test_what_holds_no_key_is_sent_as_it_is(key: str, caplog: pytest.LogCaptureFixture) -> None:
    """A key that is as short as a word is not looked for."""
    values = {"plan": "gold", "risk": "rk_", "n": [1, None, True]}
    assert sendable(values, key) == values
    assert lines(caplog) == []
