"""How much of the processor the checking of strangers' signatures may take.

A made-up token costs its sender a few hundred bytes and the gateway up to a millisecond on the one thread that also
answers everybody else.
"""

from __future__ import annotations

from gateway.clock import Clock

SHARE = 0.2
BURST_SECONDS = 0.1


class WorkBudget:
    """Time for a kind of work: `SHARE` of one core, and at most `BURST_SECONDS` at once after a quiet time."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._left = BURST_SECONDS
        self._counted_at = clock.monotonic()

    def wait_seconds(self) -> float:
        """0 if work may begin now, else the time until it may."""
        now = self._clock.monotonic()
        self._left = min(BURST_SECONDS, self._left + (now - self._counted_at) * SHARE)
        self._counted_at = now
        return 0.0 if self._left > 0 else -self._left / SHARE

    def spend(self, seconds: float) -> None:
        """Counts work that was done."""
        self._left -= seconds
