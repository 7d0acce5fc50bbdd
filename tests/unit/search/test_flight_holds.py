"""What runs at the vendor counts until it lands, whoever still waits for it; what nobody waits for is not sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest

from gateway.errors import DeadlineExceeded, GatewayError, GatewayOverloaded, TenantConcurrencyExceeded
from gateway.model import CacheControl, CacheMode, CacheStatus, Tenant, Window
from gateway.telemetry.record import CallRecord
from tests.support.searching import Desk, SlowVendor, places_before, tenant_of
from tests.support.upstream import FakeUpstream
from tests.support.virtual_time import VirtualClock, run_in_virtual_time

BYPASS = CacheControl(CacheMode.BYPASS)


@dataclass
class CountedPlace:
    """A place that counts its holders. The call is the first."""

    holders: int = 1
    waits: int = 0
    full: bool = False

    def wait_for_vendor(self) -> None:
        self.waits += 1
        if self.full:
            raise GatewayOverloaded

    def keep(self) -> None:
        self.holders += 1

    def give_back(self) -> None:
        self.holders -= 1


async def used(desk: Desk, who: Tenant) -> dict[str, int]:
    """What the tenant has used of each limit."""
    return {limit.id: limit.used for limit in (await desk.quota.gate.limits(who)).limits}


@pytest.mark.parametrize(("concurrency", "deadline", "vendor_seconds"), [(7, 0.25, 3.0), (2, 0.15, 8.0)])
def test_callers_that_give_up_take_no_more_than_their_tenants_slots(
    concurrency: int, deadline: float, vendor_seconds: float
) -> None:
    """They come back as soon as they gave up; another tenant's searches are all answered meanwhile."""

    async def scenario() -> None:
        clock = VirtualClock()
        vendor = SlowVendor(vendor_seconds)
        desk = Desk(places_before(vendor, 64, clock), clock)
        hasty, ends = tenant_of("hasty", concurrency=concurrency), Counter[str]()

        async def keep_calling() -> None:
            for _ in range(50):
                try:
                    await desk(who=hasty, deadline_seconds=deadline)
                except GatewayError as error:
                    ends[error.reason.value] += 1
                await asyncio.sleep(0.01)

        callers = [asyncio.create_task(keep_calling()) for _ in range(64)]
        answers = [await desk(who="patient") for _ in range(3)]
        assert [answer.cache_status for answer in answers] == [CacheStatus.MISS] * 3
        assert vendor.most <= concurrency + 1
        await asyncio.gather(*callers)
        assert ends.keys() == {DeadlineExceeded.reason, TenantConcurrencyExceeded.reason}
        await desk.flights.drain(10.0)
        assert (await used(desk, hasty))["concurrency"] == 0

    run_in_virtual_time(scenario())


async def test_a_flight_holds_slot_and_place_until_it_lands() -> None:
    """Its caller's end frees neither; its own end frees both."""
    upstream, place, who = FakeUpstream(), CountedPlace(), tenant_of("kyc", concurrency=5)
    desk = Desk(upstream)
    upstream.hold.clear()
    call = asyncio.create_task(desk(who=who, place=place))
    await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.wait([call])
    place.give_back()  # as `rpc` does when the call ends
    assert (place.holders, (await used(desk, who))["concurrency"]) == (1, 1)
    upstream.hold.set()
    await desk.flights.drain(5.0)
    assert (place.holders, (await used(desk, who))["concurrency"]) == (0, 0)


async def test_a_flight_that_is_cut_off_before_it_begins_frees_what_it_holds() -> None:
    """As the end of a drain may do to it."""
    upstream, place, who = FakeUpstream(), CountedPlace(), tenant_of("kyc", concurrency=5)
    desk = Desk(upstream)
    call = asyncio.create_task(desk(who=who, place=place))
    while not len(desk.flights):
        await asyncio.sleep(0)
    (flight,) = desk.flights._flights
    flight.task.cancel()
    with pytest.raises(GatewayOverloaded):
        await call
    assert not upstream.queries
    assert (place.holders, (await used(desk, who))["concurrency"]) == (1, 0)


async def test_who_only_joins_holds_no_more_than_the_call() -> None:
    """The image that is sent is the leader's."""
    upstream, places = FakeUpstream(), [CountedPlace(), CountedPlace()]
    desk = Desk(upstream)
    upstream.hold.clear()
    calls = [asyncio.create_task(desk(b"a photo", place=place)) for place in places]
    await asyncio.sleep(0.01)
    assert [place.holders for place in places] == [2, 1]
    assert [place.waits for place in places] == [1, 1]
    upstream.hold.set()
    assert [(await call).cache_status for call in calls] == [CacheStatus.MISS, CacheStatus.COALESCED]
    assert [place.holders for place in places] == [1, 1]


async def test_too_many_that_wait_for_the_vendor_refuse_misses_alone() -> None:
    """Before anything is charged; a hit does not wait for the vendor."""
    upstream, who = FakeUpstream(), tenant_of("kyc", upstream_calls={Window.DAY: 5})
    desk, full = Desk(upstream), CountedPlace(full=True)
    await desk(b"known", who=who)
    assert (await desk(b"known", who=who, place=full)).cache_status is CacheStatus.HIT
    assert full.waits == 0
    with pytest.raises(GatewayOverloaded):
        await desk(b"new", who=who, place=full)
    assert (await used(desk, who))["upstream_calls_per_day"] == len(upstream.queries) == 1


def test_a_search_whose_callers_are_gone_is_never_sent() -> None:
    """Nor charged, wherever on its way they left it: before it began, or while it waited for a place."""

    async def scenario() -> None:
        clock = VirtualClock()
        vendor = SlowVendor(0.1)
        desk = Desk(places_before(vendor, 1, clock), clock)
        who = tenant_of("kyc", concurrency=10, upstream_calls={Window.DAY: 100})
        first = asyncio.create_task(desk(who=who))
        await asyncio.sleep(0.01)
        for turns in range(12):
            callers = [asyncio.create_task(desk(b"a photo", who=who)) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)
        await asyncio.sleep(0.005)
        assert len(desk.flights) == 1, "those that nobody waits for have left at once"
        await first
        await desk.flights.drain(1.0)
        assert vendor.requests == 1
        assert await used(desk, who) == {"concurrency": 0, "upstream_calls_per_day": 1}
        assert (desk.usage().upstream_calls, desk.usage().charged_units) == (1, 1)

    run_in_virtual_time(scenario())


def test_a_call_does_not_join_a_search_that_nobody_waited_for() -> None:
    """A search that lost its callers before it was sent will not be sent; the next identical one goes itself."""

    async def scenario() -> None:
        clock = VirtualClock()
        vendor = SlowVendor(0.1)
        desk = Desk(places_before(vendor, 1, clock), clock)
        first = asyncio.create_task(desk())
        await asyncio.sleep(0.01)
        left = asyncio.create_task(desk(b"a photo"))
        await asyncio.sleep(0.01)
        left.cancel()
        # In the same turn of the loop in which the caller leaves, and later.
        calls = [asyncio.create_task(desk(b"a photo")) for _ in range(3)]
        answers = await asyncio.gather(first, *calls)
        assert [answer.cache_status for answer in answers[1:]] == [CacheStatus.MISS, *[CacheStatus.COALESCED] * 2]

    run_in_virtual_time(scenario())


async def test_a_callers_deadline_is_charged_once_the_search_was_sent() -> None:
    """It learns so as DEADLINE_EXCEEDED; the answer is kept for its next try."""
    upstream, who = FakeUpstream(), tenant_of("kyc", upstream_calls={Window.DAY: 5})
    desk, record = Desk(upstream), CallRecord("/Search", "id", 0.0)
    upstream.hold.clear()
    with pytest.raises(DeadlineExceeded):
        await desk(b"a photo", who=who, deadline_seconds=0.15, record=record)
    assert (record.upstream_attempts, record.upstream_status) == (1, "")
    upstream.hold.set()
    await desk.flights.drain(5.0)
    assert (await used(desk, who))["upstream_calls_per_day"] == 1
    assert (await desk(b"a photo", who=who)).cache_status is CacheStatus.HIT
