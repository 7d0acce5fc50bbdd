"""Time that only a test moves."""

from __future__ import annotations


class ManualClock:
    """Both readings start where the test says and move by `advance`."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> float:
        """Seconds since 1970."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since some time."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Moves both."""
        self._now += seconds
        self._monotonic += seconds

    def set(self, seconds: float) -> None:
        """Sets the wall clock forward or back; the monotonic one goes on."""
        self._now += seconds
