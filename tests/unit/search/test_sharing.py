"""Identical searches that share a flight: failures, joiners by the thousand, and leaders that leave at any moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from gateway.cache.flights import Flights, wait
from gateway.errors import UpstreamTimeout
from gateway.model import CacheControl, CacheStatus, Match, Outcome, UpstreamAnswer, UpstreamQuery
from gateway.trip import Trip
from tests.support.clock import ManualClock
from tests.support.searching import PARAMETERS, Desk, tenant_of
from tests.support.upstream import ANSWER, FakeUpstream

JOINERS = 10_000


async def test_an_ended_failure_is_not_handed_to_a_call_that_never_tried() -> None:
    """Not even in the turn of the event loop in which it ended."""
    flights: Flights[int] = Flights()

    async def fail() -> int:
        raise UpstreamTimeout("timeout")

    failed, _ = flights.join_or_start("key", fail)
    while not failed.task.done():
        await asyncio.sleep(0)
    # The same again, in the very step in which the task ends: a task of the loop runs before its callbacks do.
    found: list[bool] = []

    async def fail_and_look() -> int:
        asyncio.get_running_loop().call_soon(lambda: found.append(flights.find("other") is not None))
        raise UpstreamTimeout("timeout")

    flights.join_or_start("other", fail_and_look)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert found == [False]


async def test_a_waiter_at_the_very_end_gets_the_answer() -> None:
    """Between the end of a flight and the turn in which it is forgotten."""
    flights: Flights[int] = Flights()
    joined: list[asyncio.Task[int]] = []

    async def fly() -> int:
        def join() -> None:
            flight = flights.find("key")
            assert flight is not None
            assert flight.task.done()
            joined.append(asyncio.create_task(wait(flight, 5.0)))

        asyncio.get_running_loop().call_soon(join)
        return 7

    flight = flights.start("key", fly)
    assert await wait(flight, 5.0) == 7
    assert await joined[0] == 7


@pytest.mark.parametrize("end", ["time out", "land"])
async def test_ten_thousand_joiners_end_together(end: str) -> None:
    """The work grows with their number, not with its square: with 10,000 that would be seconds."""
    flights: Flights[int] = Flights()
    landing = asyncio.Event()

    async def fly() -> int:
        await landing.wait()
        return 7

    flight = flights.start("key", fly)
    due = asyncio.get_running_loop().time() + 0.5
    waiting = [
        asyncio.create_task(
            wait(flight, max(0.0, due - asyncio.get_running_loop().time()) if end == "time out" else 60)
        )
        for _ in range(JOINERS)
    ]
    while len(flight.waiters) < JOINERS:
        await asyncio.sleep(0)
    if end == "land":
        landing.set()
    # Of this process alone, so that a busy machine does not count.
    started = time.process_time()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    used = time.process_time() - started
    print(f"{end}: {used * 1e6 / JOINERS:.1f} µs a joiner")  # noqa: T201 - shown if it fails
    assert {type(one) for one in ended} == {int if end == "land" else TimeoutError}
    assert used < 1.0
    assert not flight.waiters
    landing.set()
    await flights.drain(1.0)


@pytest.mark.parametrize("turns", range(12))
async def test_a_leader_that_leaves_at_any_moment_fails_no_follower(turns: int) -> None:
    """Cancelled after so many turns of the event loop; nothing of it is left behind."""
    upstream, who = FakeUpstream(), tenant_of("kyc", concurrency=10)
    desk = Desk(upstream)
    upstream.hold.clear()
    leader = asyncio.create_task(desk(b"a photo", who=who))
    follower = asyncio.create_task(desk(b"a photo", who=who))
    for _ in range(turns):
        await asyncio.sleep(0)
    leader.cancel()
    await asyncio.wait([leader])
    upstream.hold.set()
    assert (await follower).answer == ANSWER
    await desk.flights.drain(5.0)
    assert len(upstream.queries) == 1
    assert [limit.used for limit in (await desk.quota.gate.limits(who)).limits] == [0]
    assert not desk.search._searches._searches


async def test_calls_that_a_shared_answer_did_not_serve_share_the_next_search() -> None:
    """A full answer that held a face from before their start time: a hundred of them make one more search."""

    class OldFace(FakeUpstream):
        async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
            await super().search(query, trip)
            face = Match(1, 2, 0.9, query.parameters.start_time + 2)
            return UpstreamAnswer((face,), Outcome.MATCHED, "TID")

    upstream = OldFace()
    desk = Desk(upstream)
    upstream.hold.clear()
    first = asyncio.create_task(desk(b"a photo"))
    await asyncio.sleep(0.01)
    later = PARAMETERS._replace(start_time=PARAMETERS.start_time + 5)
    others = [asyncio.create_task(desk(b"a photo", parameters=later)) for _ in range(100)]
    await asyncio.sleep(0.01)
    assert len(upstream.queries) == 1
    upstream.hold.set()
    answers = await asyncio.gather(first, *others)
    assert len(upstream.queries) == 2
    assert {answer.answer.matches[0].create_time for answer in answers[1:]} == {later.start_time + 2}


async def test_a_search_that_set_out_long_ago_is_too_old_for_a_call_that_wants_a_new_one() -> None:
    """`max_age` holds for what is in flight as for what is held."""
    upstream, clock = FakeUpstream(), ManualClock()
    desk = Desk(upstream, clock)
    upstream.hold.clear()
    first = asyncio.create_task(desk(b"a photo"))
    await asyncio.sleep(0.01)
    clock.advance(3.0)
    control = CacheControl(max_age_seconds=1.0)
    new = asyncio.create_task(desk(b"a photo", control=control))
    any_age = asyncio.create_task(desk(b"a photo", control=replace(control, max_age_seconds=10.0)))
    await asyncio.sleep(0.01)
    assert len(upstream.queries) == 2
    upstream.hold.set()
    statuses = [answer.cache_status for answer in await asyncio.gather(first, new, any_age)]
    assert statuses == [CacheStatus.MISS, CacheStatus.MISS, CacheStatus.COALESCED]
