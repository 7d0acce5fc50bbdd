"""The gate over the memory store: what it raises, when to try again, and what it remembers."""

from __future__ import annotations

import pytest

from gateway.errors import TenantConcurrencyExceeded, TenantQuotaExceeded, TenantRateLimited
from gateway.quota.build import build_quota
from gateway.quota.gate import QuotaGate
from gateway.quota.memory import MemoryQuotaStore
from gateway.quota.status import LimitKind, LimitStatus
from tests.support.quota import HandClock, tenant, utc


@pytest.fixture
def clock() -> HandClock:
    return HandClock(utc("2026-03-10T12:00:30").timestamp())


@pytest.fixture
def gate(clock: HandClock) -> QuotaGate:
    return QuotaGate(MemoryQuotaStore(clock), clock=clock)


async def test_refusals_name_the_limit_and_the_delay(gate: QuotaGate) -> None:
    """What RetryInfo and QuotaFailure are made from."""
    who = tenant(rate=(2, 3), concurrency=1, minute=1)
    with await gate.admit(who) as admission:
        assert admission.remaining == 2
        with pytest.raises(TenantConcurrencyExceeded) as refused:
            await gate.admit(who)
        assert (refused.value.tenant, refused.value.limit_id) == ("kyc", "concurrency")
        assert refused.value.retry_after_seconds == 0.1
        assert (await admission.reserve()).remaining == 0
        with pytest.raises(TenantQuotaExceeded) as quota:
            await admission.reserve()
        assert (quota.value.limit_id, quota.value.retry_after_seconds) == ("upstream_calls_per_minute", 30.0)
    for _ in range(2):
        (await gate.admit(who)).release()
    with pytest.raises(TenantRateLimited) as rate:
        await gate.admit(who)
    assert (rate.value.limit_id, rate.value.retry_after_seconds) == ("rate", 0.5)


async def test_a_refusal_by_the_rate_is_remembered_until_exactly_its_time(gate: QuotaGate, clock: HandClock) -> None:
    """So that a call is refused on its headers; never a call that the store would admit."""
    who = tenant(rate=(4, 1))
    assert gate.refused_until(who) is None
    (await gate.admit(who)).release()
    assert gate.refused_until(who) is None
    with pytest.raises(TenantRateLimited):
        await gate.admit(who)
    assert gate.refused_until(who) == clock.monotonic() + 0.25
    assert gate.refused_until(tenant(rate=(5, 2))) is None, "the limit was changed meanwhile"
    clock.advance(0.2499)
    assert gate.refused_until(who) is not None
    clock.advance(0.0001)
    assert gate.refused_until(who) is None
    (await gate.admit(who)).release()


async def test_absent_limits_are_unlimited(gate: QuotaGate) -> None:
    """A tenant without limits is never refused, and has none to report."""
    who = tenant()
    for _ in range(100):
        admission = await gate.admit(who)
        (await admission.reserve()).settle()
    assert (await gate.limits(who)).limits == ()


async def test_ending_twice_is_ending_once(gate: QuotaGate) -> None:
    """Release, settle and refund are idempotent; a refund after a settlement does nothing."""
    who = tenant(concurrency=2, day=5)
    admission = await gate.admit(who)
    other = await gate.admit(who)
    settled, refunded = await admission.reserve(), await admission.reserve()
    settled.settle()
    settled.refund()
    refunded.refund()
    refunded.refund()
    refunded.settle()
    admission.release()
    admission.release()
    figures = {limit.id: limit.used for limit in (await gate.limits(who)).limits}
    assert figures == {"concurrency": 1, "upstream_calls_per_day": 1}
    other.release()


async def test_limits_are_described_as_they_are(gate: QuotaGate, clock: HandClock) -> None:
    """Used, remaining, window and reset of every limit; asking consumes nothing."""
    who = tenant(rate=(2, 4), concurrency=3, day=10, month=20)
    admission = await gate.admit(who)
    (await admission.reserve()).settle()
    await gate.limits(who)
    status = await gate.limits(who)
    midnight, april = utc("2026-03-11T00:00:00").timestamp(), utc("2026-04-01T00:00:00").timestamp()
    calls = LimitKind.UPSTREAM_CALLS
    assert not status.degraded
    assert status.limits == (
        LimitStatus("rate", LimitKind.RATE, 4, 1, 3, 2.0, clock.now() + 0.5),
        LimitStatus("concurrency", LimitKind.CONCURRENCY, 3, 1, 2),
        LimitStatus("upstream_calls_per_day", calls, 10, 1, 9, 86_400.0, midnight),
        LimitStatus("upstream_calls_per_month", calls, 20, 1, 19, 31 * 86_400.0, april),
    )


async def test_a_policy_that_does_not_exist_is_refused() -> None:
    """At start, not in the first outage."""
    with pytest.raises(ValueError, match="shrug"):
        build_quota("memory://", clock=HandClock(), on_store_failure="shrug")
