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
    found: list[T] = []
    for _ in _collecting(steps, found):
        pass
    return found[0]


async def in_steps(steps: Steps[T]) -> T:
    """Does the work step by step: the loop's other tasks and the process's other threads go on."""
    found: list[T] = []
    for _ in _collecting(steps, found):
        await asyncio.sleep(0)
    return found[0]


def _collecting(steps: Steps[T], found: list[T]) -> Steps[None]:
    found.append((yield from steps))
