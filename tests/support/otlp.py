"""A collector that keeps what it gets: OTLP over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass
class Collector:
    """What arrived, as protobuf messages; with `refuses` it takes no more, with `delay_seconds` not at once."""

    address: str = ""
    refuses: bool = False
    delay_seconds: float = 0
    trace_exports: list[Any] = field(default_factory=list)
    metric_exports: list[Any] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """For `telemetry.otlp_endpoint`."""
        return f"http://{self.address}"

    @property
    def spans(self) -> list[Any]:
        """Every span so far."""
        return [
            span
            for export in self.trace_exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the last export, by name."""
        found = {}
        for resource in self.metric_exports[-1].resource_metrics if self.metric_exports else ():
            for scope in resource.scope_metrics:
                found.update({metric.name: metric for metric in scope.metrics})
        return found

    @property
    def everything(self) -> bytes:
        """All bytes that arrived, for searching in."""
        return b"".join(export.SerializeToString() for export in (*self.trace_exports, *self.metric_exports))


def attributes(span: Any) -> dict[str, Any]:
    """A span's attributes as plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A listening collector."""
    collector = Collector()

    async def take(request: Any, context: Any, exports: list[Any]) -> None:
        if collector.refuses:
            # A status for which the exporters do not try again.
            await context.abort(grpc.StatusCode.PERMISSION_DENIED)
        await asyncio.sleep(collector.delay_seconds)
        exports.append(request)

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        async def Export(self, request: Any, context: Any) -> Any:
            await take(request, context, collector.trace_exports)
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        async def Export(self, request: Any, context: Any) -> Any:
            await take(request, context, collector.metric_exports)
            return metrics_service_pb2.ExportMetricsServiceResponse()

    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)  # type: ignore[no-untyped-call]
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)
