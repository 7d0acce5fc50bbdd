"""Time, as something that is handed in: tests move it, the gateway reads it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time, both in seconds."""

    def now(self) -> float:
        """Wall-clock time since 1970, for calendars and expiry times that others read."""
        ...

    def monotonic(self) -> float:
        """Time that never goes back, for durations within this process."""
        ...


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
