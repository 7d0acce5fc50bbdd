"""The spans of a sampled call, made when it has ended: the call's own and one a step.

The names are OpenTelemetry's conventions for RPCs. A span says nothing that the call's log line does not say. Nothing is
propagated to the vendor, and no exception is recorded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.telemetry.allowed import plain
from gateway.telemetry.calls import FAULTS
from gateway.telemetry.record import CallRecord

CHILDREN = ("quota", "cache", "upstream")
# The attributes of spans, for the reference page.
ATTRIBUTES = {
    "rpc.system.name": "`grpc`",
    "rpc.method": "the full method, without the leading slash",
    "rpc.response.status_code": "the gRPC status",
    "error.type": "the gRPC status, where it is a fault of the gateway or beyond it",
    "facegate.request_id": "the call's id",
    "facegate.tenant": "the tenant's id",
    "facegate.face_set": "the caller's alias",
    "facegate.reason": "the published error reason",
    "facegate.cache": "`hit`, `miss`, `coalesced` or `bypass`",
    "facegate.matches": "how many matches were found",
    "facegate.degraded": "true if the quota store was out",
    "facegate.upstream.status": "on `upstream`: the vendor's published status, or a name for a transport fault",
    "facegate.upstream.attempts": "on `upstream`: requests to the vendor",
}

_SCOPE = InstrumentationScope("facegate")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_random = random.Random()  # noqa: S311 - ids have to be unique, not secret


class Spans:
    """Makes spans that carry `resource`."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def of_call(
        self, record: CallRecord, *, now: float, monotonic: float, kind: SpanKind = SpanKind.SERVER
    ) -> Iterator[ReadableSpan]:
        """The call's span and its children. `now` (since 1970) and `monotonic` are the same moment, at its end."""
        offset = now - monotonic
        context = SpanContext(record.trace_id, record.span_id, is_remote=False, trace_flags=_SAMPLED)
        parent = None
        if record.parent_span_id:
            remote = kind is SpanKind.SERVER
            parent = SpanContext(record.trace_id, record.parent_span_id, is_remote=remote, trace_flags=_SAMPLED)
        code = record.code or "OK"
        method = plain(record.method.removeprefix("/"))
        attributes: dict[str, str | int | bool] = {
            "rpc.system.name": "grpc",
            "rpc.method": method,
            "rpc.response.status_code": code,
            "facegate.request_id": record.request_id,
        }
        status = Status(StatusCode.UNSET)
        if code in FAULTS:
            status = Status(StatusCode.ERROR)
            attributes["error.type"] = code
        for name, value in (
            ("tenant", record.tenant),
            ("face_set", record.face_set),
            ("reason", record.reason),
            ("cache", record.cache_status),
        ):
            if value:
                attributes[f"facegate.{name}"] = value
        if record.match_count is not None:
            attributes["facegate.matches"] = record.match_count
        if record.degraded:
            attributes["facegate.degraded"] = True
        start, end = record.started + offset, record.started + record.steps.get("total", 0.0) + offset
        yield self._span(method, context, parent, attributes, kind, status, start, end)
        for step, ended, seconds in record.spans:
            if step in CHILDREN:
                yield self._child(step, context, record, ended - seconds + offset, ended + offset)

    def _child(self, step: str, parent: SpanContext, record: CallRecord, start: float, end: float) -> ReadableSpan:
        span_id = _random.getrandbits(64) or 1
        context = SpanContext(parent.trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)
        attributes: dict[str, str | int | bool] = {}
        status = Status(StatusCode.UNSET)
        if step == "upstream":
            attributes["facegate.upstream.attempts"] = record.upstream_attempts
            if record.upstream_status:
                attributes["facegate.upstream.status"] = record.upstream_status
                if record.code not in ("", "OK"):
                    status = Status(StatusCode.ERROR)
        return self._span(step, context, parent, attributes, SpanKind.INTERNAL, status, start, end)

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: dict[str, str | int | bool],
        kind: SpanKind,
        status: Status,
        start: float,
        end: float,
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            kind=kind,
            status=status,
            start_time=int(start * 1e9),
            end_time=int(end * 1e9),
            instrumentation_scope=_SCOPE,
        )
