"""Which quotas are shown as used by half or more: from the answers that searches get anyway."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.errors import TenantQuotaExceeded
from gateway.model import Limits, Tenant, Window
from gateway.quota.gate import QuotaGate
from gateway.quota.memory import MemoryQuotaStore
from gateway.quota.nearly_used import MAX_SHOWN
from tests.support.quota import HandClock, tenant, utc


@pytest.fixture
def clock() -> HandClock:
    return HandClock(utc("2026-03-10T12:00:30").timestamp())


@pytest.fixture
def gate(clock: HandClock) -> QuotaGate:
    return QuotaGate(MemoryQuotaStore(clock), clock=clock)


def tenant_of(*tenants: Tenant) -> Callable[[str], Tenant | None]:
    return {one.id: one for one in tenants}.get


async def spend(gate: QuotaGate, who: Tenant, calls: int) -> None:
    """So many searches at the vendor."""
    for _ in range(calls):
        with await gate.admit(who) as admission:
            await admission.reserve()


async def test_a_quota_is_shown_from_half_to_all_of_it(gate: QuotaGate) -> None:
    """Each window by itself; the one that is used less is left out."""
    who = tenant(minute=10, month=100)
    shown = []
    for _ in range(10):
        await spend(gate, who, 1)
        shown.append(gate.nearly_used.shares(tenant_of(who)))
    assert shown[3] == {}
    assert [one[("kyc", "upstream_calls_per_minute")] for one in shown[4:]] == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert all(len(one) == 1 for one in shown[4:])


async def test_it_is_gone_when_the_window_ends_or_the_tenant_does(gate: QuotaGate, clock: HandClock) -> None:
    """And a raised limit counts at once."""
    who = tenant(minute=10)
    await spend(gate, who, 9)
    assert gate.nearly_used.shares(tenant_of(tenant(minute=12))) == {("kyc", "upstream_calls_per_minute"): 0.75}
    clock.advance(30)
    assert gate.nearly_used.shares(tenant_of(who)) == {}
    await spend(gate, who, 9)
    assert gate.nearly_used.shares(tenant_of(who))
    assert gate.nearly_used.shares(tenant_of()) == {}


async def test_a_lowered_limit_that_refuses_at_once_is_shown(gate: QuotaGate) -> None:
    """Though no search was charged under it."""
    await spend(gate, tenant(month=100), 40)
    lowered = tenant(month=20)
    with pytest.raises(TenantQuotaExceeded):
        await spend(gate, lowered, 1)
    assert gate.nearly_used.shares(tenant_of(lowered)) == {("kyc", "upstream_calls_per_month"): 2.0}


async def test_ten_thousand_tenants_make_a_hundred_series(gate: QuotaGate) -> None:
    """Those that have used most, though others came first."""
    limits = Limits(upstream_calls={Window.DAY: 10})
    tenants = [Tenant(f"t{number}", limits=limits) for number in range(10_000)]
    for number, one in enumerate(tenants):
        await spend(gate, one, 9 if number >= 9_900 else 6)
    shown = gate.nearly_used.shares(tenant_of(*tenants))
    assert len(shown) == MAX_SHOWN
    assert set(shown.values()) == {0.9}
