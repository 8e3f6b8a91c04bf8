"""The pages to look at calls."""

from .endpoints import Pages

__all__ = ["Pages"]
