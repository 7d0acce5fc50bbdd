"""The same series that `/metrics` shows, as the OpenTelemetry SDK's data classes, for its OTLP exporter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.telemetry.instruments import Collected, Kind, Labels

_SCOPE = InstrumentationScope("facegate")
# Leaves a field of the protocol unset. The SDK's class wants a number, and any would be taken for a value.
_UNKNOWN: Any = None


def metrics_data(
    collected: Iterable[Collected],
    resource: Resource,
    started_ns: int,
    now_ns: int,
    temporality: AggregationTemporality = AggregationTemporality.CUMULATIVE,
) -> MetricsData:
    """Everything as one export. Times are in nanoseconds since 1970; `temporality` says what the values count from."""
    metrics = [
        Metric(one.metric.name, one.metric.description, one.metric.unit, _data(one, started_ns, now_ns, temporality))
        for one in collected
        if one.points
    ]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(_SCOPE, metrics, "")], "")])


def _data(one: Collected, started_ns: int, now_ns: int, temporality: AggregationTemporality) -> Sum | Gauge | Histogram:
    if one.metric.kind is Kind.HISTOGRAM:
        histograms = []
        for labels, value in one.points:
            assert isinstance(value, list)
            counts = [int(count) for count in value[:-1]]
            histograms.append(
                HistogramDataPoint(
                    attributes=_attributes(one, labels),
                    start_time_unix_nano=started_ns,
                    time_unix_nano=now_ns,
                    count=sum(counts),
                    sum=value[-1],
                    bucket_counts=counts,
                    explicit_bounds=one.metric.bounds,
                    min=_UNKNOWN,
                    max=_UNKNOWN,
                )
            )
        return Histogram(histograms, temporality)
    numbers = []
    for labels, value in one.points:
        assert not isinstance(value, list)
        numbers.append(NumberDataPoint(_attributes(one, labels), started_ns, now_ns, value))
    if one.metric.kind is Kind.COUNTER:
        return Sum(numbers, temporality, is_monotonic=True)
    return Gauge(numbers)


def _attributes(one: Collected, labels: Labels) -> dict[str, str]:
    return {label.name: value for label, value in zip(one.metric.labels, labels, strict=True)}
