"""OpenTelemetry's variables: each one that is set is followed, refused by name, or named in the log as one without effect.

The SDK falls back to a default in silence, or names a value in its error, which may be a secret. Here the start ends with
the name of the variable and what it may be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import structlog

MAX_TIMEOUT_SECONDS = 300.0
TEMPORALITIES = ("cumulative", "delta", "lowmemory")
SAMPLERS = ("always_on", "always_off", "traceidratio")

log = structlog.get_logger(__name__)

_OTLP = "OTEL_EXPORTER_OTLP_"
_PART = (
    "ENDPOINT",
    "HEADERS",
    "TIMEOUT",
    "COMPRESSION",
    "CERTIFICATE",
    "CLIENT_KEY",
    "CLIENT_CERTIFICATE",
    "INSECURE",
    "PROTOCOL",
)
TEMPORALITY = f"{_OTLP}METRICS_TEMPORALITY_PREFERENCE"
_HISTOGRAMS = f"{_OTLP}METRICS_DEFAULT_HISTOGRAM_AGGREGATION"


class TelemetryUnusable(Exception):
    """Variables that give no exporter; the message names the remedy."""


def _one_of(*values: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        return "" if value.lower() in values else f"has to be {' or '.join(values)}"

    return check


def _protocol(value: str) -> str:
    if value.lower() == "grpc":
        return ""
    return "has to be grpc: the gateway does not speak OTLP over HTTP. Collectors take gRPC at port 4317"


def _number(least: float, *, whole: bool = False, most: float = float("inf")) -> Callable[[str], str]:
    kind = "a whole number" if whole else "a number"

    def check(value: str) -> str:
        try:
            number = float(value)
        except ValueError:
            return f"has to be {kind}"
        if not least <= number <= most or (whole and number != int(number)):
            return f"has to be {kind} of {least:g} or more" + (f", {most:g} at most" if most < float("inf") else "")
        return ""

    return check


def _timeout(value: str) -> str:
    wrong = _number(0.001, most=MAX_TIMEOUT_SECONDS)(value)
    return f"{wrong}: it is in seconds, as in OpenTelemetry's SDK for Python" if wrong else ""


def _pairs(value: str) -> str:
    fine = all(pair.partition("=")[0].strip() and "=" in pair for pair in value.split(",") if pair.strip())
    return "" if fine else "has to be a list of NAME=VALUE, with commas between them"


def _file(value: str) -> str:
    try:
        with Path(value).open("rb") as file:
            return "" if b"-----BEGIN " in file.read(1 << 20) else "has to be the path of a PEM file"
    except (OSError, ValueError):
        return "has to be the path of a PEM file that can be read"


def _exporters(*values: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        return "" if {part.strip().lower() for part in value.split(",")} <= set(values) else f"has to be {text}"

    text = " or ".join(values)
    return check


_CHECKS: dict[str, Callable[[str], str]] = {
    "HEADERS": _pairs,
    "TIMEOUT": _timeout,
    "COMPRESSION": _one_of("none", "gzip", "deflate"),
    "CERTIFICATE": _file,
    "CLIENT_KEY": _file,
    "CLIENT_CERTIFICATE": _file,
    "INSECURE": _one_of("true", "false"),
    "PROTOCOL": _protocol,
}
_OF_ANY: dict[str, Callable[[str], str]] = {"OTEL_RESOURCE_ATTRIBUTES": _pairs}
_OF_TRACES: dict[str, Callable[[str], str]] = {
    "OTEL_TRACES_SAMPLER": _one_of(*SAMPLERS, *(f"parentbased_{name}" for name in SAMPLERS)),
    "OTEL_TRACES_SAMPLER_ARG": _number(0, most=1),
    "OTEL_BSP_SCHEDULE_DELAY": _number(1),
    "OTEL_BSP_MAX_QUEUE_SIZE": _number(1, whole=True),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": _number(1, whole=True),
}
_OF_METRICS: dict[str, Callable[[str], str]] = {
    "OTEL_METRIC_EXPORT_INTERVAL": _number(1),
    TEMPORALITY: _one_of(*TEMPORALITIES),
    _HISTOGRAMS: _one_of("explicit_bucket_histogram"),
}
_EXPORTERS = {
    "OTEL_TRACES_EXPORTER": _exporters("otlp", "none"),
    # `/metrics` is there in any case.
    "OTEL_METRICS_EXPORTER": _exporters("otlp", "none", "prometheus"),
}
_SWITCH = "OTEL_SDK_DISABLED"
_FOLLOWED = frozenset(
    {_SWITCH, "OTEL_SERVICE_NAME", *_OF_ANY, *_OF_TRACES, *_OF_METRICS, *_EXPORTERS}
    | {f"{_OTLP}{signal}{part}" for signal in ("", "TRACES_", "METRICS_") for part in _PART}
)
# What the gateway does anyway.
_FULFILLED = {"OTEL_LOGS_EXPORTER": "none", "OTEL_PROPAGATORS": "tracecontext"}


def wanted(endpoint: str | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The signals that are sent, of `TRACES` and `METRICS`. `endpoint` is the gateway's own setting.

    Raises `TelemetryUnusable`.
    """
    _check({_SWITCH: _one_of("true", "false")}, environ)
    if _value(environ, _SWITCH).lower() == "true":
        return ()
    somewhere = endpoint is not None or bool(_value(environ, f"{_OTLP}ENDPOINT"))
    sent = [name for name in ("TRACES", "METRICS") if somewhere or _value(environ, f"{_OTLP}{name}_ENDPOINT")]
    if sent:
        _check(_EXPORTERS, environ)
    chosen = {name: (_value(environ, f"OTEL_{name}_EXPORTER") or "otlp").lower().split(",") for name in sent}
    return tuple(name for name in sent if "otlp" in [part.strip() for part in chosen[name]])


def check(signals: Collection[str], environ: Mapping[str, str]) -> None:
    """Refuses what cannot be followed for the signals that are sent, and logs what has no effect.

    Raises `TelemetryUnusable`.
    """
    checks = dict(_OF_ANY)
    for signal in ("", *(f"{name}_" for name in signals)):
        checks |= {f"{_OTLP}{signal}{part}": check for part, check in _CHECKS.items()}
        for part in ("CLIENT_KEY", "CLIENT_CERTIFICATE"):
            # The SDK shows the client's certificate only to servers that it verifies by a file.
            if _value(environ, f"{_OTLP}{signal}{part}") and not _value(environ, f"{_OTLP}{signal}CERTIFICATE"):
                raise TelemetryUnusable(
                    f"{_OTLP}{signal}{part} has no effect without {_OTLP}{signal}CERTIFICATE: set both"
                )
    if "TRACES" in signals:
        checks |= _OF_TRACES
        if _value(environ, "OTEL_TRACES_SAMPLER_ARG") and not _value(environ, "OTEL_TRACES_SAMPLER"):
            raise TelemetryUnusable("OTEL_TRACES_SAMPLER_ARG has no effect without OTEL_TRACES_SAMPLER: set both")
    if "METRICS" in signals:
        checks |= _OF_METRICS
    _check(checks, environ)


def log_ignored(environ: Mapping[str, str]) -> None:
    """Names the variables that are set and have no effect, so that nobody waits for one."""
    ignored = sorted(
        name
        for name in environ
        if name.startswith("OTEL_") and name not in _FOLLOWED and (value := _value(environ, name))
        if _FULFILLED.get(name) not in value.lower().split(",")
    )
    if ignored:
        log.warning("telemetry.variables_ignored", variables=ignored)


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _check(checks: Mapping[str, Callable[[str], str]], environ: Mapping[str, str]) -> None:
    """By the specification, an empty variable counts as one that is not set."""
    for name, wrong in checks.items():
        value = _value(environ, name)
        if value and (problem := wrong(value)):
            raise TelemetryUnusable(f"{name} {problem}")
