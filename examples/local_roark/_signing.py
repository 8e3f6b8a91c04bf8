"""Presigned upload URLs: one PUT of one chunk, soon."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from ._errors import RefusedError
from ._names import chunk_name, folder_name


@dataclass(frozen=True)
class Grant:
    """What one presigned URL allows.

    Attributes:
        call: The call's id.
        index: The chunk's place in the recording, from 0.
        type: The content type that the PUT must have.
        expires: When it ends to be good, in seconds of the service's clock.
        nonce: Makes it different from every other grant.
    """

    call: str
    index: int
    type: str
    expires: float
    nonce: str

    @property
    def s3_key(self) -> str:
        """Where the chunk would lie in the service's bucket."""
        return f"livekit/{folder_name(self.call)}/{chunk_name(self.index, self.type)}"


class Signer:
    """Issues grants, and checks those that come back.

    Args:
        lifetime: How long a grant is good, in seconds.
        clock: The time in seconds.
        secret: The HMAC key; by default a random one, so that a restart voids all older URLs.
    """

    def __init__(
        self, lifetime: float, clock: Callable[[], float], secret: bytes | None = None
    ) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._secret = secret or secrets.token_bytes(32)
        self._used: set[str] = set()

    def issue(self, call: str, index: int, content_type: str) -> Grant:
        """A fresh grant for one chunk."""
        expires = self._clock() + self.lifetime
        return Grant(call, index, content_type, expires, secrets.token_urlsafe(12))

    def query(self, grant: Grant) -> dict[str, str]:
        """The URL's query parameters: the grant and its signature."""
        fields = {name: str(value) for name, value in asdict(grant).items()}
        return {**fields, "signature": self._signature(grant)}

    def verify(self, query: Mapping[str, str]) -> Grant:
        """The grant in a URL's query, if it was issued here.

        Raises:
            RefusedError: 403 for one that was not, or that was changed on the way.
        """
        try:
            grant = Grant(
                query["call"],
                int(query["index"]),
                query["type"],
                float(query["expires"]),
                query["nonce"],
            )
            signature = query["signature"].encode()
        except (KeyError, ValueError) as error:
            raise RefusedError(403, "the URL is not one that was presigned here") from error
        if not hmac.compare_digest(signature, self._signature(grant).encode()):
            raise RefusedError(403, "the URL's signature does not match", "signature")
        return grant

    @contextmanager
    def redeem(self, grant: Grant) -> Iterator[None]:
        """Uses a grant up; one whose block raises can be tried again.

        Raises:
            RefusedError: 403 for a grant that is expired or used.
        """
        if self._clock() >= grant.expires:
            raise RefusedError(403, "the URL has expired: ask for a new one", "expires")
        if grant.nonce in self._used:
            raise RefusedError(403, "the URL has served its one PUT: ask for a new one", "nonce")
        self._used.add(grant.nonce)
        try:
            yield
        except BaseException:
            self._used.discard(grant.nonce)
            raise

    def _signature(self, grant: Grant) -> str:
        message = json.dumps(asdict(grant), sort_keys=True).encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
