"""The gate over a store that fails when it is told to: when that is an outage, and what is kept and told meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import QuotaUnavailable, TenantConcurrencyExceeded, TenantRateLimited
from gateway.model import Tenant, Window
from gateway.quota.gate import QuotaGate
from gateway.quota.store import STORE_BUDGET_SECONDS, OutageCause
from tests.support.conditions import eventually
from tests.support.failing_store import FailingStore, gate_over
from tests.support.quota import HandClock, tenant


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(clock: HandClock) -> FailingStore:
    return FailingStore(clock)


async def used(store: FailingStore, who: Tenant) -> int:
    return (await store.look(who.id, who.limits, 1.0)).counts[Window.DAY].used


async def test_two_time_outs_are_a_hiccup_and_three_in_a_row_an_outage(store: FailingStore, clock: HandClock) -> None:
    """An answer between them starts the count anew; a broken connection is an outage at once."""
    gate, who = gate_over(store, clock), tenant(rate=(1000, 1000))
    for causes in ((OutageCause.TIMEOUT,) * 2, (None,), (OutageCause.TIMEOUT,) * 2):
        for cause in causes:
            store.cause = cause
            assert (await gate.admit(who)).degraded == (cause is not None)
            assert not gate.degraded
    await gate.admit(who)
    assert gate.degraded
    store.cause = None
    await eventually(lambda: not gate.degraded, "the store is back")
    store.cause = OutageCause.CONNECTION
    await gate.admit(who)
    assert gate.degraded
    await gate.aclose()


async def test_a_refusal_leaves_nothing_of_a_question_whose_answer_was_lost(
    store: FailingStore, clock: HandClock
) -> None:
    """`deny` refuses a call that the store had admitted: the slot and the charge are given back."""
    gate, who = gate_over(store, clock, "deny"), tenant(concurrency=1, day=5)
    store.cause, store.replies_lost = OutageCause.TIMEOUT, True
    with pytest.raises(QuotaUnavailable):
        await gate.admit(who)
    store.cause = None
    with await gate.admit(who) as admission:
        store.cause = OutageCause.TIMEOUT
        with pytest.raises(QuotaUnavailable):
            await admission.reserve()
    assert await used(store, who) == 0
    await gate.aclose()


async def test_a_caller_that_leaves_while_the_store_answers_is_not_charged(
    store: FailingStore, clock: HandClock
) -> None:
    """The question was answered, and nobody was there for the answer."""
    gate, who = gate_over(store, clock), tenant(day=5)
    store.answers.clear()
    asking = asyncio.create_task((await gate.admit(who)).reserve())
    await store.asked.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert await used(store, who) == 0
    await gate.aclose()


async def test_the_outage_ends_when_the_store_knows_what_was_spent(store: FailingStore, clock: HandClock) -> None:
    """Not before: until then each replica keeps to its share."""
    gate, who = gate_over(store, clock), tenant(day=5)
    store.cause = OutageCause.CONNECTION
    (await (await gate.admit(who)).reserve()).settle()
    store.cause = None
    await eventually(lambda: not gate.degraded, "the store is back")
    assert (store.charging, await used(store, who)) == ([True], 1)
    await gate.aclose()


async def test_a_replica_alone_has_its_share_of_calls_at_once(store: FailingStore, clock: HandClock) -> None:
    """Six over three replicas are two; the store is told of those that are still in flight."""
    gate, who = gate_over(store, clock, replicas=3), tenant(rate=(1000, 1000), concurrency=6)
    store.cause = OutageCause.CONNECTION
    held = [await gate.admit(who) for _ in range(2)]
    with pytest.raises(TenantConcurrencyExceeded):
        await gate.admit(who)
    store.cause = None
    await eventually(lambda: not gate.degraded, "the store is back")
    assert (await store.look(who.id, who.limits, 1.0)).slots == 2
    for admission in held:
        admission.release()
    assert (await store.look(who.id, who.limits, 1.0)).slots == 0
    await gate.aclose()


async def test_a_refusal_is_remembered_from_when_the_store_was_asked(store: FailingStore, clock: HandClock) -> None:
    """Its wait began then: nothing may be refused on its headers that the store would admit."""
    gate, who = gate_over(store, clock), tenant(rate=(1, 1))
    store.spent_seconds = 0.03
    await gate.admit(who)
    with pytest.raises(TenantRateLimited):
        await gate.admit(who)
    assert gate.refused_until(who) == pytest.approx(clock.monotonic() - 0.03 + 1.0)
    await gate.aclose()


async def time_out(gate: QuotaGate, store: FailingStore, who: Tenant) -> None:
    """Three time-outs in a row."""
    store.cause = OutageCause.TIMEOUT
    for _ in range(3):
        await gate.admit(who)
    assert gate.degraded
    store.cause = None


async def test_a_store_that_was_too_slow_proves_itself(store: FailingStore, clock: HandClock) -> None:
    """It answers within a call's time, several times in a row; one that answers every other time in time is not back."""
    gate, who = gate_over(store, clock), tenant(rate=(1000, 1000))
    store.slow_probes = 2
    await time_out(gate, store, who)
    await eventually(lambda: store.probes > 20, "it is probed")
    assert gate.degraded
    store.slow_probes = 0
    await eventually(lambda: not gate.degraded, "the store is back")
    assert store.budgets == {STORE_BUDGET_SECONDS}
    await gate.aclose()


async def test_a_store_that_fails_again_at_once_is_left_alone_for_a_while(
    store: FailingStore, clock: HandClock
) -> None:
    """It was back for no time at all, so the next outage lasts a quarter of a second, however good it looks."""
    gate, who, loop = gate_over(store, clock), tenant(rate=(1000, 1000)), asyncio.get_running_loop()
    for _ in range(2):
        store.cause = OutageCause.CONNECTION
        began = loop.time()
        await gate.admit(who)
        assert gate.degraded
        store.cause = None
        await eventually(lambda: not gate.degraded, "the store is back")
    assert loop.time() - began > 0.2
    await gate.aclose()
