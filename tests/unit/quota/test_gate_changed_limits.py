"""Limits that change while the store is unavailable, and what GetQuota reports of a share: in force, and in range."""

from __future__ import annotations

import contextlib

import pytest

from gateway.errors import TenantQuotaExceeded, TenantRateLimited
from gateway.model import Tenant, Window
from gateway.quota.gate import QuotaGate
from gateway.quota.store import OutageCause, Reserved
from tests.support.failing_store import FailingStore, gate_over
from tests.support.quota import HandClock, tenant


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(clock: HandClock) -> FailingStore:
    return FailingStore(clock)


async def outage(gate: QuotaGate, store: FailingStore, who: Tenant) -> None:
    """The connection breaks, and stays so."""
    store.cause = OutageCause.CONNECTION
    (await gate.admit(who)).release()
    assert gate.degraded


async def spend(gate: QuotaGate, who: Tenant, attempts: int) -> int:
    """Upstream calls that were admitted of so many."""
    count = 0
    for _ in range(attempts):
        with contextlib.suppress(TenantQuotaExceeded), await gate.admit(who) as admission:
            (await admission.reserve()).settle()
            count += 1
    return count


async def figures(gate: QuotaGate, who: Tenant) -> dict[str, tuple[int, int]]:
    """Used and remaining of each limit, which are in range whatever happens."""
    status = await gate.limits(who)
    for limit in status.limits:
        assert limit.used >= 0
        assert 0 <= limit.remaining <= limit.limit
        assert limit.used + limit.remaining >= limit.limit
    return {limit.id: (limit.used, limit.remaining) for limit in status.limits}


@pytest.mark.parametrize(("limit", "admitted"), [(1000, 453), (47, 0), (10, 0), (50, 3), (2000, 1453)])
async def test_a_limit_that_changes_in_an_outage_is_in_force_at_once(
    store: FailingStore, clock: HandClock, limit: int, admitted: int
) -> None:
    """The replica had seen 547 of 1,000 used, or 47: what is left is counted from the limit as it is now."""
    used = 547 if limit >= 1000 else 47
    gate, before = gate_over(store, clock), tenant(concurrency=5, day=1000)
    assert await spend(gate, before, used) == used
    counts = (await store.look("kyc", before.limits, 1.0)).counts
    gate._standings["kyc"].looked(before.limits, Reserved("", 0, None, clock.now_us(), (counts[Window.DAY],)), 1000.0)
    after = tenant(concurrency=5, day=limit)
    await outage(gate, store, before)
    assert (await figures(gate, before))["upstream_calls_per_day"] == (used, 1000 - used)
    await figures(gate, after)
    assert await spend(gate, after, 1500) == admitted
    assert (await figures(gate, after))["upstream_calls_per_day"] == (limit, 0)
    await gate.aclose()


@pytest.mark.parametrize("replicas", [1, 3])
async def test_figures_are_in_range_when_a_limit_falls_after_it_was_spent(
    store: FailingStore, clock: HandClock, replicas: int
) -> None:
    """Once minus 443 of 10 were said to be used."""
    gate = gate_over(store, clock, replicas=replicas)
    before, after = tenant(rate=(100, 3000), concurrency=9, day=900), tenant(rate=(1, 10), concurrency=3, day=10)
    await outage(gate, store, before)
    assert await spend(gate, before, 400) == min(400, 900 // replicas)
    assert await figures(gate, after) == {
        "rate": (10, 0),
        "concurrency": (3 - 3 // replicas, 3 // replicas),
        "upstream_calls_per_day": (10, 0),
    }
    with pytest.raises(TenantRateLimited) as refused:
        await gate.admit(after)
    assert refused.value.retry_after_seconds is not None
    assert refused.value.retry_after_seconds <= 1.01 * replicas, (
        "an interval of this replica's share of one call a second"
    )
    await figures(gate, before)
    await gate.aclose()


async def test_a_share_is_reported_as_what_this_replica_still_admits(store: FailingStore, clock: HandClock) -> None:
    """Of the rate and of calls at once as of the windows: what the other replicas may have is not this one's to give."""
    gate, who = gate_over(store, clock, replicas=3), tenant(rate=(3, 9), concurrency=6)
    await outage(gate, store, who)
    held = [await gate.admit(who) for _ in range(2)]
    assert await figures(gate, who) == {"rate": (9, 0), "concurrency": (6, 0)}
    (rate, _) = (await gate.limits(who)).limits
    assert rate.reset_time == pytest.approx(clock.now() + 3.0)
    for admission in held:
        admission.release()
    clock.advance(3.0)
    assert await figures(gate, who) == {"rate": (0, 9), "concurrency": (4, 2)}
    await gate.aclose()


async def test_what_was_spent_without_the_store_takes_little_memory(store: FailingStore, clock: HandClock) -> None:
    """Upstream calls that wait to be written share what they have in common."""
    gate, who = gate_over(store, clock, "allow"), tenant(rate=(1, 1), minute=1, day=1, month=1)
    await outage(gate, store, who)
    assert await spend(gate, who, 50) == 50
    owed = gate._standings["kyc"].owed.values()
    assert len(owed) == 50
    assert len({id(one.ends) for one in owed}) == 1
    await gate.aclose()
