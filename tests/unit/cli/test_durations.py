"""Durations in words."""

from __future__ import annotations

import pytest

from gateway.cli.durations import spoken


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25 s"),
        (3, "3 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61.2, "1 min 2 s"),
        (19_440, "5 h 24 min"),
        (3_600, "1 h"),
        (86_399, "23 h 59 min"),
        (2_678_400, "31 d"),
        (100_000_000_000, "1157407 d 9 h"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, text: str) -> None:
    """Nobody divides 19440 seconds in the head."""
    assert spoken(seconds) == text
