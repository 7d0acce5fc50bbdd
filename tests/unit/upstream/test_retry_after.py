"""Retry-After is read as a number of seconds or a date, and believed within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.retry_after import MAX_RETRY_AFTER_SECONDS, parse_retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("3601", 3600.0),
        ("999999999", 3600.0),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("٣", None),
        ("9" * 5000, None),
        ("soon", None),
        ("", None),
        ("Tue, 14 Nov 2023 22:13:21 GMT", 1.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("Tue, 14 Nov 2023 22:13:21", None),
        ("Tue, 99 Nov 2023 22:13:21 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_values(value: str | None, seconds: float | None) -> None:
    """Each form, its bounds, and what is no form."""
    assert parse_retry_after(value, NOW) == seconds


@given(st.text(max_size=70))
def test_any_text(value: str) -> None:
    """Nothing that a header can hold makes it fail or leave its bounds."""
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_SECONDS
