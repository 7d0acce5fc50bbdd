"""Six months are counted by calendar."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.sandbox.parameters import months_before


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-11-22T10:20:30", "2026-05-22T10:20:30"),
        ("2026-03-15T00:00:00", "2025-09-15T00:00:00"),
        ("2026-08-31T12:00:00", "2026-02-28T12:00:00"),
        ("2024-08-29T12:00:00", "2024-02-29T12:00:00"),
        ("2026-06-30T23:59:59", "2025-12-30T23:59:59"),
    ],
)
def test_six_months_before(now: str, then: str) -> None:
    """The same day and time of that month, or the month's last day."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()
    assert months_before(moment, 6) == datetime.fromisoformat(then).replace(tzinfo=UTC).timestamp()
