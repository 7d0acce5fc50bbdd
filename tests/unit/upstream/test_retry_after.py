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
        (b"0", 0.0),
        (b" 12 ", 12.0),
        (b"3601", 3600.0),
        (b"999999999", 3600.0),
        (b"-1", None),
        (b"1.5", None),
        ("²".encode(), None),
        ("٣".encode(), None),
        (b"9" * 5000, None),
        (b"soon", None),
        (b"", None),
        (b"Tue, 14 Nov 2023 22:13:21 GMT", 1.0),
        (b"Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        (b"Tue, 14 Nov 2023 22:13:21", None),
        (b"Tue, 99 Nov 2023 22:13:21 GMT", None),
        (b"Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_values(value: bytes | None, seconds: float | None) -> None:
    """Each form, its bounds, and what is no form."""
    assert parse_retry_after(value, NOW) == seconds


@given(st.one_of(st.binary(max_size=70), st.text(max_size=70).map(str.encode)))
def test_any_bytes(value: bytes) -> None:
    """Nothing that a header can hold makes it fail or leave its bounds."""
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_SECONDS
