"""The last minutes in small steps, for the status page's charts: differences of the metrics, taken now and then.

Costs calls nothing: it reads totals that are kept anyway.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.telemetry import catalogue
from gateway.telemetry.call_metrics import CallMetrics

STEP_SECONDS = 5.0
STEPS = 120

_CODE, _CACHE = 1, 2
_REFUSED = frozenset({"RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED"})
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


@dataclass(frozen=True, slots=True)
class Moment:
    """One step: calls that ended in it, by kind, and their latency in milliseconds (None without calls).

    `asked` counts requests to the vendor, `unanswered` those that it failed, `denied` those of them that it would not let in.
    """

    seconds: float
    calls: int
    refused: int
    failed: int
    hits: int
    searched: int
    asked: int
    unanswered: int
    denied: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(slots=True)
class _Totals:
    calls: float
    refused: float
    failed: float
    hits: float
    searched: float
    asked: float
    unanswered: float
    denied: float
    buckets: list[float]


class History:
    """Keeps `STEPS` moments of at least `STEP_SECONDS` each."""

    def __init__(self, metrics: CallMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._at = clock.monotonic()
        self._before = self._totals()
        self.moments: deque[Moment] = deque(maxlen=STEPS)

    def tick(self) -> None:
        """Ends the current step, if it has lasted long enough."""
        now = self._clock.monotonic()
        seconds = now - self._at
        if seconds < STEP_SECONDS:
            return
        totals, before = self._totals(), self._before
        buckets = [late - early for late, early in zip(totals.buckets, before.buckets, strict=True)]
        self.moments.append(
            Moment(
                round(seconds, 3),
                int(totals.calls - before.calls),
                int(totals.refused - before.refused),
                int(totals.failed - before.failed),
                int(totals.hits - before.hits),
                int(totals.searched - before.searched),
                int(totals.asked - before.asked),
                int(totals.unanswered - before.unanswered),
                int(totals.denied - before.denied),
                quantile_ms(buckets, 0.5),
                quantile_ms(buckets, 0.99),
            )
        )
        self._at, self._before = now, totals

    def _totals(self) -> _Totals:
        totals = _Totals(0, 0, 0, 0, 0, 0, 0, 0, [0.0] * (len(catalogue.RPC_DURATION.bounds) + 1))
        for labels, series in self._metrics.duration.series.items():
            counts = series[:-1]
            count = sum(counts)
            totals.calls += count
            totals.refused += count if labels[_CODE] in _REFUSED else 0
            totals.failed += count if labels[_CODE] in _FAULTS else 0
            if labels[_CACHE] != "none":
                totals.searched += count
                totals.hits += count if labels[_CACHE] in {"hit", "coalesced"} else 0
            totals.buckets = [one + other for one, other in zip(totals.buckets, counts, strict=True)]
        for (status,), series in self._metrics.upstream.series.items():
            count = sum(series[:-1])
            totals.asked += count
            totals.unanswered += count if status not in catalogue.HEALTHY_STATUSES else 0
            totals.denied += count if status in catalogue.ACCESS_STATUSES else 0
        return totals


def quantile_ms(buckets: list[float], share: float) -> float | None:
    """An estimate from a histogram's buckets, as Prometheus makes it: linear within the bucket."""
    count = sum(buckets)
    if not count:
        return None
    wanted, below, lower = share * count, 0.0, 0.0
    for bound, inside in zip(catalogue.RPC_DURATION.bounds, buckets, strict=False):
        if below + inside >= wanted:
            return round((lower + (bound - lower) * (wanted - below) / inside) * 1000, 3)
        below, lower = below + inside, bound
    return round(lower * 1000, 3)
