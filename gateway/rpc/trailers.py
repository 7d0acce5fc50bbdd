"""The trailers that every answer carries, good or bad."""

from __future__ import annotations

from functools import cache

from gateway.telemetry.record import CallRecord


@cache
def _template(steps: tuple[str, ...]) -> str:
    return ", ".join(f"{step};dur=%.2f" for step in steps)


def trailers_of(record: CallRecord) -> tuple[tuple[str, str], ...]:
    """`x-request-id`, `server-timing` (milliseconds), and `x-cache` and `x-quota-remaining` where they are known.

    `x-quota-remaining` is the least that any limit of calls that this one was counted by has left; 0 on a refusal by one.
    """
    steps = record.steps
    timing = _template(tuple(steps)) % tuple([seconds * 1000 for seconds in steps.values()])
    trailers: tuple[tuple[str, str], ...] = (("x-request-id", record.request_id), ("server-timing", timing))
    if record.cache_status:
        trailers += (("x-cache", record.cache_status),)
    if record.quota_remaining is not None:
        trailers += (("x-quota-remaining", str(record.quota_remaining)),)
    return trailers
