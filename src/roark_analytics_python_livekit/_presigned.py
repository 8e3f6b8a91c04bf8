"""Presigned URLs: where a chunk goes, as the service says, and where no chunk may go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ._config import is_loopback
from ._delivery.stats import Outcome
from ._http import RequestError


@dataclass(frozen=True)
class PresignedUpload:
    """Where one chunk goes: one PUT, soon, with exactly this content type."""

    url: str = field(repr=False)
    content_type: str


def upload_answer(body: bytes) -> Mapping[str, Any]:
    """The service's answer, if it holds a URL to which a chunk may go."""
    try:
        answer = json.loads(body)
        answer = answer.get("data", answer)
        kind = answer.get("contentType") or ""
        if not (_is_upload_url(answer["uploadUrl"]) and kind.isascii() and kind.isprintable()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, httpx.InvalidURL):
        raise RequestError(Outcome.LATER, "unusable answer (no upload URL)") from None
    return dict(answer)


def _is_upload_url(text: str) -> bool:
    url = httpx.URL(text)
    is_safe = url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host))
    return bool(url.host) and is_safe and (url.port is None or 0 < url.port < 65_536)
