"""The last ten minutes in small steps, for the status page: what was added to the metrics in each."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.clock import Clock
from gateway.telemetry import catalogue
from gateway.telemetry.call_metrics import CallMetrics

STEP_SECONDS = 5.0
STEPS = 120
OUTCOMES = ("cache", "vendor", "failed")
"""Ends of a single search: answered by the cache, answered with the vendor's help, failed. Refused ones are none of these."""

_MINUTE_SECONDS = 60.0
_METHOD, _CODE, _CACHE = 0, 1, 2
_SEARCH = "facegate.search.v1.FaceSearchService/SearchFace"
_REFUSED = frozenset({"RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED"})
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_BUCKETS = len(catalogue.RPC_DURATION.bounds) + 1

Ends = dict[tuple[str, str], int]
_Key = TypeVar("_Key")


@dataclass(slots=True)
class Moment:
    """One step: the calls that ended in it.

    `asked` counts requests to the vendor and `unanswered` those that it failed, with their statuses in `statuses`.
    `latency` has the buckets of `catalogue.RPC_DURATION` for each outcome. `ends` counts calls and items of streams that
    did not end well, by tenant and reason.
    """

    seconds: float = 0.0
    calls: int = 0
    refused: int = 0
    failed: int = 0
    hits: int = 0
    searched: int = 0
    asked: int = 0
    unanswered: int = 0
    latency: dict[str, list[float]] = field(default_factory=lambda: {one: [0.0] * _BUCKETS for one in OUTCOMES})
    statuses: dict[str, int] = field(default_factory=dict)
    ends: Ends = field(default_factory=dict)


class History:
    """Keeps `STEPS` moments of at least `STEP_SECONDS` each. `ends` sums theirs."""

    def __init__(self, metrics: CallMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._at = clock.monotonic()
        self._before = self._totals()
        self.moments: deque[Moment] = deque()
        self.ends: Ends = {}
        self._last: Moment | None = None

    def tick(self) -> bool:
        """Ends the current step, if it has lasted long enough. Whether it did."""
        now = self._clock.monotonic()
        seconds = now - self._at
        if seconds < STEP_SECONDS:
            return False
        totals = self._totals()
        self.add(_since(totals, self._before, round(seconds, 3)))
        self._at, self._before = now, totals
        return True

    def add(self, moment: Moment) -> None:
        """Takes a step in, and drops the one that is too old."""
        self.moments.append(moment)
        self._last = None
        for end, count in moment.ends.items():
            self.ends[end] = self.ends.get(end, 0) + count
        if len(self.moments) > STEPS:
            for end, count in self.moments.popleft().ends.items():
                self.ends[end] -= count
                if not self.ends[end]:
                    del self.ends[end]

    def last_minute(self) -> Moment:
        """The latest steps as one, a minute of them or a little more; its `seconds` says how many there are."""
        if self._last is None:
            self._last = Moment()
            for moment in reversed(self.moments):
                if self._last.seconds >= _MINUTE_SECONDS:
                    break
                _add(self._last, moment)
        return self._last

    def _totals(self) -> Moment:
        totals = Moment()
        for labels, series in self._metrics.duration.series.items():
            counts = series[:-1]
            count = int(sum(counts))
            totals.calls += count
            totals.refused += count if labels[_CODE] in _REFUSED else 0
            totals.failed += count if labels[_CODE] in _FAULTS else 0
            if labels[_CACHE] != "none":
                totals.searched += count
                totals.hits += count if labels[_CACHE] in {"hit", "coalesced"} else 0
            outcome = _outcome(labels)
            if outcome:
                totals.latency[outcome] = _summed(totals.latency[outcome], counts)
        for (status,), series in self._metrics.upstream.series.items():
            count = int(sum(series[:-1]))
            totals.asked += count
            if status not in catalogue.HEALTHY_STATUSES:
                totals.unanswered += count
                totals.statuses[status] = count
        for counter in (self._metrics.tenant_calls, self._metrics.bulk_items):
            for (tenant, reason), amount in counter.values.items():
                if reason != "OK" and amount:
                    totals.ends[tenant, reason] = totals.ends.get((tenant, reason), 0) + int(amount)
        return totals


_COUNTS = ("calls", "refused", "failed", "hits", "searched", "asked", "unanswered")


def _outcome(labels: tuple[str, ...]) -> str:
    if labels[_METHOD] != _SEARCH:
        return ""
    if labels[_CODE] in _FAULTS:
        return "failed"
    if labels[_CODE] != "OK":
        return ""
    return "cache" if labels[_CACHE] == "hit" else "vendor"


def _since(totals: Moment, before: Moment, seconds: float) -> Moment:
    moment = Moment(seconds)
    for name in _COUNTS:
        setattr(moment, name, getattr(totals, name) - getattr(before, name))
    for outcome in OUTCOMES:
        pairs = zip(totals.latency[outcome], before.latency[outcome], strict=True)
        moment.latency[outcome] = [late - early for late, early in pairs]
    moment.statuses = _grown(totals.statuses, before.statuses)
    moment.ends = _grown(totals.ends, before.ends)
    return moment


def _grown(totals: Mapping[_Key, int], before: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: count - before.get(key, 0) for key, count in totals.items() if count != before.get(key, 0)}


def _add(summed: Moment, moment: Moment) -> None:
    summed.seconds = round(summed.seconds + moment.seconds, 3)
    for name in _COUNTS:
        setattr(summed, name, getattr(summed, name) + getattr(moment, name))
    for outcome in OUTCOMES:
        summed.latency[outcome] = _summed(summed.latency[outcome], moment.latency[outcome])
    for status, count in moment.statuses.items():
        summed.statuses[status] = summed.statuses.get(status, 0) + count
    for end, count in moment.ends.items():
        summed.ends[end] = summed.ends.get(end, 0) + count


def _summed(one: list[float], other: list[float]) -> list[float]:
    return [left + right for left, right in zip(one, other, strict=True)]


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
