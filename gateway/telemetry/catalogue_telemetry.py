"""The part of the catalogue that tells what records leave out or lose: refusals, log lines, spans, exports."""

from __future__ import annotations

from gateway.telemetry.instruments import Kind, Label, Metric
from gateway.telemetry.lines import Queue
from gateway.telemetry.refusal_kinds import RefusalKind

REFUSALS = Metric(
    "facegate.refusals",
    Kind.COUNTER,
    "{refusal}",
    "Everything that was refused, by what for, with or without a log line. Items of bulk streams count too.",
    (Label("kind", tuple(kind.value for kind in RefusalKind)),),
)
OPEN_CALLS = Metric(
    "facegate.open_calls",
    Kind.COUNTER,
    "{call}",
    "Calls of the services that are open to everybody. They have no log lines.",
    (Label("call", ("health_check", "health_watch", "reflection")),),
)
LOG_LINES_LOST = Metric(
    "facegate.log.lines_lost",
    Kind.COUNTER,
    "{line}",
    "Log lines that could not be written: nobody reads as fast as they come, the reader is gone, the disk is full.",
    (Label("queue", tuple(queue.label for queue in Queue)),),
)
LOG_KEYS_DROPPED = Metric(
    "facegate.log.keys_dropped", Kind.COUNTER, "{key}", "Keys of log events that the allow-list does not have."
)
EXPORTS_FAILED = Metric(
    "facegate.telemetry.exports_failed",
    Kind.COUNTER,
    "{export}",
    "Batches that the collector did not take.",
    (Label("signal", ("traces", "metrics")),),
)
SPANS_DROPPED = Metric("facegate.telemetry.spans_dropped", Kind.COUNTER, "{span}", "Spans that found the queue full.")
SAMPLING_LIMITED = Metric(
    "facegate.telemetry.sampling_limited",
    Kind.COUNTER,
    "{call}",
    "Calls that would have been sampled but for a limit per second: the tenant's, or that of unauthenticated callers.",
)
FAULTS = Metric("facegate.telemetry.faults", Kind.COUNTER, "{call}", "Calls whose telemetry failed; the calls did not.")

METRICS = (
    REFUSALS,
    OPEN_CALLS,
    LOG_LINES_LOST,
    LOG_KEYS_DROPPED,
    EXPORTS_FAILED,
    SPANS_DROPPED,
    SAMPLING_LIMITED,
    FAULTS,
)
