"""Counters and histograms as what came since the last export: for collectors that want `delta` temporality."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.resources import Resource

from gateway.telemetry.instruments import Buckets, Collected, Kind, Labels
from gateway.telemetry.otlp_metrics import metrics_data

_Series = tuple[str, Labels]


class Deltas:
    """Remembers what the collector has taken. An export that it did not take is in the next one, so that nothing is lost.

    `data` is called on the event loop and `taken` in the thread that sends; never both at a time.
    """

    def __init__(self) -> None:
        self._taken: dict[_Series, float | Buckets] = {}
        self._offered: dict[_Series, float | Buckets] = {}
        self._taken_ns = self._offered_ns = 0

    def data(self, collected: Iterable[Collected], resource: Resource, started_ns: int, now_ns: int) -> MetricsData:
        """One export. Series in which nothing has changed are left out; gauges are as they are."""
        changed = []
        self._offered, self._offered_ns = {}, now_ns
        for one in collected:
            if one.metric.kind is Kind.GAUGE:
                changed.append(one)
                continue
            points = []
            for labels, value in one.points:
                series = (one.metric.name, labels)
                self._offered[series] = value
                since = _less(value, self._taken.get(series))
                if any(since) if isinstance(since, list) else since:
                    points.append((labels, since))
            changed.append(Collected(one.metric, tuple(points)))
        return metrics_data(changed, resource, self._taken_ns or started_ns, now_ns, AggregationTemporality.DELTA)

    def taken(self) -> None:
        """The collector has what `data` gave last."""
        self._taken, self._taken_ns = self._offered, self._offered_ns


def _less(value: float | Buckets, taken: float | Buckets | None) -> float | Buckets:
    if taken is None:
        return value
    if isinstance(value, list):
        assert isinstance(taken, list)
        return [late - early for late, early in zip(value, taken, strict=True)]
    assert not isinstance(taken, list)
    return value - taken
