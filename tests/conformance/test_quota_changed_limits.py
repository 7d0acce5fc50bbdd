"""Limits that change while they count, over every quota store: the new limit is in force, and it alone."""

from __future__ import annotations

import pytest

from gateway.model import Limits
from gateway.quota.status import describe
from tests.support.quota import PATIENCE, Harness, admit, tenant, utc


async def spend(quota: Harness, limits: Limits, most: int = 1000) -> int:
    """Calls that the rate admits now."""
    count = 0
    while count < most and await admit(quota, "a", limits) == "":
        count += 1
    return count


async def test_a_lowered_rate_keeps_no_debt_that_it_could_not_have_made(quota: Harness) -> None:
    """A burst of 200 at 100/s was spent; at 1/s with a burst of 10 the next call is a second away, not 190."""
    await spend(quota, tenant(rate=(100, 200)).limits)
    lowered = tenant(rate=(1, 10)).limits
    refused = await quota.store.admit("a", lowered, quota.id(), PATIENCE)
    assert (refused.limit_id, refused.wait_us) == ("rate", 1_000_000)
    quota.advance(1)
    assert await spend(quota, lowered) == 1
    quota.advance(10)
    assert await spend(quota, lowered) == 10


async def test_a_rate_that_is_lowered_twice_forgives_twice(quota: Harness) -> None:
    """Within the minute in which two versions of one limit may be in use: a lower limit still is neither of them."""
    await spend(quota, tenant(rate=(100, 200)).limits)
    await admit(quota, "a", tenant(rate=(1, 50)).limits)
    quota.advance(1)
    assert await spend(quota, tenant(rate=(1, 50)).limits) == 1
    lowered = tenant(rate=(1, 10)).limits
    refused = await quota.store.admit("a", lowered, quota.id(), PATIENCE)
    assert (refused.limit_id, refused.wait_us) == ("rate", 1_000_000)
    quota.advance(1)
    assert await spend(quota, lowered) == 1


async def test_what_is_reported_of_a_lowered_rate_comes_true(quota: Harness) -> None:
    """GetQuota alone, without a call: the bucket is empty at its reset, and never below or above its range."""
    await spend(quota, tenant(rate=(100, 200)).limits)
    lowered = tenant(rate=(1, 10)).limits
    (status,) = describe(lowered, await quota.store.look("a", lowered, PATIENCE))
    assert (status.used, status.remaining) == (10, 0)
    assert status.reset_time is not None
    assert abs(status.reset_time - quota.clock.now() - 10) < 0.001
    quota.advance(10)
    assert await spend(quota, lowered) == 10


async def test_a_raised_rate_gives_what_it_adds(quota: Harness) -> None:
    """What was used counts: a burst of 5 that was spent leaves 3 of 8."""
    await spend(quota, tenant(rate=(0.001, 5)).limits)
    assert await spend(quota, tenant(rate=(0.001, 8)).limits) == 3


async def test_two_versions_of_a_limit_do_not_empty_each_others_bucket(shared: Harness) -> None:
    """While a change reaches one replica after the other: the lower limit forgives the higher one's debt once a minute."""
    high, low = tenant(rate=(1, 300)).limits, tenant(rate=(1, 5)).limits
    admitted = 0
    for _ in range(5):
        admitted += await spend(shared, high)
        assert await admit(shared, "a", low) == "rate"
        shared.advance(1)
        await admit(shared, "a", low)
    assert 300 <= admitted <= 300 + 300
    refused = await shared.store.admit("a", low, shared.id(), PATIENCE)
    assert 50_000_000 < refused.wait_us <= 61_000_000
    shared.advance(refused.wait_us / 1e6 - 0.01)
    assert await admit(shared, "a", low) == "rate"
    shared.advance(0.01)
    assert await admit(shared, "a", low) == "", "the wait that was named came true"


@pytest.mark.parametrize(("before", "after", "admitted"), [(5, 2, 0), (5, 5, 0), (5, 7, 2)])
async def test_a_changed_window_is_in_force_at_once(quota: Harness, before: int, after: int, admitted: int) -> None:
    """What was used counts against the new limit; what is reported is in range: more than the limit is truly used."""
    quota.clock.set_wall(utc("2026-03-10T12:00:30"))
    for _ in range(before):
        await quota.store.reserve("a", tenant(day=before).limits, quota.id(), PATIENCE)
    changed = tenant(day=after).limits
    found = 0
    while (await quota.store.reserve("a", changed, quota.id(), PATIENCE)).limit_id == "":
        found += 1
    assert found == admitted
    (status,) = describe(changed, await quota.store.look("a", changed, PATIENCE))
    assert (status.used, status.remaining) == (max(before, after), 0)


async def test_a_changed_concurrency_is_in_force_at_once(quota: Harness) -> None:
    """Calls in flight go on; nothing new until there are fewer than the new limit."""
    for call in ("1", "2", "3"):
        assert await admit(quota, "a", tenant(concurrency=3).limits, call) == ""
    lowered = tenant(concurrency=2).limits
    assert await admit(quota, "a", lowered) == "concurrency"
    (status,) = describe(lowered, await quota.store.look("a", lowered, PATIENCE))
    assert (status.used, status.remaining) == (3, 0)
    quota.store.release("a", "1")
    quota.store.release("a", "2")
    assert await admit(quota, "a", lowered) == ""
    assert await admit(quota, "a", tenant(concurrency=3).limits) == ""
