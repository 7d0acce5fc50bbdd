"""Whoever floods with calls that bring nobody anything keeps their streams, but only while the gateway is busy, and never for long."""

from __future__ import annotations

import time

import pytest

from gateway.rpc.pacing import BURST, MAX_SECONDS, MAX_WAITING, PER_SECOND, Pace


def busy(_: float) -> bool:
    return True


def flooded(pace: Pace, caller: str, refusals: int, now: float) -> list[float]:
    return [pace.of_refused(caller, now) for _ in range(refusals)]


def test_a_flood_is_answered_at_once_while_nobody_else_calls() -> None:
    pace = Pace(busy)
    pace.let_through("a", 10.0)
    assert set(flooded(pace, "a", 10_000, 10.1)) == {0.0}


def test_a_flood_is_answered_at_once_while_there_is_processor_time_to_spare() -> None:
    pace = Pace(lambda _: False)
    pace.let_through("b", 10.0)
    assert set(flooded(pace, "a", 10_000, 10.1)) == {0.0}
    assert {pace.of_given_up("a", 10.1) for _ in range(10_000)} == {0.0}


def test_a_flood_is_paced_while_another_tenant_is_served() -> None:
    pace = Pace(busy)
    pace.let_through("b", 10.0)
    delays = flooded(pace, "a", BURST + int(PER_SECOND * MAX_SECONDS), 10.1)
    assert set(delays[:BURST]) == {0.0}
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(MAX_SECONDS)


def test_few_refusals_are_answered_at_once() -> None:
    pace = Pace(busy)
    for step in range(1000):
        now = 10.0 + step / PER_SECOND
        pace.let_through("b", now)
        assert pace.of_refused("a", now) < 1 / PER_SECOND


def test_calls_that_are_given_up_keep_their_streams_whoever_else_calls() -> None:
    """They come out of what is served to their own tenant as well."""
    pace = Pace(busy)
    pace.let_through("a", 10.0)
    kept = [pace.of_given_up("a", 10.1) for _ in range(BURST + int(PER_SECOND * MAX_SECONDS))]
    assert set(kept[:BURST]) == {0.0}
    assert kept[-1] == pytest.approx(MAX_SECONDS)


def test_strangers_wait_for_tenants_and_not_for_each_other() -> None:
    pace = Pace(busy)
    assert set(flooded(pace, "", 1000, 10.0)) == {0.0}
    pace.let_through("a", 10.0)
    assert flooded(pace, "", 2000, 10.1)[-1] == MAX_SECONDS


def test_a_tenant_is_paced_for_others_even_if_it_called_last() -> None:
    pace = Pace(busy)
    pace.let_through("b", 10.0)
    pace.let_through("a", 10.1)
    assert flooded(pace, "a", 2000, 10.2)[-1] == MAX_SECONDS


def test_the_number_that_waits_is_bounded() -> None:
    pace = Pace(busy)
    pace.let_through("b", 10.0)
    pace.waiting = MAX_WAITING
    assert set(flooded(pace, "a", 1000, 10.1)) == {0.0}
    assert pace.of_given_up("a", 10.1) == 0.0


def test_a_flood_that_ends_is_forgotten() -> None:
    pace = Pace(busy)
    pace.let_through("b", 10.0)
    flooded(pace, "a", 10_000, 10.0)
    pace.let_through("b", 10.0 + MAX_SECONDS)
    assert pace.of_refused("a", 10.0 + MAX_SECONDS) <= 2 / PER_SECOND


async def test_a_time_that_has_passed_is_no_wait() -> None:
    pace = Pace(busy)
    await pace.wait_until(0.0)
    before = time.monotonic()
    await pace.wait_until(before + 0.02)
    assert time.monotonic() >= before + 0.02
    assert pace.waiting == 0
