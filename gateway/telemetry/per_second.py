"""A number of times per second: what bounds the lines and traces that callers can cause."""

from __future__ import annotations


class PerSecond:
    """Allows `limit` takes within each second of whatever clock `take` is given."""

    __slots__ = ("_limit", "_second", "_taken")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._second = -1
        self._taken = 0

    def take(self, now: float) -> bool:
        """Whether one more is allowed in the second of `now`."""
        second = int(now)
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        return self._taken <= self._limit
