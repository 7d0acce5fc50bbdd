"""Places toward the vendor: never more than there are, in turn between tenants, none for whom it is of no use."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from gateway.clock import SystemClock
from gateway.errors import Cancelled, DeadlineTooShort, GatewayOverloaded
from gateway.trip import Trip
from gateway.upstream.latency import ESTIMATE_EVERY, MIN_SAMPLES, RECENT_SECONDS
from gateway.upstream.slots import PROBE_EVERY, WAIT_SECONDS, Slots
from tests.support.clock import ManualClock
from tests.support.vendor_client import trip

PATIENCE = 10.0
"""Seconds after which a test fails that would hang."""


async def hold(slots: Slots, who: Trip, order: list[str] | None = None, *, sent: bool = True) -> None:
    """A search that ends as soon as it has its place."""
    since = await slots.take(who)
    if order is not None:
        order.append(who.tenant)
    if sent:
        who.sending()
    await asyncio.sleep(0)
    slots.give_back(who, since)


def slow(slots: Slots, clock: ManualClock, seconds: float, searches: int = 2 * MIN_SAMPLES) -> None:
    """So many searches took so long, and ended just now."""
    for _ in range(searches):
        one = trip()
        one.sending()
        slots.in_use += 1
        slots.give_back(one, clock.monotonic() - seconds)


async def test_who_waits_longest_is_next() -> None:
    """A place that is given back goes on without becoming free in between, so nobody overtakes."""
    slots, order = Slots(1, SystemClock()), list[int]()

    async def search(number: int) -> None:
        who = trip()
        since = await slots.take(who)
        order.append(number)
        await asyncio.sleep(0)
        slots.give_back(who, since)

    await asyncio.gather(*(search(number) for number in range(8)))
    assert order == list(range(8))
    assert (slots.in_use, slots.waiting) == (0, 0)


async def test_a_full_pool_refuses_in_bounded_time() -> None:
    """A search that gets no place within the time is refused and leaves the queue; its wait is reported."""
    waits: list[float] = []
    slots = Slots(1, SystemClock(), waits.append)
    await slots.take(trip())
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(GatewayOverloaded):
            await slots.take(trip())
    assert (slots.in_use, slots.waiting) == (1, 0)
    assert waits == [pytest.approx(WAIT_SECONDS, abs=PATIENCE)]
    assert waits[0] >= WAIT_SECONDS * 0.99


async def test_one_search_waits_for_one_turn_of_a_tenant_that_has_200() -> None:
    """Tenants are served in turn, whoever came first."""
    slots, order = Slots(1, SystemClock()), list[str]()
    first = trip("busy")
    since = await slots.take(first)
    searches = [asyncio.create_task(hold(slots, trip("busy"), order)) for _ in range(200)]
    await asyncio.sleep(0)
    searches += [asyncio.create_task(hold(slots, trip(tenant), order)) for tenant in ("one", "two", "one")]
    await asyncio.sleep(0)
    slots.give_back(first, since)
    await asyncio.gather(*searches)
    assert order[:6] == ["busy", "one", "two", "busy", "one", "busy"]
    assert order.count("busy") == 200
    assert (slots.in_use, slots.waiting) == (0, 0)


async def test_a_search_that_nobody_waits_for_leaves_the_queue_at_once() -> None:
    """It takes no turn, and is never sent."""
    slots = Slots(1, SystemClock())
    await slots.take(trip())
    left = trip()
    waiting = asyncio.create_task(slots.take(left))
    await asyncio.sleep(0)
    assert slots.waiting == 1
    left.leave()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(Cancelled):
            await waiting
    assert (slots.in_use, slots.waiting) == (1, 0)
    with pytest.raises(Cancelled):
        await slots.take(left)


async def test_a_place_goes_to_a_search_that_can_still_end_in_time() -> None:
    """Others are refused when their turn comes; a deadline that grew since then counts."""
    clock = ManualClock()
    slots = Slots(1, clock)
    slow(slots, clock, 0.3)
    now = clock.monotonic()
    held = trip()
    since = await slots.take(held)
    late, grown, able = trip(deadline=now + 0.2), trip(deadline=now + 0.2), trip(deadline=now + 0.5)
    waits = [asyncio.create_task(slots.take(one)) for one in (late, grown, able)]
    await asyncio.sleep(0)
    grown.join(now + 5.0)
    slots.give_back(held, since)
    await asyncio.wait(waits[:2])
    assert isinstance(waits[0].exception(), GatewayOverloaded)
    slots.give_back(grown, waits[1].result())
    slots.give_back(able, await waits[2])
    assert (slots.in_use, slots.waiting) == (0, 0)


async def test_an_estimate_refuses_no_more_than_four_of_five_while_a_place_is_free() -> None:
    """A vendor that became fast again is found out: what seems too late is tried all the same, now and then."""
    clock = ManualClock()
    slots = Slots(4, clock)
    slow(slots, clock, 2.0)
    refused = 0
    for _ in range(10 * PROBE_EVERY):
        who = trip(deadline=clock.monotonic() + 1.0)
        try:
            slots.give_back(who, await slots.take(who))
        except DeadlineTooShort:
            refused += 1
    assert refused == 10 * (PROBE_EVERY - 1)


@pytest.mark.parametrize(
    ("seconds", "searches", "later"),
    [(2.0, MIN_SAMPLES // 2, 0.0), (2.0, 2 * MIN_SAMPLES, RECENT_SECONDS + 1.0)],
    ids=["few", "old"],
)
async def test_nothing_is_refused_by_a_guess(seconds: float, searches: int, later: float) -> None:
    """Few samples, or old ones, say nothing about the vendor now."""
    clock = ManualClock()
    slots = Slots(4, clock)
    slow(slots, clock, seconds, searches)
    clock.advance(later)
    for _ in range(20):
        who = trip(deadline=clock.monotonic() + 1.0)
        slots.give_back(who, await slots.take(who))


async def test_a_vendor_that_is_slow_now_and_then_is_not_taken_for_slow() -> None:
    """One answer in ten takes 5 s; a search that can wait twice the usual 0.3 s is not passed over."""
    clock = ManualClock()
    slots = Slots(1, clock)
    for _ in range(8):
        slow(slots, clock, 5.0, 1)
        slow(slots, clock, 0.3, 9)
    held = trip()
    since = await slots.take(held)
    order: list[str] = []
    now = clock.monotonic()
    patient = [hold(slots, trip(name, now + seconds), order) for name, seconds in (("usual", 0.6), ("long", 60.0))]
    waiting = [asyncio.create_task(one) for one in patient]
    await asyncio.sleep(0)
    slots.give_back(held, since)
    await asyncio.gather(*waiting)
    assert order == ["usual", "long"]


async def test_an_estimate_that_one_new_search_brings_counts_for_nothing() -> None:
    """The others are too old: what one search took says little."""
    clock = ManualClock()
    slots = Slots(4, clock)
    slow(slots, clock, 2.0, 2 * ESTIMATE_EVERY - 1)
    clock.advance(RECENT_SECONDS + 1.0)
    slow(slots, clock, 2.0, 1)
    who = trip(deadline=clock.monotonic() + 1.0)
    for _ in range(2 * PROBE_EVERY):
        slots.give_back(who, await slots.take(who))


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_or_made_by_those_who_leave(seed: int) -> None:
    """Cancelled, or left by their callers, at any moment: all places are there again in the end."""
    dice, slots, highest = random.Random(seed), Slots(3, SystemClock()), 0

    async def search(who: Trip) -> None:
        nonlocal highest
        since = await slots.take(who)
        highest = max(highest, slots.in_use)
        try:
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)
        finally:
            slots.give_back(who, since)

    trips = [trip(dice.choice("abc")) for _ in range(60)]
    searches = [asyncio.create_task(search(one)) for one in trips]
    while any(not one.done() for one in searches):
        chosen = dice.randrange(60)
        if dice.random() < 0.5:
            searches[chosen].cancel()
        elif trips[chosen].wanted:
            trips[chosen].leave()
        await asyncio.sleep(0)
    for one in searches:
        with contextlib.suppress(asyncio.CancelledError, Cancelled):
            await one
    assert highest == 3
    assert (slots.in_use, slots.waiting) == (0, 0)
