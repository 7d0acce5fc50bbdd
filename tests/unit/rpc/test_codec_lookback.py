"""Six calendar months back, in UTC."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from gateway.rpc.codec.lookback import earliest_sent, six_months_before


def at(text: str) -> int:
    """Seconds since 1970 of an ISO time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.fixture(params=["UTC", "America/New_York", "Australia/Lord_Howe"], autouse=True)
def time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own time zone and its daylight saving must not matter."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-22T12:30:15", "2026-05-22T12:30:15"),
        ("2026-03-29T02:30:00", "2025-09-29T02:30:00"),
        ("2026-01-01T00:00:00", "2025-07-01T00:00:00"),
        ("2026-06-30T23:59:59", "2025-12-30T23:59:59"),
        ("2026-07-01T00:00:00", "2026-01-01T00:00:00"),
        ("2026-12-31T23:59:59", "2026-06-30T23:59:59"),
        ("2026-08-28T01:00:00", "2026-02-28T01:00:00"),
        ("2026-08-29T01:00:00", "2026-02-28T01:00:00"),
        ("2026-08-31T01:00:00", "2026-02-28T01:00:00"),
        ("2028-08-29T01:00:00", "2028-02-29T01:00:00"),
        ("2028-08-31T01:00:00", "2028-02-29T01:00:00"),
        ("2028-02-29T06:00:00", "2027-08-29T06:00:00"),
        ("2100-08-31T00:00:00", "2100-02-28T00:00:00"),
        ("2026-09-01T00:00:00", "2026-03-01T00:00:00"),
    ],
)
def test_six_months_by_calendar(now: str, expected: str) -> None:
    """Same day and time of day; a day that the month lacks is the month's last."""
    assert six_months_before(at(now)) == at(expected)
    assert six_months_before(at(now) + 0.999) == at(expected)
    assert earliest_sent(at(now)) == at(expected) + 3600
