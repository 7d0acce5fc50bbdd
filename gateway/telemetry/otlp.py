"""Sends spans and metrics to a collector, by the OpenTelemetry SDK's exporters, from threads of their own.

A collector that is down, slow or silent costs spans and exports, which are counted, and nothing else: queues are
bounded and the end is too.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from gateway.clock import Clock
from gateway.telemetry import catalogue_telemetry, otel_variables
from gateway.telemetry.delivery import Delivery
from gateway.telemetry.instruments import Collected, Counter
from gateway.telemetry.otlp_deltas import Deltas
from gateway.telemetry.otlp_metrics import metrics_data
from gateway.telemetry.record import CallRecord
from gateway.telemetry.spans import Spans

CLOSE_SECONDS = 0.7
_INTERRUPT_SECONDS = 0.3
_METRICS_MILLIS = 60_000.0
# gRPC would follow HTTP_PROXY, which is meant for ways out of the network: a collector is near.
_DIRECTLY: Any = (("grpc.enable_http_proxy", 0),)
_QUEUE, _BATCH, _DELAY_MILLIS = 2048, 512, 5000.0


def resource_of(version: str) -> Resource:
    """Who sends: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before the defaults."""
    mine = {"service.name": "facegate", "service.version": version, "service.instance.id": str(uuid.uuid4())}
    return Resource(mine).merge(OTELResourceDetector().detect())


class SpanExport:
    """Takes the records of sampled calls and sends their spans."""

    def __init__(self, endpoint: str | None, resource: Resource, clock: Clock, environ: Mapping[str, str]) -> None:
        self.dropped = Counter(catalogue_telemetry.SPANS_DROPPED)
        self.delivery = Delivery("traces")
        self._spans = Spans(resource)
        self._clock = clock
        self._exporter = _Counting(OTLPSpanExporter(endpoint=endpoint, channel_options=_DIRECTLY), self)
        self._room = max(1, int(_number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE)))
        self._offered = self.taken = 0
        # By itself the processor refuses to start with values that do not fit each other.
        batch = max(1, int(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _BATCH)))
        delay = _number(environ, "OTEL_BSP_SCHEDULE_DELAY", _DELAY_MILLIS)
        self._processor = BatchSpanProcessor(self._exporter, self._room, delay, min(batch, self._room))

    def of_call(self, record: CallRecord) -> None:
        """Queues the spans of a call."""
        self._offer(record, SpanKind.SERVER)

    def of_item(self, record: CallRecord) -> None:
        """Queues the span of an item of a stream."""
        self._offer(record, SpanKind.INTERNAL)

    def _offer(self, record: CallRecord, kind: SpanKind) -> None:
        now, monotonic = self._clock.now(), self._clock.monotonic()
        # Spans that callers ask for leave half of the queue to those that the ratio chose.
        room = self._room // 2 if record.flagged else self._room
        for span in self._spans.of_call(record, now=now, monotonic=monotonic, kind=kind):
            # The processor would drop the oldest and log about each: the newest are dropped here, and counted.
            if self._offered - self.taken >= room:
                self.dropped.add(())
                continue
            self._offered += 1
            self._processor.on_end(span)

    def close(self) -> None:
        """Sends what is queued, for at most `CLOSE_SECONDS`."""
        _bounded(self._processor.shutdown, self._exporter.shutdown)


class _Counting(SpanExporter):
    """Counts what the exporter took and what the collector did not."""

    def __init__(self, exporter: OTLPSpanExporter, export: SpanExport) -> None:
        self._exporter = exporter
        self._export = export
        self._closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._export.taken += len(spans)
        taken = self._export.delivery.send(lambda: self._exporter.export(spans) is SpanExportResult.SUCCESS)
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()


class MetricExport:
    """Sends everything that `collect` gives, at once and then every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds."""

    def __init__(
        self,
        endpoint: str | None,
        resource: Resource,
        clock: Clock,
        environ: Mapping[str, str],
        collect: Callable[[], list[Collected]],
    ) -> None:
        self.delivery = Delivery("metrics")
        self._exporter = OTLPMetricExporter(endpoint=endpoint, channel_options=_DIRECTLY)
        # The SDK's exporter leaves the preference to the SDK's reader, which is not used here.
        preferred = environ.get(otel_variables.TEMPORALITY, "").strip().lower() or "cumulative"
        self._deltas = Deltas() if preferred != "cumulative" else None
        self._resource = resource
        self._clock = clock
        self._collect = collect
        self._interval_seconds = _number(environ, "OTEL_METRIC_EXPORT_INTERVAL", _METRICS_MILLIS) / 1000
        self._started_ns = self._now_ns()
        self._sending: Thread | None = None

    async def run(self) -> None:
        """Sends until it is cancelled. While one export is under way the next is left out.

        The first shows whether there is a collector: without it a start would say nothing for a minute.
        """
        while True:
            if self._sending is not None and self._sending.is_alive():
                self.delivery.failed += 1
            else:
                self._send()
            await asyncio.sleep(self._interval_seconds)

    def _send(self) -> None:
        # Read on the event loop, where the state belongs; encoded and sent off it.
        collected, now_ns, deltas = self._collect(), self._now_ns(), self._deltas
        if deltas is not None:
            data = deltas.data(collected, self._resource, self._started_ns, now_ns)
        else:
            data = metrics_data(collected, self._resource, self._started_ns, now_ns)

        def send() -> None:
            if (
                self.delivery.send(lambda: self._exporter.export(data) is MetricExportResult.SUCCESS)
                and deltas is not None
            ):
                deltas.taken()

        self._sending = Thread(target=send, name="otlp-metrics", daemon=True)
        self._sending.start()

    def send_last(self) -> None:
        """Begins to send the last figures; `close` waits for them."""
        if self._sending is None or not self._sending.is_alive():
            self._send()

    def close(self) -> None:
        """Waits for what is being sent, for at most `CLOSE_SECONDS`."""
        sending = self._sending

        def finish() -> None:
            if sending is not None:
                sending.join()

        _bounded(finish, self._exporter.shutdown)

    def _now_ns(self) -> int:
        return int(self._clock.now() * 1e9)


def _bounded(finish: Callable[[], Any], shut: Callable[[], Any]) -> None:
    """Runs `finish` for at most `CLOSE_SECONDS`; then `shut`, which closes the channel and so ends what still waits."""
    finishing = Thread(target=finish, name="otlp-close", daemon=True)
    finishing.start()
    finishing.join(CLOSE_SECONDS)
    shut()
    finishing.join(_INTERRUPT_SECONDS)


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(environ.get(name, default))
    except ValueError:
        return default
    return value if value > 0 else default
