"""The end of every call, told once: its log line, its audit event, its metrics and, if it is sampled, its spans.

Refused calls come in floods: all are counted, and those beyond a number per second have no lines (`refusals.py`). From here
on `method` is one that the gateway serves or `other`, in every line, label and span.

Calls are told together, some dozens at a time: told one by one, between everything else that a call does, the same code
finds the processor's caches cold and takes about three times as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from gateway.telemetry import audit
from gateway.telemetry.call_metrics import CallMetrics
from gateway.telemetry.instruments import Closed, Counter
from gateway.telemetry.lines import Queue
from gateway.telemetry.logging import tell
from gateway.telemetry.record import CallRecord
from gateway.telemetry.refusal_kinds import RefusalKind
from gateway.telemetry.refusals import Refusals, kind_of
from gateway.telemetry.trace_ids import TraceIds

# Faults of the gateway or beyond it; the others are callers' own. Spans show them as errors, logs as warnings.
FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})

TELL_SECONDS = 0.02


class CallLog:
    """Writes the lines of a call."""

    def ended(self, record: CallRecord, kind: RefusalKind | None = None) -> None:
        """Tells of a call that has ended. `kind` is what it was refused for."""
        code = record.code or "OK"
        steps = record.steps
        now = datetime.fromtimestamp(record.ended_at, UTC)
        event: dict[str, Any] = {
            "time": now,
            "level": "warning" if code in FAULTS else "info",
            "event": "rpc.ended",
            "method": record.method,
            "request_id": record.request_id,
            "trace_id": f"{record.trace_id:032x}",
            "tenant": record.tenant,
            "principal": record.principal,
            "face_set": record.face_set,
            "code": code,
            "reason": record.reason,
            "cache": record.cache_status,
            "image_format": record.image_format,
            "image_size": size_bucket(record.image_bytes),
            "upstream_status": record.upstream_status,
            "upstream_attempts": record.upstream_attempts,
            "matches": record.match_count,
            "degraded": record.degraded,
        }
        for step, key in _STEP_KEYS:
            if step in steps:
                event[key] = int(steps[step] * 100_000) / 100
        if record.quota_limit:
            event["limit"] = record.quota_limit
        if record.sampled:
            event["sampled"] = True
        if kind is not None:
            event["kind"] = kind
        tell(event, Queue.CALLS if record.tenant else Queue.STRANGERS)
        audit.call_ended(record, kind, now)


_STEP_KEYS = tuple((step, f"{step}_ms") for step in ("auth", "quota", "cache", "upstream", "total"))
_SIZES = ("", *(f"<={1 << power}KiB" for power in range(16)))


def size_bucket(size: int) -> str:
    """An image's size as a power of two, since its exact size could single it out."""
    return _SIZES[min(((size + 1023 >> 10) - 1).bit_length() + 1, len(_SIZES) - 1)] if size else ""


class Calls:
    """Tells all of telemetry. `export` takes the record of a sampled call; `export_item` one of a stream's item.

    `methods` are the paths of the RPCs that the gateway serves. `faults` counts calls whose telemetry failed.
    """

    def __init__(
        self,
        log: CallLog,
        metrics: CallMetrics,
        refusals: Refusals,
        trace_ids: TraceIds,
        export: Callable[[CallRecord], None],
        export_item: Callable[[CallRecord], None],
        faults: Counter,
        methods: Collection[str],
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._refusals = refusals
        self._trace_ids = trace_ids
        self._export = export
        self._export_item = export_item
        self._faults = faults
        self._methods = Closed(methods)
        self._untold: list[tuple[CallRecord, str]] = []

    def began(self, record: CallRecord, traceparent: str) -> None:
        """Settles the call's trace before its end: only for streams, whose items need it. Call it once `tenant` is set."""
        self._trace_ids.assign(record, traceparent)

    def ended(self, record: CallRecord, traceparent: str = "") -> None:
        """Notes a call that has ended, to be told within `TELL_SECONDS`."""
        record.ended_at = time.time()
        if not self._untold:
            asyncio.get_running_loop().call_later(TELL_SECONDS, self.tell)
        self._untold.append((record, traceparent))

    def tell(self) -> None:
        """Tells of the calls that have ended since the last time. A fault in that fails nothing else."""
        untold, self._untold = self._untold, []
        for record, traceparent in untold:
            try:
                self._tell(record, traceparent)
            except Exception:  # noqa: BLE001 - whatever it is, the other calls are told of
                self._faults.add(())

    def _tell(self, record: CallRecord, traceparent: str) -> None:
        record.method = self._methods[record.method]
        if not record.trace_id:
            self._trace_ids.assign(record, traceparent)
        self._metrics.ended(record)
        kind = kind_of(record)
        if kind is None or self._refusals.ended(kind, record.tenant):
            self._log.ended(record, kind)
        if record.sampled:
            self._export(record)

    def item_ended(self, record: CallRecord) -> None:
        """Tells of one item of a stream: no line of its own, since a stream may have a thousand, but it is audited."""
        self._trace_ids.assign_span(record)
        self._metrics.item_ended(record)
        kind = kind_of(record)
        if kind is None or self._refusals.ended(kind, record.tenant):
            audit.call_ended(record, kind, datetime.now(UTC))
        if record.sampled:
            self._export_item(record)
