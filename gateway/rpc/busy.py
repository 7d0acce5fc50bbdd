"""How busy the event loop's thread was lately: above a half of the time, what one caller wastes others wait for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

BUSY_SHARE = 0.5
"""Of the time."""
AVERAGED_SECONDS = 0.5
"""Time constant of the average, long enough for a burst of refusals to pass as no load."""
_MEASURED_EVERY_SECONDS = 0.05
_SCHEDULER = Path("/proc/thread-self/schedstat")


def runnable_seconds() -> float:
    """How long the calling thread has run or waited for a processor so far.

    Where the kernel does not count the waiting: how long it has run.
    """
    try:
        ran, waited, _ = _SCHEDULER.read_text().split()
        return (int(ran) + int(waited)) / 1e9
    except (OSError, ValueError):
        return time.thread_time()


class BusyLoop:
    """An exponentially weighted average of the share of the time in which the thread had something to do.

    Ask it from the event loop. `seconds` gives the time in which the calling thread had something to do so far.
    """

    def __init__(self, seconds: Callable[[], float] = runnable_seconds) -> None:
        self._seconds = seconds
        self._measured_at = float("-inf")
        self._used = 0.0
        self._share = 0.0

    def __call__(self, now: float) -> bool:
        """Whether the loop is busy. `now` is monotonic, in seconds."""
        passed = now - self._measured_at
        if passed >= _MEASURED_EVERY_SECONDS:
            used = self._seconds()
            self._share += (1 - math.exp(-passed / AVERAGED_SECONDS)) * ((used - self._used) / passed - self._share)
            self._used, self._measured_at = used, now
        return self._share > BUSY_SHARE
