"""Who may call: the API key for the service, and no credentials at all for a presigned URL."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ._errors import RefusedError

_CREDENTIALS = ("authorization", "x-roark-api-key", "cookie")


def require_api_key(headers: Mapping[str, str], api_keys: Collection[str] | None) -> None:
    """Checks both places in which the key must stand.

    Args:
        headers: The request's headers.
        api_keys: The keys that are known; None knows every key that is not empty.

    Raises:
        RefusedError: 401 for a key that is missing or not the same in both, 403 for an unknown one.
    """
    key = headers.get("x-roark-api-key", "").strip()
    if not key:
        raise RefusedError(401, "the API key is missing", "x-roark-api-key")
    if headers.get("authorization", "") != f"Bearer {key}":
        raise RefusedError(401, "must be Bearer with the same key", "authorization")
    if api_keys is not None and key not in api_keys:
        raise RefusedError(403, "this key belongs to no LiveKit integration", "x-roark-api-key")


def refuse_credentials(headers: Mapping[str, str]) -> None:
    """Refuses what a storage server refuses: headers that were not signed, secrets above all.

    Raises:
        RefusedError: 400, naming the header.
    """
    for name in _CREDENTIALS:
        if name in headers:
            raise RefusedError(400, "a presigned URL takes no credentials", name)
