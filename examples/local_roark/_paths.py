"""The service's paths, and the names that faults and the delivery log have for them."""

from __future__ import annotations

EVENTS = "/v1/integrations/livekit-sdk"
CHUNK_UPLOAD_URL = f"{EVENTS}/chunk-upload-url"
UPLOADS = "/uploads"


def endpoint_of(path: str) -> str | None:
    """The endpoint's name; None for a page, which no fault hits."""
    if path.startswith(f"{UPLOADS}/"):
        return "uploads"
    return {EVENTS: "events", CHUNK_UPLOAD_URL: "chunk-upload-url"}.get(path)
