"""Counters, gauges and histograms that cost about a microsecond to update.

The OpenTelemetry SDK takes 13 µs to record one value, which is most of what telemetry may cost a call. Here a series is a
number in a dictionary; `prometheus.py` and `otlp.py` read the same dictionaries when they are asked to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

OTHER = "other"


class Kind(StrEnum):
    """How a metric's values go together."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """A dimension of a metric. `values` is all that it can be, or a sentence on what bounds it."""

    name: str
    values: tuple[str, ...] | str

    @property
    def exposed(self) -> str:
        """The name on `/metrics`."""
        return self.name.replace(".", "_")


_SUFFIXES = {"s": "_seconds", "By": "_bytes"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the catalogue. `unit` is UCUM's; `bounds` are a histogram's upper limits."""

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[Label, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def exposed(self) -> str:
        """The name on `/metrics`, by OpenTelemetry's rules for Prometheus."""
        name = self.name.replace(".", "_") + _SUFFIXES.get(self.unit, "")
        return f"{name}_total" if self.kind is Kind.COUNTER else name


Labels = tuple[str, ...]
# Bucket counts, the last one for values above every bound, and behind them the sum of the values.
Buckets = list[float]


@dataclass(frozen=True, slots=True)
class Collected:
    """A metric with its values at one moment; a histogram's are `Buckets`."""

    metric: Metric
    points: tuple[tuple[Labels, float | Buckets], ...]


class Closed(dict[str, str]):
    """Maps each of a closed set of label values to itself and all others to `other`, so that series cannot multiply."""

    def __init__(self, values: Iterable[str]) -> None:
        super().__init__({value: value for value in values})

    def __missing__(self, value: str) -> str:
        return OTHER


class Counter:
    """Counts, by labels in the order of the catalogue."""

    __slots__ = ("metric", "values")

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        # Without labels there is one series, which shows 0 from the start: a rule must tell none from unknown.
        self.values: dict[Labels, float] = {} if metric.labels else {(): 0}

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Adds to one series."""
        values = self.values
        values[labels] = values.get(labels, 0) + amount

    def collect(self) -> Collected:
        """The counts now."""
        return Collected(self.metric, tuple(self.values.items()))


class Histogram:
    """Distributions, by labels in the order of the catalogue."""

    __slots__ = ("_bounds", "_buckets", "metric", "series")

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._bounds = metric.bounds
        self._buckets = len(metric.bounds) + 1
        self.series: dict[Labels, Buckets] = {}
        if not metric.labels:
            self.begin(())

    def begin(self, labels: Labels) -> Buckets:
        """Shows an empty series. Prometheus sees no increase in one that begins above 0, and no alert would fire."""
        return self.series.setdefault(labels, [0.0] * (self._buckets + 1))

    def record(self, labels: Labels, value: float) -> None:
        """Adds one value to one series."""
        series = self.series.get(labels) or self.begin(labels)
        series[bisect_left(self._bounds, value)] += 1
        series[-1] += value

    def collect(self) -> Collected:
        """The distributions now."""
        return Collected(self.metric, tuple((labels, list(buckets)) for labels, buckets in self.series.items()))
