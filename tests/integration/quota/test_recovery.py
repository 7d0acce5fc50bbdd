"""The gate and a store that comes back, forgot something or was hardly away: what was spent and held is told to it."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.errors import GatewayError, TenantQuotaExceeded
from gateway.model import Tenant
from gateway.quota.gate import QuotaGate
from gateway.quota.store import STORE_BUDGET_SECONDS
from tests.support.conditions import eventually
from tests.support.quota import tenant
from tests.support.quota_outages import Setup, Tally, always_resumed, calls, eventually_used, heal, search_repeatedly


async def test_a_refund_reaches_the_store_after_an_outage(setup: Setup) -> None:
    """Reserved before, refunded during the outage: the store has it once it is back; twice is once."""
    who = tenant(day=10)
    gate = await setup.gate("share")
    with always_resumed(setup):
        with await gate.admit(who) as admission:
            first, second = await admission.reserve(), await admission.reserve()
        setup.proxy.refuse = True
        setup.proxy.reset()
        await calls(gate, who, 2)
        assert gate.degraded
        first.refund()
        first.refund()
        second.settle()
        heal(setup)
        await eventually(lambda: not gate.degraded, "the store is back")
        await eventually_used(setup, who, 1 + 2)


async def test_a_refund_of_a_call_that_the_store_never_saw_is_never_charged(setup: Setup) -> None:
    """What was spent and refunded in the outage is not written back."""
    who = tenant(day=10)
    gate = await setup.gate("share")
    with always_resumed(setup):
        await calls(gate, who, 1)
        setup.proxy.refuse = True
        setup.proxy.reset()
        await calls(gate, who, 1)
        with await gate.admit(who) as admission:
            (await admission.reserve()).refund()
        heal(setup)
        await eventually(lambda: not gate.degraded, "the store is back")
        await eventually_used(setup, who, 2)


async def test_a_flushed_store_is_told_the_counts_and_slots_again(setup: Setup) -> None:
    """The store lost its memory without anyone noticing: the next question says what was known before it is decided."""
    who = tenant(concurrency=2, day=5)
    gate, other = await setup.gate(), await setup.gate()
    held = await gate.admit(who)
    for one in (gate, other, gate, other):
        with await one.admit(who) as admission:
            (await admission.reserve()).settle()
        await one.limits(who)  # Tells the store what is over, so that the other replica has the slot at once.
    await gate.limits(who)  # What a replica has not seen it cannot say again.
    setup.server.command("FLUSHALL")
    with await gate.admit(who) as admission:
        with pytest.raises(GatewayError, match="concurrency"):
            await gate.admit(who)
        (await admission.reserve()).settle()
        with pytest.raises(TenantQuotaExceeded):
            await admission.reserve()
    await gate.limits(who)
    with await other.admit(who) as admission, pytest.raises(TenantQuotaExceeded):
        await admission.reserve()
    held.release()
    assert await setup.used(who) == 5
    assert setup.changes == []


async def test_a_replica_that_was_away_does_not_undo_what_others_did(setup: Setup) -> None:
    """It has seen higher counts than the store has now: others had refunds, the store lost nothing."""
    who = tenant(day=9)
    gate, other = await setup.gate(), await setup.gate(past_proxy=True)
    with always_resumed(setup):
        with await other.admit(who) as admission:
            reserved = [await admission.reserve() for _ in range(4)]
        await calls(gate, who, 1)
        setup.proxy.refuse = True
        setup.proxy.reset()
        await calls(gate, who, 1)
        assert gate.degraded
        for reservation in reserved:
            reservation.refund()
        await eventually_used(setup, who, 1)
        heal(setup)
        await eventually(lambda: not gate.degraded, "the store is back")
        await eventually_used(setup, who, 2)


async def test_a_flushed_store_is_told_before_an_upstream_call_is_decided(setup: Setup) -> None:
    """Also of a tenant that windows alone limit, for which admission asks nothing."""
    who = tenant(day=3)
    gate = await setup.gate()
    await calls(gate, who, 2)
    setup.server.command("FLUSHALL")
    tally = await calls(gate, who, 3)
    assert (tally.admitted, tally.refused, tally.degraded) == (1, 2, 0)


async def test_a_script_that_the_server_forgot_is_no_outage(setup: Setup) -> None:
    """NOSCRIPT is answered with the script's text."""
    who = tenant(day=50)
    gate = await setup.gate()
    await calls(gate, who, 2)
    setup.server.command("SCRIPT", "FLUSH")
    tally = await calls(gate, who, 2)
    assert (tally.admitted, tally.degraded) == (2, 0)


async def test_a_broken_connection_to_a_good_store_is_no_outage(setup: Setup) -> None:
    """What was on the connection is asked again on a new one, by the same id: one charge, and no degraded answer."""
    who = tenant(day=500)
    gate = await setup.gate()
    tally = Tally()
    running = asyncio.gather(*(search_repeatedly(gate, who, tally, 10) for _ in range(8)))
    for number in range(5):
        await eventually(lambda: tally.admitted > 10 * number, "calls go through")  # noqa: B023 - awaited here
        setup.proxy.reset()
    await running
    assert (tally.admitted, tally.degraded) == (80, 0)
    await eventually_used(setup, who, 80)


async def test_however_much_was_spent_is_written_back(setup: Setup) -> None:
    """In parts, each of which has its time: a long outage under load is over for the gateway as well."""
    gate = await setup.gate("allow")
    who = tenant(day=10_000)
    with always_resumed(setup):
        await calls(gate, who, 1)
        setup.proxy.refuse = True
        setup.proxy.reset()
        await calls(gate, who, 3000)
        assert gate.degraded
        heal(setup)
        setup.proxy.delay_seconds = 0.02
        await eventually(lambda: not gate.degraded, "the store is back")
        await eventually_used(setup, who, 3001)


async def test_a_store_far_away_comes_back(setup: Setup) -> None:
    """To connect takes several round trips, in all more than one call may wait; a call's single one fits."""
    gate = await setup.gate(budget_seconds=STORE_BUDGET_SECONDS, database=1)
    who = await setup.with_history(gate, tenant(day=10), 1)
    with always_resumed(setup):
        setup.proxy.delay_seconds = 0.04
        setup.proxy.refuse = True
        setup.proxy.reset()
        await calls(gate, who, 1)
        assert gate.degraded
        setup.proxy.refuse = False
        await eventually(lambda: not gate.degraded, "the store is back")


@pytest.mark.timed
async def test_a_gateway_starts_while_its_store_is_down(setup: Setup) -> None:
    """It starts degraded, at once, and is whole within 2 s of the store's coming up."""
    setup.server.kill()
    who = tenant(day=30)
    began = time.monotonic()
    gate = await setup.gate("share", replicas=3)
    assert time.monotonic() - began < 1.0
    assert gate.degraded
    tally = await calls(gate, who, 20)
    assert (tally.admitted, tally.degraded) == (10, 10)
    setup.server.start()
    await eventually(lambda: not gate.degraded, "the store is back")
    await eventually_used(setup, who, 10)


async def test_a_cancelled_call_leaves_no_slot_and_no_charge(setup: Setup) -> None:
    """A caller that gives up while the store is being asked takes nothing with it, wherever it was."""
    who = tenant(concurrency=1, day=50)
    gate = await setup.gate(past_proxy=True)
    await calls(gate, who, 1)
    for turns in range(60):
        task = asyncio.create_task(reserve_and_hold(gate, who))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await admitted_within(gate, who, 30.0), f"cancelled after {turns} turns of the loop"
    await eventually_used(setup, who, 1)


async def reserve_and_hold(gate: QuotaGate, who: Tenant) -> None:
    with await gate.admit(who) as admission:
        reservation = await admission.reserve()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            reservation.refund()
            raise


async def admitted_within(gate: QuotaGate, who: Tenant, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            (await gate.admit(who)).release()
        except GatewayError:
            await asyncio.sleep(0.005)
        else:
            return True
    return False
