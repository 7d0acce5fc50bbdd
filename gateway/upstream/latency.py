"""How long the vendor takes lately, as far as it is known."""

from __future__ import annotations

from collections import deque

# Older samples say nothing about the vendor now.
RECENT_SECONDS = 10.0
SAMPLES = 256
MIN_SAMPLES = 16
# A new estimate is made each time this many samples came in.
ESTIMATE_EVERY = 16
# What nearly every search takes, bounded by the median: a vendor that is slow now and then must not look always slow.
USUAL_QUANTILE = 0.95
MAX_MEDIANS = 1.5
# What a fast search takes. A moment in which everything stood still does not move it.
FAST_QUANTILE = 0.1


class Latency:
    """Running estimates of the time that a search takes at the vendor. All times are monotonic seconds.

    `usual_seconds` is what nearly every search takes, `fast_seconds` what only a fast one does. Both are 0 while too
    little is known, so that nothing is refused by a guess.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._new = 0
        self._usual = self._fast = 0.0
        self._estimated_at = float("-inf")

    def add(self, seconds: float, now: float) -> None:
        """A search that ended `now` took so long."""
        self._samples.append((now, seconds))
        self._new += 1
        if self._new >= ESTIMATE_EVERY:
            self._new = 0
            self._estimate(now)

    def usual_seconds(self, now: float) -> float:
        """For a choice between searches."""
        return self._usual if now - self._estimated_at < RECENT_SECONDS else 0.0

    def fast_seconds(self, now: float) -> float:
        """For a search that has no rival: it is hopeless if even a fast answer would come too late."""
        return self._fast if now - self._estimated_at < RECENT_SECONDS else 0.0

    def _estimate(self, now: float) -> None:
        recent = sorted(seconds for at, seconds in self._samples if now - at < RECENT_SECONDS)
        count = len(recent)
        self._estimated_at = now
        self._usual = self._fast = 0.0
        if count >= MIN_SAMPLES:
            self._usual = min(recent[int(count * USUAL_QUANTILE)], MAX_MEDIANS * recent[count // 2])
            self._fast = recent[int(count * FAST_QUANTILE)]
