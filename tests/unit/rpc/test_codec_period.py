"""The period of a report on use: the rules in the comments of `GetUsageRequest`."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.errors import InvalidRequest
from gateway.rpc.codec import decode_period


def at(text: str, nanos: int = 0) -> Timestamp:
    """An ISO time in UTC."""
    return Timestamp(seconds=int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()), nanos=nanos)


NOW = at("2026-11-22T12:30:15").seconds + 0.25


def days(start: Timestamp | None, end: Timestamp | None) -> tuple[str, str]:
    """The period as dates: the first day, and the day after the last."""
    first, after = decode_period(start, end, now=NOW)
    epoch = date(1970, 1, 1).toordinal()
    return str(date.fromordinal(epoch + first)), str(date.fromordinal(epoch + after))


def refused(start: Timestamp | None, end: Timestamp | None) -> list[str]:
    """The fields that the period is refused for."""
    with pytest.raises(InvalidRequest) as error:
        decode_period(start, end, now=NOW)
    return [violation.field for violation in error.value.violations]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, ("2026-10-23", "2026-11-23")),
        (None, at("2026-03-10T00:00:01"), ("2026-02-08", "2026-03-11")),
        (None, at("2026-03-10T00:00:00"), ("2026-02-08", "2026-03-10")),
        (at("2026-11-01T23:59:59"), None, ("2026-11-01", "2026-11-23")),
        (at("2026-11-22T00:00:00"), None, ("2026-11-22", "2026-11-23")),
        (at("2026-01-01T00:00:00"), at("2026-01-02T00:00:00"), ("2026-01-01", "2026-01-02")),
        (at("2026-01-01T00:00:00"), at("2026-01-02T00:00:00", nanos=1), ("2026-01-01", "2026-01-03")),
        (at("2024-02-28T12:00:00"), at("2024-03-01T12:00:00"), ("2024-02-28", "2024-03-02")),
        (at("1969-12-31T12:00:00"), at("1970-01-01T12:00:00"), ("1969-12-31", "1970-01-02")),
    ],
)
def test_periods_are_whole_days_in_utc(
    start: Timestamp | None, end: Timestamp | None, expected: tuple[str, str]
) -> None:
    """The start is rounded down, a part of a day at the end counts, absent means 31 days up to now."""
    assert days(start, end) == expected


def test_a_period_is_at_most_400_days() -> None:
    """To the nanosecond."""
    assert days(at("2025-01-01T06:00:00"), at("2026-02-05T06:00:00")) == ("2025-01-01", "2026-02-06")
    assert refused(at("2025-01-01T06:00:00"), at("2026-02-05T06:00:00", nanos=1)) == ["end_time"]
    assert refused(at("2025-01-01T06:00:00"), None) == ["start_time"]


def test_a_period_begins_before_it_ends() -> None:
    """An empty or reversed one is refused, at the field that the caller wrote."""
    assert refused(at("2026-01-02T00:00:00"), at("2026-01-02T00:00:00")) == ["end_time"]
    assert refused(at("2026-01-02T00:00:00"), at("2026-01-01T00:00:00")) == ["end_time"]
    assert refused(at("2026-11-22T12:30:16"), None) == ["start_time"]


@pytest.mark.parametrize(
    "bad", [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-1), Timestamp(nanos=10**9)]
)
def test_invalid_timestamps_are_refused_both_at_once(bad: Timestamp) -> None:
    """Out of protobuf's range of years or of nanos."""
    assert refused(bad, bad) == ["end_time", "start_time"]
    assert refused(bad, None) == ["start_time"]
