"""Local Roark: a stand-in for the service, to look at calls offline and to make it misbehave."""

from ._faults import Fault, Faults
from ._misbehave import ConnectionDropped, FaultMiddleware
from ._serve import serve_in_background
from .app import create_app

__all__ = [
    "ConnectionDropped",
    "Fault",
    "FaultMiddleware",
    "Faults",
    "create_app",
    "serve_in_background",
]
