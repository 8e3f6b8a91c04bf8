"""Arguments and environment become one frozen, validated settings object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

import platformdirs

DEFAULT_BASE_URL = "https://api.roark.ai"
DEFAULT_SHUTDOWN_TIMEOUT = 6.0  # seconds; livekit kills a job 10 s after asking it to stop

LIVEKIT_WAITS = 10.0  # seconds, from asking a job to stop until it is killed, unless told otherwise

_ON = {"", "true", "1", "yes", "on"}
_OFF = {"false", "0", "no", "off"}
_SHOWN = (str, bool, int, float, type(None))

RecordingMode = Literal["chunks", "wav", "off"]


class SettingsError(ValueError):
    """A setting that cannot be used; the text says which and why, never a key's content."""


class NoHomeError(SettingsError):
    """The spool would be below a home directory, which there is not; the text says what to do."""


@dataclass(frozen=True)
class Settings:
    """What one observed call runs with."""

    api_key: str = field(repr=False)
    base_url: str
    agent_id: str
    agent_name: str | None
    agent_prompt: str | None
    is_test: bool
    recording: RecordingMode
    shutdown_timeout: float
    spool_dir: Path | None
    no_spool: str | None = None  # why it is None, where nobody asked for that

    @property
    def advice(self) -> list[str]:
        """What works, but perhaps not as it is meant."""
        advice = []
        if self.no_spool is not None:
            advice.append(f"no spool, this call is kept in memory only: {self.no_spool}")
        if self.shutdown_timeout >= LIVEKIT_WAITS:
            advice.append(
                f"shutdown_timeout is {self.shutdown_timeout:g} s, and LiveKit kills a job"
                f" {LIVEKIT_WAITS:g} s after asking it to stop: use less, or give the worker more"
                " (shutdown_process_timeout)"
            )
        return advice


class UseDefault(Enum):
    """Stands for "not given", where None means something else."""

    SPOOL_DIR = "spool_dir"


SpoolDir = str | os.PathLike[str] | None | UseDefault


def observability_enabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the kill switch `ROARK_OBSERVABILITY_ENABLED` lets anything be observed.

    Raises:
        SettingsError: It says neither yes nor no. Nothing may be observed then.
    """
    value = environ.get("ROARK_OBSERVABILITY_ENABLED", "").strip()
    if value.lower() not in _ON | _OFF:
        raise SettingsError(
            f"ROARK_OBSERVABILITY_ENABLED must be true or false, not {shown(value)}"
        )
    return value.lower() in _ON


def resolve_settings(
    *,
    api_key: str | None,
    base_url: str | None,
    agent_id: str,
    agent_name: str | None,
    agent_prompt: str | None,
    is_test: object,
    capture_audio: object,
    recording: str,
    shutdown_timeout: float,
    spool_dir: SpoolDir = UseDefault.SPOOL_DIR,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Validates the arguments of `observe_session`, with the environment behind them."""
    spool, no_spool = None, None
    if not isinstance(capture_audio, bool):
        raise SettingsError(f"capture_audio must be True or False, not {shown(capture_audio)}")
    if not isinstance(is_test, (int, type(None))):
        raise SettingsError(f"is_test must be True or False, not {shown(is_test)}")
    if capture_audio and recording not in get_args(RecordingMode):
        raise SettingsError(f'recording must be "chunks", "wav" or "off", not {shown(recording)}')
    if base_url is None or base_url == "":
        base_url = environ.get("ROARK_BASE_URL") or DEFAULT_BASE_URL
    try:
        spool = resolve_spool_dir(spool_dir, environ)
    except NoHomeError as error:
        no_spool = str(error)
    return Settings(
        api_key=clean_api_key(api_key if api_key is not None else environ.get("ROARK_API_KEY")),
        base_url=clean_base_url(base_url),
        agent_id=_non_empty("agent_id", agent_id),
        agent_name=None if agent_name is None else str(agent_name),
        agent_prompt=None if agent_prompt is None else str(agent_prompt),
        is_test=bool(is_test),
        recording=cast(RecordingMode, recording) if capture_audio else "off",
        shutdown_timeout=_positive("shutdown_timeout", shutdown_timeout),
        spool_dir=spool,
        no_spool=no_spool,
    )


def resolve_spool_dir(
    spool_dir: SpoolDir = UseDefault.SPOOL_DIR, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """The argument, else `ROARK_SPOOL_DIR`, else the user's state directory; None or "off" is None.

    Raises:
        NoHomeError: That is below a home directory, and there is none.
        SettingsError: The argument is no path.
    """
    try:
        if spool_dir is UseDefault.SPOOL_DIR:
            spool_dir = environ.get("ROARK_SPOOL_DIR", "").strip() or platformdirs.user_state_dir(
                "roark-livekit", appauthor=False
            )
        return None if spool_dir is None or spool_dir in _OFF else Path(spool_dir).expanduser()
    except RuntimeError:  # an id that no file of users knows, and no HOME: containers have that
        raise NoHomeError(
            "there is no home directory (set ROARK_SPOOL_DIR, or spool_dir, to an absolute path)"
        ) from None
    except (TypeError, ValueError):
        raise SettingsError(f"spool_dir must be a path or None, not {shown(spool_dir)}") from None


def clean_api_key(key: object) -> str:
    """A key fit for a header: surrounding white space stripped, anything unprintable refused."""
    problem = None
    if key is None or (isinstance(key, str) and not key.strip()):
        problem = "no API key: pass api_key or set ROARK_API_KEY"
    elif not isinstance(key, str):
        problem = f"the API key must be a string, not {type(key).__name__}"
    elif not all("!" <= character <= "~" for character in key.strip()):
        problem = "the API key has characters that no key has (spaces, control, accents)"
    else:
        return key.strip()
    del key  # error reports print local variables
    raise SettingsError(problem)


def clean_base_url(url: object) -> str:
    """The service's origin without a trailing slash; plain http only on loopback."""
    if not isinstance(url, str):
        raise SettingsError(f"the base URL must be a string, not {shown(url)}")
    url = url.strip()
    if not url.isprintable() or " " in url:  # urlsplit() would pass over some of them
        raise SettingsError("the base URL has white space or control characters")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise SettingsError("the base URL cannot be parsed") from None
    if parts.scheme not in {"https", "http"} or not host:
        raise SettingsError("the base URL must start with https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("the base URL must not hold credentials")
    if parts.query or parts.fragment:
        raise SettingsError("the base URL must not have a query or a fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise SettingsError("the base URL must use https (plain http only on loopback)")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address cannot leave this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def shown(value: object) -> str:
    """What came, fit for a log: small and plain values as they are, others by their type."""
    small = type(value) in _SHOWN and not (isinstance(value, int) and abs(value) >= 10**20)
    text = repr(value) if small else ""
    return text if 0 < len(text) <= 40 else f"{type(value).__name__}"


def _non_empty(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{name} must be a non-empty string, not {shown(value)}")
    return value


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 3600:
        raise SettingsError(
            f"{name} must be a number of seconds, above 0 and below an hour, not {shown(value)}"
        )
    return float(value)
