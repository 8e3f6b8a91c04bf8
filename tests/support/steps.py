"""How long one step of Python holds the interpreter, so that no other thread can have it."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable


def longest_step(work: Callable[[], object]) -> float:
    """Seconds of this thread's CPU time between two calls or returns of `work`, at most.

    In between the interpreter may do one thing that it does not interrupt: a regular expression's
    search, the encoding of a JSON text. The CPU time of the thread does not depend on others.
    """
    longest = before = 0.0

    def on_event(frame: object, event: str, argument: object) -> None:
        nonlocal longest, before
        longest = max(longest, time.thread_time() - before)
        before = time.thread_time()

    gc.collect()
    gc.disable()
    before = time.thread_time()
    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return longest


def is_in_steps(work: Callable[[], object], seconds: float) -> bool:
    """Whether no step takes so long, or a fourth of the whole where the machine is slow or busy.

    The best of five: what else happens on the machine makes a step longer, never shorter.
    """

    def is_short() -> bool:
        began = time.thread_time()
        longest = longest_step(work)
        return longest < max(seconds, (time.thread_time() - began) / 4)

    return any(is_short() for _ in range(5))
