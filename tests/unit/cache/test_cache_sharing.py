"""Identical searches in flight make one upstream call, whatever becomes of the caller that started it."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from gateway.cache.control import CachePlan, plan
from gateway.cache.epochs import Scope
from gateway.cache.flights import Flights, wait
from gateway.errors import GatewayOverloaded
from gateway.model import CacheControl, CacheMode, SearchParameters, UpstreamAnswer
from tests.support.cache import START, asked
from tests.support.cache_searcher import Searcher


async def many(
    searcher: Searcher, count: int, *, across_a_second: bool = False
) -> list[asyncio.Task[tuple[str, UpstreamAnswer]]]:
    tasks = []
    for number in range(count):
        later = 1 if across_a_second and number >= count // 2 else 0
        tasks.append(asyncio.create_task(searcher.search(asked(0.8, 1, START + later))))
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("across_a_second", [False, True])
async def test_a_thousand_identical_searches_make_one_upstream_call(across_a_second: bool) -> None:
    """999 share it; also when an absent start time moves on by a second between them."""
    searcher = Searcher()
    tasks = await many(searcher, 1000, across_a_second=across_a_second)
    searcher.answers.set()
    done = await asyncio.gather(*tasks)
    assert searcher.upstream_calls == 1
    assert Counter(how for how, _ in done) == {"miss": 1, "coalesced": 999}
    assert {answer for _, answer in done} == {searcher.answer}
    how, _ = await searcher.search(asked(0.8, 1, START + 2))
    assert how == "hit"


@pytest.mark.parametrize("end", ["cancelled", "timed out", "crashed"])
async def test_the_end_of_the_leader_fails_no_follower(end: str) -> None:
    """One upstream call and 999 good answers; the cache is filled."""
    searcher = Searcher()

    async def lead() -> None:
        async with asyncio.timeout(0.01 if end == "timed out" else None):
            call = asyncio.create_task(searcher.search(asked()))
            if end == "crashed":
                await asyncio.sleep(0)
                call.cancel()
                raise RuntimeError
            await call

    leader = asyncio.create_task(lead())
    await asyncio.sleep(0.001)
    followers = await many(searcher, 999)
    if end == "cancelled":
        leader.cancel()
    await asyncio.wait([leader])
    assert leader.cancelled() or leader.exception() is not None
    searcher.answers.set()
    assert [how for how, _ in await asyncio.gather(*followers)] == ["coalesced"] * 999
    assert searcher.upstream_calls == 1
    assert (await searcher.search(asked()))[0] == "hit"


async def test_every_caller_gone_the_answer_still_fills_the_cache() -> None:
    """What was sent is billed, so it is kept."""
    searcher = Searcher()
    tasks = await many(searcher, 10)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    searcher.answers.set()
    await searcher.flights.drain(1.0)
    assert (await searcher.search(asked()))[0] == "hit"
    assert searcher.upstream_calls == 1


@pytest.mark.parametrize(
    "other",
    [asked(0.81), asked(0.8, 2), asked(0.8, 1, START - 1), asked(0.8, 1, START + 61)],
)
async def test_another_question_makes_its_own_call(other: SearchParameters) -> None:
    """A flight asked with a later start time would miss faces; one much earlier might be full of older ones."""
    searcher = Searcher()
    tasks = [asyncio.create_task(searcher.search(parameters)) for parameters in (asked(), other)]
    await asyncio.sleep(0)
    searcher.answers.set()
    await asyncio.gather(*tasks)
    assert searcher.upstream_calls == 2


async def test_tenants_never_share_a_flight() -> None:
    """The same image and face set of two tenants are two upstream calls."""
    searcher = Searcher()
    tasks = [asyncio.create_task(searcher.search(asked(), tenant=tenant)) for tenant in ("kyc", "hr")]
    await asyncio.sleep(0)
    searcher.answers.set()
    assert [how for how, _ in await asyncio.gather(*tasks)] == ["miss", "miss"]


async def test_a_refresh_joins_nothing_older_and_is_joined_by_what_comes_later() -> None:
    """It gets an answer that was asked for after it; so does whoever follows."""
    searcher = Searcher()
    refresh = CacheControl(CacheMode.REFRESH)
    tasks = [asyncio.create_task(searcher.search(asked(), control)) for control in (None, refresh, None)]
    await asyncio.sleep(0)
    searcher.answers.set()
    assert [how for how, _ in await asyncio.gather(*tasks)] == ["miss", "miss", "coalesced"]
    assert searcher.upstream_calls == 2
    assert not searcher.shared._searches


async def test_a_bypass_shares_nothing() -> None:
    """Neither its own call nor another's, and it leaves nothing in the cache."""
    searcher = Searcher()
    bypass = CacheControl(CacheMode.BYPASS)
    tasks = [asyncio.create_task(searcher.search(asked(), control)) for control in (bypass, bypass, None)]
    await asyncio.sleep(0)
    searcher.answers.set()
    assert [how for how, _ in await asyncio.gather(*tasks)] == ["miss"] * 3
    fresh = Searcher()
    fresh.answers.set()
    await fresh.search(asked(), bypass)
    assert (await fresh.search(asked()))[0] == "miss"


async def test_a_purge_parts_later_searches_from_those_in_flight() -> None:
    """Whoever asks after a purge does not get an answer that was asked for before it."""
    searcher = Searcher()
    before = asyncio.create_task(searcher.search(asked()))
    await asyncio.sleep(0)
    await searcher.cache.purge(Scope("kyc"))
    after = asyncio.create_task(searcher.search(asked()))
    await asyncio.sleep(0)
    searcher.answers.set()
    await asyncio.gather(before, after)
    assert searcher.upstream_calls == 2


async def test_a_flight_cut_off_by_the_drain_is_an_error_not_a_cancellation() -> None:
    """Its followers get a reason to try elsewhere; nobody sees a CancelledError that nobody sent."""
    flights: Flights[int] = Flights()
    task, _ = flights.join_or_start("key", lambda: asyncio.sleep(60, 1))
    waiting = asyncio.create_task(wait(task, 30))
    await asyncio.sleep(0)
    await flights.drain(0.0)
    with pytest.raises(GatewayOverloaded):
        await waiting


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        (CacheControl(), (True, True, True, True)),
        (CacheControl(max_age_seconds=5), (True, True, True, True)),
        (CacheControl(max_age_seconds=0), (False, True, False, True)),
        (CacheControl(CacheMode.REFRESH), (False, True, False, True)),
        (CacheControl(CacheMode.REFRESH, 5), (False, True, False, True)),
        (CacheControl(CacheMode.BYPASS), (False, True, False, False)),
        (CacheControl(CacheMode.BYPASS, 0), (False, True, False, False)),
        (CacheControl(CacheMode.ONLY_IF_CACHED), (True, False, False, False)),
        (CacheControl(CacheMode.ONLY_IF_CACHED, 0), (False, False, False, False)),
    ],
)
def test_every_mode_and_max_age_has_its_plan(control: CacheControl, expected: tuple[bool, ...]) -> None:
    """Reads, searches, joins, writes."""
    steps: CachePlan = plan(control)
    assert (steps.reads, steps.searches, steps.joins, steps.writes) == expected
