"""OpenTelemetry's variables are followed, or refused by name, or named as ones without effect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.telemetry.docs import reference_page
from gateway.telemetry.otel_variables import TelemetryUnusable, check, log_ignored, wanted
from tests.support.logs import caught_logs

BOTH = ("TRACES", "METRICS")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "has to be grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "port 4317"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "deltas", "cumulative or delta or lowmemory"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram", "explicit"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10000", "in seconds"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "junk", "in seconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan", "in seconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "none or gzip or deflate"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a-key", "NAME=VALUE"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes", "true or false"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/at-all", "PEM file"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/dev/null", "without OTEL_EXPORTER_OTLP_CERTIFICATE"),
        ("OTEL_RESOURCE_ATTRIBUTES", "production", "NAME=VALUE"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5", "OTEL_TRACES_SAMPLER"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0.5", "a whole number"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1", "1 or more"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1m", "a number"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(name: str, value: str, remedy: str) -> None:
    """With what it may be, and without what it is, which could be a secret."""
    with pytest.raises(TelemetryUnusable) as refused:
        check(BOTH, {name: value})
    assert str(refused.value).startswith(name)
    assert remedy in str(refused.value)
    assert value not in str(refused.value).split()


@pytest.mark.parametrize(("name", "value"), [("OTEL_TRACES_EXPORTER", "jaeger"), ("OTEL_METRICS_EXPORTER", "console")])
def test_another_exporter_is_refused(name: str, value: str) -> None:
    """Not taken for OTLP."""
    with pytest.raises(TelemetryUnusable, match=name):
        wanted("http://collector:4317", {name: value})


@pytest.mark.parametrize(
    ("environ", "signals"),
    [
        ({}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, BOTH),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ()),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4317"}, ("METRICS",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_METRICS_EXPORTER": "prometheus"}, ("TRACES",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_METRICS_EXPORTER": "prometheus, otlp"}, BOTH),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_SDK_DISABLED": "true"}, ()),
        # Nothing is sent, so nothing is asked of the others.
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, ()),
    ],
)
def test_the_variables_choose_what_is_sent(environ: dict[str, str], signals: tuple[str, ...]) -> None:
    """An empty one counts as absent."""
    assert wanted(None, environ) == signals


def test_a_signal_that_is_not_sent_needs_no_usable_variables() -> None:
    """Its own are not looked at."""
    check(("METRICS",), {"OTEL_TRACES_SAMPLER": "jaeger_remote", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"})


def test_what_has_no_effect_is_named_in_one_line(tmp_path: Path) -> None:
    """Unless it asks for what the gateway does anyway."""
    with caught_logs(tmp_path) as logs:
        log_ignored(
            {"OTEL_PROPAGATORS": "tracecontext,baggage", "OTEL_LOGS_EXPORTER": "none", "OTEL_SERVICE_NAME": "f"}
        )
        log_ignored({"OTEL_PROPAGATORS": "b3", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_BSP_EXPORT_TIMEOUT": "5"})
        logs.output.close()
        lines = logs.lines("telemetry.variables_ignored")
    assert [line["variables"] for line in lines] == [
        ["OTEL_BSP_EXPORT_TIMEOUT", "OTEL_LOGS_EXPORTER", "OTEL_PROPAGATORS"]
    ]


def test_every_variable_that_the_page_offers_is_followed(tmp_path: Path) -> None:
    """None of them is among those without effect."""
    names = set(re.findall(r"`(OTEL_[A-Z_]*[A-Z])`", reference_page()))
    assert len(names) > 15
    with caught_logs(tmp_path) as logs:
        log_ignored(dict.fromkeys(names, "x"))
        logs.output.close()
        assert not logs.lines("telemetry.variables_ignored")
