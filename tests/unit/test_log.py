"""The last net: whatever this package logs, it tells no secret."""

from __future__ import annotations

import logging

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roark_analytics_python_livekit._diagnostics import scrub

KEY = "rk_live_canary0"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"the key {KEY}!", "the key rk_...!"),
        (f"authorization: Bearer {KEY}", "authorization: Bearer ..."),
        (f"x-roark-api-key: {KEY}", "x-roark-api-key: ..."),
        ("pass api_key or set ROARK_API_KEY", "pass api_key or set ROARK_API_KEY"),
        ("ROARK_API_KEY=sesame", "ROARK_API_KEY=..."),
        (
            "PUT https://s.test/b/1.pcm?X-Sig=abc&y=z failed",
            "PUT https://s.test/b/1.pcm?... failed",
        ),
        ("see https://user:secret@host.test/path", "see https://host.test/path"),
        ("call RM_1 delivered: sent 2 events", "call RM_1 delivered: sent 2 events"),
    ],
)
def test_secrets_are_cut_out_of_a_text(text: str, clean: str) -> None:
    """Keys, passwords and signatures; everything else stays."""
    assert scrub(text) == clean


@given(st.text(), st.text(alphabet="abcXYZ019_-", min_size=1), st.text())
def test_no_text_around_it_lets_a_signature_through(before: str, secret: str, after: str) -> None:
    """Nor does any text make it raise."""
    hidden = f"SECRET{secret}"
    assume(hidden not in before and hidden not in after)
    assert hidden not in scrub(f"{before} https://storage.test/chunk?signature={hidden} {after}")


def test_arguments_and_tracebacks_are_cut_too(caplog: pytest.LogCaptureFixture) -> None:
    """A record is clean when it reaches the first handler."""
    plain = logging.getLogger("roark_analytics_python_livekit")
    try:
        raise ValueError(KEY)
    except ValueError as error:
        plain.warning("failed: %s", error, exc_info=True)
    (record,) = caplog.records
    assert record.getMessage() == "failed: rk_..."
    assert record.exc_info is None and record.args is None and record.levelno == logging.WARNING
