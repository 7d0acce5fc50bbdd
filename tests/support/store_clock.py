"""The shared store's time, moved by a test."""

from __future__ import annotations

from gateway.cache.store_clock import StoreClock
from tests.support.clock import ManualClock


class ManualStoreClock(StoreClock):
    """The test's wall clock; what the real store says of its time is ignored."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self._offset = clock.now() - clock.monotonic()

    def note(self, store_time: float, sent_at: float, received_at: float) -> bool:
        """Changes nothing."""
        return True
