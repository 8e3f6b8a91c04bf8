"""What of the caller's own keywords becomes metadata: no misspelt option, and no API key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from os.path import commonprefix
from typing import Any

from ._config import SettingsError, shown
from ._diagnostics import hide_keys, logger
from ._serialize import json_safe

# What is sent, and where to: of these a misspelt one has to cost the call.
_DECISIVE = {"redact", "recording", "capture_audio", "base_url", "spool_dir"}
_SWITCHES = {  # what a switch of that name would be about, and how it is set
    "redact": "redact=redact_pii",
    "redaction": "redact=redact_pii",
    "pii": "redact=redact_pii",
    "transcript": "call.pause_recording(transcripts=False)",
    "transcripts": "call.pause_recording(transcripts=False)",
    "transcription": "call.pause_recording(transcripts=False)",
    "spool": "spool_dir",
    "record": "capture_audio",
    "recording": "capture_audio",
    "audio": "capture_audio",
}
_FILLERS = {"capture", "enable", "enabled", "dir", "text"}  # words that may stand beside those


def metadata_of(keywords: Mapping[str, Any], options: Iterable[str]) -> dict[str, Any]:
    """The metadata that these keywords are; `metadata={...}` is taken as more of it, of any name.

    Raises:
        SettingsError: One of them was meant to be an option that decides what is sent, or where.
    """
    found, options = dict(keywords), list(options)
    for name, value in keywords.items():
        option = _meant(name, value, options)
        if (switch := _switched(name, value, options)) is not None:
            raise SettingsError(f"{shown(name)} is no option: write {switch}, or {_other(name)}")
        if option in _DECISIVE:
            raise SettingsError(f"{shown(name)} is no option: write {option}, or {_other(name)}")
        if option == "api_key":
            del found[name]
            logger.warning("roark: %s is no option, and is not sent: write api_key", shown(name))
        elif option is not None:
            text = "roark: %s is no option, and becomes metadata: write %s, or %s"
            logger.warning(text, shown(name), option, _other(name))
    return merged(found)


def merged(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords, of which `metadata={...}` is more, of any name."""
    found = dict(keywords)
    more = found.get("metadata")
    if isinstance(more, Mapping):
        with suppress(Exception):  # whatever a mapping of theirs does: it is a value then
            named = {**more}
            del found["metadata"]
            found = {**named, **found}
    return found


def sendable(values: object, api_key: str) -> Any:
    """Metadata as plain JSON in which no text holds a key: `api_key`, or what looks like one."""
    plain = json_safe(values)
    clean = _without_keys(plain, api_key)
    if clean != plain:
        logger.warning("roark: an API key in the metadata is not sent")
    return clean


def _without_keys(value: Any, api_key: str) -> Any:
    if isinstance(value, str):
        clean = hide_keys(value)
        # A short one may be part of any word; none of Roark's is.
        return clean.replace(api_key, "...") if len(api_key) >= 12 else clean
    if isinstance(value, dict):
        return {
            _without_keys(name, api_key): _without_keys(one, api_key) for name, one in value.items()
        }
    return [_without_keys(one, api_key) for one in value] if isinstance(value, list) else value


def _other(name: str) -> str:
    return f"metadata={{{shown(name)}: ...}}"


def _meant(name: str, value: object, options: list[str]) -> str | None:
    """The option that a name misses by a letter, by two in the wrong order, or by how it is set."""
    if name in options:  # `metadata` itself
        return None
    if name.lower().startswith("redact") and callable(value):
        return "redact"
    plain = name.replace("_", "").lower()
    return next((option for option in options if _is_near(plain, option.replace("_", ""))), None)


def _switched(name: str, value: object, options: list[str]) -> str | None:
    """How that is kept back which a keyword like `audio=False` or `redact_pii=True` means to."""
    words = name.lower().split("_")
    about = [word for word in words if word in _SWITCHES]
    if not about or name in options or not set(words) <= _SWITCHES.keys() | _FILLERS:
        return None
    how = _SWITCHES[about[-1]]
    keeps_back = value is True if how.startswith("redact") else value is False or value is None
    return how if keeps_back else None


def _is_near(one: str, other: str) -> bool:
    start = len(commonprefix([one, other]))
    one, other = one[start:], other[start:]
    end = len(commonprefix([one[::-1], other[::-1]]))
    one, other = one[: len(one) - end], other[: len(other) - end]
    return max(len(one), len(other)) <= 1 or (len(one) == 2 and one == other[::-1])
