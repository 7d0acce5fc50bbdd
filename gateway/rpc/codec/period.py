"""The period of a report on use, as whole days in UTC."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from gateway.rpc.codec.violations import Violations

_DAY_SECONDS = 86_400
_NANOS = 1_000_000_000
_DEFAULT_DAYS = 30
_MAX_DAYS = 400
# The range that protobuf gives a Timestamp: the years 1 to 9999.
_MIN_SECONDS = -62_135_596_800
_MAX_SECONDS = 253_402_300_799


def decode_period(start: Timestamp | None, end: Timestamp | None, *, now: float) -> tuple[int, int]:
    """The first day and the day after the last, as days since 1970-01-01 (UTC); None stands for an absent field.

    `now` in seconds since 1970. Without `start` the period begins 30 days before the day that `end` is in. Raises
    `InvalidRequest` with all violations at once.
    """
    violations = Violations()
    period = collect_period(start, end, now=now, violations=violations)
    violations.raise_any()
    assert period is not None
    return period


def collect_period(
    start: Timestamp | None, end: Timestamp | None, *, now: float, violations: Violations
) -> tuple[int, int] | None:
    """As `decode_period`, for a request with further rules: adds to `violations` instead of raising, and gives None."""
    end_at = int(now * _NANOS) if end is None else _nanoseconds(end, "end_time", violations)
    start_at = None if start is None else _nanoseconds(start, "start_time", violations)
    if start_at is not None and end_at is not None:
        # The field that the caller wrote is the one to change.
        field = "start_time" if end is None else "end_time"
        if start_at >= end_at:
            violations.add(field, "start_time must be before end_time, which is now if it is absent")
        elif end_at - start_at > _MAX_DAYS * _DAY_SECONDS * _NANOS:
            violations.add(field, f"end_time must be at most {_MAX_DAYS} days after start_time: ask in several parts")
    if end_at is None or violations.any:
        return None
    day = _DAY_SECONDS * _NANOS
    start_day = end_at // day - _DEFAULT_DAYS if start_at is None else start_at // day
    if start_day < _MIN_SECONDS // _DAY_SECONDS:
        violations.add("end_time", f"is too early: without start_time the period begins {_DEFAULT_DAYS} days before it")
        return None
    return start_day, -(-end_at // day)


def _nanoseconds(time: Timestamp, field: str, violations: Violations) -> int | None:
    if not (_MIN_SECONDS <= time.seconds <= _MAX_SECONDS and 0 <= time.nanos < _NANOS):
        violations.add(field, "must be a valid Timestamp: years 1 to 9999, nanos 0 to 999,999,999")
        return None
    return time.seconds * _NANOS + time.nanos
