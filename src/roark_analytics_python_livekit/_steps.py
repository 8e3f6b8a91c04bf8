"""Long work in short steps: between two of them other threads get the interpreter."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work that yields after a millisecond or so, and returns what it found."""


def at_once(steps: Steps[T]) -> T:
    """Does all of the work, for who has nobody to wait for."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


async def in_steps(steps: Steps[T]) -> T:
    """Does the work step by step: the loop's other tasks and the process's other threads go on."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
        await asyncio.sleep(0)
