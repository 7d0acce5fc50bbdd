"""The end of every call, told once: the canonical log line."""

from __future__ import annotations

import structlog

from gateway.telemetry.record import CallRecord

log = structlog.get_logger(__name__)

_OK = ("", "OK")
# Faults of the gateway or beyond it; the others are callers' own.
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class CallLog:
    """Writes one line a call."""

    def ended(self, record: CallRecord) -> None:
        """Tells of a call that has ended."""
        write = log.warning if record.code in _FAULTS else log.info
        write(
            "rpc.ended",
            method=record.method,
            request_id=record.request_id,
            tenant=record.tenant,
            face_set=record.face_set,
            code=record.code or "OK",
            reason=record.reason,
            image_format=record.image_format,
            image_size=_size_bucket(record.image_bytes),
            cache=record.cache_status,
            upstream_status=record.upstream_status,
            upstream_attempts=record.upstream_attempts,
            matches=record.match_count,
            degraded=record.degraded,
            **{f"{step}_ms": round(seconds * 1000, 2) for step, seconds in record.steps.items()},
        )


def _size_bucket(size: int) -> str:
    """An image's size as a power of two, since its exact size could single it out."""
    if size == 0:
        return ""
    return f"<={max(1, 1 << (size - 1).bit_length() >> 10)}KiB"
