"""Names on disk, made so that nothing in a call's id can point outside the call's folder."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

SUFFIXES = {"audio/pcm": ".pcm", "audio/wav": ".wav"}

# Most file systems take 255 bytes; the rest is room for what backup tools append.
_LONGEST_NAME = 200


def folder_name(call_id: str) -> str:
    """A call's folder: the id itself where it is a plain word, percent-encoded elsewhere.

    Example:
        >>> folder_name("RM_4fT9"), folder_name("../etc"), folder_name("..")
        ('RM_4fT9', '%2E.%2Fetc', '%2E.')
    """
    name = quote(call_id, safe="")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LONGEST_NAME:
        # "+" is never left by quote(), so a shortened name is nobody's own name.
        name = f"{name[:100]}+{hashlib.sha256(call_id.encode()).hexdigest()[:32]}"
    return name


def chunk_name(index: int, content_type: str) -> str:
    """A chunk's file: zero-padded, so that a listing shows the chunks in order."""
    return f"{index:06d}{SUFFIXES[content_type]}"
