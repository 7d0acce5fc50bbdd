"""The gate while its store fails, in each way that a store can: a real server behind a real socket."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
import structlog.testing

from gateway.clock import SystemClock
from gateway.quota.link import link_to
from gateway.quota.store import STORE_BUDGET_SECONDS, StoreUnavailable
from gateway.quota.usage import UsageLedger
from gateway.quota.usage_valkey import ValkeyUsageStore
from tests.support.conditions import eventually
from tests.support.lateness import Lateness, lateness
from tests.support.quota import tenant
from tests.support.quota_outages import (
    FAULTS,
    Fault,
    Setup,
    Tally,
    always_resumed,
    calls,
    eventually_used,
    heal,
    search,
)

LONGEST_SECONDS = 0.06


@pytest.mark.parametrize("policy", ["share", "deny", "allow"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.timed
async def test_an_outage_of_any_kind_keeps_to_the_policy(setup: Setup, fault: Fault, policy: str) -> None:
    """No call waits longer than 60 ms; each policy keeps its bound; degraded shows; back within 2 s; one line a change."""
    limit, before = 100, 10
    gate = await setup.gate(policy, replicas=3, budget_seconds=STORE_BUDGET_SECONDS)
    who = await setup.with_history(gate, tenant(rate=(10_000, 10_000), concurrency=50, day=limit), before)
    with always_resumed(setup), structlog.testing.capture_logs() as log:
        fault(setup)
        during = await calls(gate, who, 120)
        assert during.slowest < LONGEST_SECONDS
        assert during.degraded == during.admitted
        assert gate.degraded
        assert (await gate.limits(who)).degraded
        match policy:
            case "deny":
                assert (during.admitted, during.unavailable) == (0, 120)
            case "allow":
                assert during.admitted == 120
            case _:
                assert during.admitted == (limit - before) // 3
        heal(setup)
        await eventually(lambda: not gate.degraded, "the store is back", 2.0)
        # A store that was killed lost what it had; this replica said its own counts again.
        await eventually_used(setup, who, before + during.admitted)
    events = [entry["event"] for entry in log if entry["event"].startswith("quota.")]
    assert events == ["quota.store_lost", "quota.store_recovered"]
    assert setup.changes == [True, False]


@pytest.mark.parametrize("policy", ["share", "deny"])
async def test_charges_equal_admissions_when_replies_are_lost(setup: Setup, policy: str) -> None:
    """One reply of five is lost after its command ran: what is charged is what was admitted, no more and no less."""
    gate = await setup.gate(policy, budget_seconds=STORE_BUDGET_SECONDS)
    who = await setup.with_history(gate, tenant(day=100_000), 1)
    lottery = random.Random(4)
    setup.proxy.drop_reply = lambda: lottery.random() < 0.2
    tally = Tally()
    while setup.proxy.dropped < 15:
        await asyncio.gather(search(gate, who, tally), search(gate, who, tally))
        await asyncio.sleep(0.002)
    setup.proxy.drop_reply = None
    assert tally.admitted > tally.degraded
    await eventually(lambda: not gate.degraded, "the store is back")
    await eventually_used(setup, who, tally.admitted + 1)


async def test_all_questions_of_a_call_share_one_budget(setup: Setup) -> None:
    """A store that takes more than half of it has answered one question in time; there is no time left for a second."""
    who = tenant(rate=(1000, 1000), day=100)
    gate = await setup.gate(budget_seconds=2.0)
    await calls(gate, who, 1)
    await gate.limits(who)  # Nothing is left to say whose reply would be waited for first.
    setup.proxy.delay_seconds = 1.1
    with await gate.admit(who) as admission:
        assert not admission.degraded
        assert (await admission.reserve()).degraded
    setup.proxy.delay_seconds = 0.0


@pytest.mark.timed
async def test_a_call_that_had_no_answer_does_not_ask_again(setup: Setup) -> None:
    """Its time is used up: whatever else it needs is decided without the store."""
    gate = await setup.gate(budget_seconds=0.6)
    with await gate.admit(tenant(day=100)) as admission:
        setup.proxy.blackhole = True
        assert (await admission.reserve()).degraded
        assert not gate.degraded, "one time-out is no outage: this run shows nothing"
        began = time.perf_counter()
        assert (await admission.reserve()).degraded
        assert time.perf_counter() - began < 0.3


@pytest.mark.timed
async def test_a_report_waits_no_longer_than_a_call(setup: Setup) -> None:
    """GetQuota and GetUsage of a store that is silent: each is told so within 60 ms, however many ask at once."""
    who = tenant(day=10, concurrency=4)
    ledger = UsageLedger(ValkeyUsageStore(link_to(setup.proxy.url, prefix=setup.prefix)), SystemClock())
    gate = await setup.gate(budget_seconds=STORE_BUDGET_SECONDS)
    await setup.with_history(gate, who, 1)
    setup.proxy.blackhole = True

    async def daily(late: Lateness) -> float:
        ledger.today(who.id).searches += 1
        before, began = late.seconds, time.perf_counter()
        with pytest.raises(StoreUnavailable):
            await ledger.daily(who.id, time.time() - 86_400, time.time())
        return time.perf_counter() - began - 3 * (await late.settled() - before)

    async def limits(late: Lateness) -> float:
        before, began = late.seconds, time.perf_counter()
        assert (await gate.limits(who)).degraded
        return time.perf_counter() - began - 3 * (await late.settled() - before)

    async with lateness() as late:
        waits = await asyncio.gather(*(ask(late) for ask in (daily, limits) for _ in range(8)))
    assert max(waits) < LONGEST_SECONDS
    await ledger.aclose()


async def test_probing_a_silent_store_leaves_no_sockets(setup: Setup) -> None:
    """A server that is paused still accepts connections; one that answers no greeting is closed again."""
    gate = await setup.gate("share", database=1, budget_seconds=STORE_BUDGET_SECONDS)
    who = await setup.with_history(gate, tenant(day=10), 1)
    setup.proxy.blackhole = True
    await calls(gate, who, 5)
    assert gate.degraded
    probed = setup.proxy.connections
    await eventually(lambda: setup.proxy.connections >= probed + 6, "it is probed")
    assert setup.proxy.open_connections <= 2
