"""Calls that search nothing have a rate of their own per tenant, and reports weigh more."""

from __future__ import annotations

import pytest

from gateway.model import RateLimit
from gateway.quota.reads import _SWEEP_TENANTS, ReadRate
from tests.support.clock import ManualClock


def test_a_tenant_beyond_its_rate_is_told_when_to_come_back() -> None:
    clock = ManualClock()
    rate = ReadRate(clock, RateLimit(per_second=10, burst=20))
    assert [rate.charge("a", 1) for _ in range(20)] == [0.0] * 20
    assert rate.charge("a", 1) == pytest.approx(0.1)
    clock.advance(0.1)
    assert rate.charge("a", 1) == 0.0


def test_tenants_have_rates_of_their_own() -> None:
    rate = ReadRate(ManualClock(), RateLimit(per_second=10, burst=1))
    assert rate.charge("a", 1) == 0.0
    assert rate.charge("a", 1) > 0
    assert rate.charge("b", 1) == 0.0


def test_a_report_weighs_as_much_as_several_calls() -> None:
    rate = ReadRate(ManualClock(), RateLimit(per_second=10, burst=20))
    admitted = sum(not rate.charge("a", 4) for _ in range(20))
    assert admitted == 5


def test_levels_of_tenants_that_call_no_more_are_forgotten() -> None:
    clock = ManualClock()
    rate = ReadRate(clock, RateLimit(per_second=10, burst=20))
    for number in range(3 * _SWEEP_TENANTS):
        rate.charge(f"tenant-{number}", 1)
        clock.advance(0.2)
    assert len(rate._levels) < _SWEEP_TENANTS
