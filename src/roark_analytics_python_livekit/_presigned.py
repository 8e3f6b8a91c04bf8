"""Presigned URLs: where a chunk goes, as the service says, and where no chunk may go."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from ._config import is_loopback
from ._delivery.stats import Outcome
from ._http import HEADERS, Request, RequestError

_PRIVATE_DOMAINS = ("localhost", "local", "internal", "home.arpa")  # RFC 6761, 6762, 8375; ICANN's


@dataclass(frozen=True)
class PresignedUpload:
    """Where one chunk goes: one PUT, soon, with exactly this content type."""

    url: str = field(repr=False)
    content_type: str

    def request(self, body: bytes | AsyncIterator[bytes], size: int) -> Request:
        """The PUT of so many bytes; it carries no credentials."""
        headers = {"content-type": self.content_type, "content-length": str(size)}
        with suppress(httpx.InvalidURL):
            return Request("PUT", self.url, content=body, headers=HEADERS | headers)
        raise RequestError(Outcome.REFUSED, "unusable URL")


def upload_answer(body: bytes, base: httpx.URL) -> Mapping[str, Any]:
    """The answer of the service at `base`, if it holds a URL to which a chunk may go."""
    answer = _parsed(body, base)
    if answer is None:
        del body  # error reports print local variables, and a presigned URL is a secret
        raise RequestError(Outcome.LATER, "unusable answer (no upload URL)")
    return answer


def _parsed(body: bytes, base: httpx.URL) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
        answer = answer.get("data", answer)
        kind = answer.get("contentType") or ""
        is_good = kind.isascii() and kind.isprintable()
        return dict(answer) if is_good and _may_go_to(answer["uploadUrl"], base) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, httpx.InvalidURL):
        return None


def _may_go_to(text: str, base: httpx.URL) -> bool:
    """Whether a service at `base` may have a chunk put there.

    One that everybody can reach has its storage where everybody can: it sends no call to this
    machine or into the network that this machine is in.
    """
    url = httpx.URL(text)
    if not url.host or url.userinfo or not (url.port is None or 0 < url.port < 65_536):
        return False
    if _is_public(base.host):
        return url.scheme == "https" and _is_public(url.host)
    return url.scheme == "https" or (
        url.scheme == "http" and is_loopback(url.host) and is_loopback(base.host)
    )


def _is_public(host: str) -> bool:
    """Whether this is a name that the public DNS may know; no address is, however written."""
    labels = host.lower().rstrip(".").split(".")
    is_name = len(labels) > 1 and not labels[-1][:1].isdigit() and ":" not in host
    return is_name and not any(
        labels[-len(domain) :] == domain for domain in (d.split(".") for d in _PRIVATE_DOMAINS)
    )
