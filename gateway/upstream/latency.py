"""How long the vendor takes lately, as far as it is known."""

from __future__ import annotations

from collections import deque

# Older samples say nothing about the vendor now.
RECENT_SECONDS = 10.0
SAMPLES = 64
MIN_SAMPLES = 16
# A new estimate is made each time this many samples came in.
ESTIMATE_EVERY = 8
QUANTILE = 0.95
# A vendor that is slow now and then must not make every search look slow.
MAX_MEDIANS = 1.5


class Latency:
    """A running estimate of the time that a search takes at the vendor. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._new = 0
        self._estimate = 0.0
        self._estimated_at = float("-inf")

    def add(self, seconds: float, now: float) -> None:
        """A search that ended `now` took so long."""
        self._samples.append((now, seconds))
        self._new += 1
        if self._new >= ESTIMATE_EVERY:
            self._new = 0
            self._estimate, self._estimated_at = self._estimated(now), now

    def expected_seconds(self, now: float) -> float:
        """What nearly every search takes; 0 if too little is known, so that nothing is refused by a guess."""
        return self._estimate if now - self._estimated_at < RECENT_SECONDS else 0.0

    def _estimated(self, now: float) -> float:
        recent = sorted(seconds for at, seconds in self._samples if now - at < RECENT_SECONDS)
        if len(recent) < MIN_SAMPLES:
            return 0.0
        return min(recent[int(len(recent) * QUANTILE)], MAX_MEDIANS * recent[len(recent) // 2])
