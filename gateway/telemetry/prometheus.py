"""Metrics as Prometheus reads them: the text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.telemetry.instruments import Collected, Labels, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(collected: Iterable[Collected]) -> str:
    """The page that a scrape gets."""
    lines: list[str] = []
    for one in collected:
        metric = one.metric
        name = metric.exposed
        lines += (f"# HELP {name} {metric.description}", f"# TYPE {name} {metric.kind.value}")
        for labels, value in one.points:
            if isinstance(value, list):
                lines += _histogram(metric, name, labels, value)
            else:
                lines.append(f"{name}{_braced(_pairs(metric, labels))} {_number(value)}")
    return "\n".join(lines) + "\n"


def _histogram(metric: Metric, name: str, labels: Labels, buckets: list[float]) -> list[str]:
    pairs = _pairs(metric, labels)
    lines = []
    count = 0.0
    for bound, inside in zip((*metric.bounds, float("inf")), buckets[:-1], strict=True):
        count += inside
        limit = "+Inf" if bound == float("inf") else _number(bound)
        bucket = [*pairs, f'le="{limit}"']
        lines.append(f"{name}_bucket{_braced(bucket)} {_number(count)}")
    return [
        *lines,
        f"{name}_sum{_braced(pairs)} {buckets[-1]:.9g}",
        f"{name}_count{_braced(pairs)} {_number(count)}",
    ]


def _pairs(metric: Metric, labels: Labels) -> list[str]:
    return [f'{label.exposed}="{_escaped(value)}"' for label, value in zip(metric.labels, labels, strict=True)]


def _braced(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.9g}"
