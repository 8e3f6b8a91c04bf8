"""This package's logger, which cannot tell a secret."""

from __future__ import annotations

import logging
import re

_SECRETS = (
    (re.compile(r"(https?://)[^\s/@\"']*@"), r"\1"),  # user and password of a URL
    (re.compile(r"(https?://[^\s?\"']*)\?[^\s\"']*"), r"\1?..."),  # a presigned URL's signature
    (re.compile(r"\brk_[A-Za-z]+_[A-Za-z0-9_-]+"), "rk_..."),  # a key of Roark's
    (re.compile(r"(?i)(\bbearer +|api[-_]key *[=:][=: ]*)\S+"), r"\1..."),
)


class _NoSecrets(logging.Filter):
    """The net under all the care: whatever is logged here, keys and signatures are not."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = scrub(record.getMessage()), None
        record.exc_info = record.exc_text = None  # a traceback shows the arguments of an exception
        return True


def scrub(text: str) -> str:
    """`text` without what looks like a key, a password or a signature."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _make_logger() -> logging.Logger:
    made = logging.getLogger("roark_analytics_python_livekit")
    made.addFilter(_NoSecrets())
    return made


logger = _make_logger()
