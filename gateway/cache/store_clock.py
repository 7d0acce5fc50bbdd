"""The shared store's time as one process knows it: the clock by which replicas date questions.

Each reading of the epochs brings the store's time. In between, this process's monotonic clock carries it on. So a wall
clock that is wrong or is set on one replica changes nothing: not the order of two questions, not the age of an answer.

The store took its reading at some moment between sending the command and receiving the reply. So each reading bounds
the difference between the two clocks from both sides, and several readings bound it more closely than one. Two replicas
agree to within one round trip to the store. The order of two questions closer than that is not known.

The store's clock may be set, or this machine may have been suspended. Then the two clocks no longer agree, and the
times in stored records mean nothing certain. `note` reports this, and the cache starts again from empty.
"""

from __future__ import annotations

from gateway.clock import Clock

STEP_SECONDS = 0.5
"""A change of the difference by more than this empties the cache. A smaller one is followed."""
_DRIFT = 0.001
"""How far clocks may drift apart per second. NTP corrects a clock by at most half of this on either side."""


class StoreClock:
    """The store's time, in seconds since 1970. Call `note` with a reading before the first use."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._earliest = self._latest = self._offset = 0.0
        self._noted_at: float | None = None

    def time(self) -> float:
        """The store's time now."""
        return self._monotonic() + self._offset

    def time_at(self, monotonic: float) -> float:
        """The store's time at a moment of this process's monotonic clock."""
        return monotonic + self._offset

    def note(self, store_time: float, sent_at: float, received_at: float) -> bool:
        """Takes a reading, with the monotonic times between which it was taken. False if the clock was set."""
        earliest, latest = store_time - received_at, store_time - sent_at
        moved = 0.0
        if self._noted_at is not None:
            drift = _DRIFT * (received_at - self._noted_at)
            known_earliest, known_latest = self._earliest - drift, self._latest + drift
            moved = max(earliest - known_latest, known_earliest - latest)
            if moved <= 0:
                earliest, latest = max(earliest, known_earliest), min(latest, known_latest)
        self._earliest, self._latest, self._noted_at = earliest, latest, received_at
        self._offset = (earliest + latest) / 2
        return moved <= STEP_SECONDS
