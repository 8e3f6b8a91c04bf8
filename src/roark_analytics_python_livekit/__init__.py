"""Observe LiveKit Agents calls in Roark: one line in the entrypoint, the agent never notices."""

from ._version import __version__
from .client import RoarkClient
from .session import CallHandle, CallStats, observe_session

__all__ = ["CallHandle", "CallStats", "RoarkClient", "__version__", "observe_session"]
