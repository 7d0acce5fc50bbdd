"""Delta temporality: what came since the last export that the collector took."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.resources import Resource

from gateway.telemetry import catalogue
from gateway.telemetry.instruments import Collected, Counter, Histogram
from gateway.telemetry.otlp_deltas import Deltas


def export(deltas: Deltas, now_ns: int, *collected: Collected) -> dict[str, Any]:
    """One export's metrics, by name."""
    data = deltas.data(collected, Resource({}), 1, now_ns)
    return {metric.name: metric.data for metric in data.resource_metrics[0].scope_metrics[0].metrics}


def test_each_export_counts_from_the_last_one_that_was_taken() -> None:
    """One that was not taken is in the next; what has not changed is left out; gauges are as they are."""
    deltas, calls, ready = Deltas(), Counter(catalogue.TENANT_CALLS), Collected(catalogue.READY, (((), 1.0),))
    took = Histogram(catalogue.STEP_DURATION)

    def now(at: int) -> dict[str, Any]:
        return export(deltas, at, calls.collect(), took.collect(), ready)

    calls.add(("kyc", "OK"), 5)
    took.record(("quota",), 0.25)
    first = now(10)["facegate.tenant.calls"]
    assert first.aggregation_temporality is AggregationTemporality.DELTA
    assert [(one.value, one.start_time_unix_nano, one.time_unix_nano) for one in first.data_points] == [(5, 1, 10)]
    calls.add(("kyc", "OK"), 2)
    took.record(("quota",), 0.5)
    second = now(20)
    (point,) = second["facegate.tenant.calls"].data_points
    assert (point.value, point.start_time_unix_nano) == (7, 1)
    assert (
        second["facegate.step.duration"].data_points[0].count,
        second["facegate.step.duration"].data_points[0].sum,
    ) == (
        2,
        0.75,
    )
    deltas.taken()
    calls.add(("kyc", "OK"), 1)
    third = now(30)
    (point,) = third["facegate.tenant.calls"].data_points
    assert (point.value, point.start_time_unix_nano, point.time_unix_nano) == (1, 20, 30)
    assert "facegate.step.duration" not in third
    assert third["facegate.ready"].data_points[0].value == 1
