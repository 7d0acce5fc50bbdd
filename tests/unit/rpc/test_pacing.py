"""Whoever causes floods of refusals waits for them, but only while others are served, and never for long."""

from __future__ import annotations

import pytest

from gateway.rpc.pacing import BURST, MAX_DELAY_SECONDS, MAX_DELAYED, PER_SECOND, RefusalPace


def flooded(pace: RefusalPace, caller: str, refusals: int, now: float) -> list[float]:
    return [pace.delay(caller, now) for _ in range(refusals)]


def test_a_flood_is_answered_at_once_while_nobody_else_calls() -> None:
    pace = RefusalPace()
    pace.let_through("a", 10.0)
    assert set(flooded(pace, "a", 10_000, 10.1)) == {0.0}


def test_a_flood_is_paced_while_another_tenant_is_served() -> None:
    pace = RefusalPace()
    pace.let_through("b", 10.0)
    delays = flooded(pace, "a", BURST + int(PER_SECOND * MAX_DELAY_SECONDS), 10.1)
    assert set(delays[:BURST]) == {0.0}
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(MAX_DELAY_SECONDS)


def test_few_refusals_are_answered_at_once() -> None:
    pace = RefusalPace()
    for step in range(1000):
        now = 10.0 + step / PER_SECOND
        pace.let_through("b", now)
        assert pace.delay("a", now) < 1 / PER_SECOND


def test_strangers_wait_for_tenants_and_not_for_each_other() -> None:
    pace = RefusalPace()
    assert set(flooded(pace, "", 1000, 10.0)) == {0.0}
    pace.let_through("a", 10.0)
    assert flooded(pace, "", 1000, 10.1)[-1] == MAX_DELAY_SECONDS


def test_a_tenant_is_paced_for_others_even_if_it_called_last() -> None:
    pace = RefusalPace()
    pace.let_through("b", 10.0)
    pace.let_through("a", 10.1)
    assert flooded(pace, "a", 1000, 10.2)[-1] == MAX_DELAY_SECONDS


def test_the_number_that_waits_is_bounded() -> None:
    pace = RefusalPace()
    pace.let_through("b", 10.0)
    pace.delayed = MAX_DELAYED
    assert set(flooded(pace, "a", 1000, 10.1)) == {0.0}


def test_a_flood_that_ends_is_forgotten() -> None:
    pace = RefusalPace()
    pace.let_through("b", 10.0)
    flooded(pace, "a", 10_000, 10.0)
    pace.let_through("b", 10.0 + MAX_DELAY_SECONDS)
    assert pace.delay("a", 10.0 + MAX_DELAY_SECONDS) <= 2 / PER_SECOND
