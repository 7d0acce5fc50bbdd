"""Two replicas on one store, old answers landing late on either: held against a model that remembers every answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from gateway.cache.client import connect
from gateway.cache.epochs import Scope
from gateway.cache.memory import Records
from gateway.cache.policy import CachePolicy
from gateway.cache.results import CachedAnswer
from gateway.cache.shared import FRONT_SECONDS, ValkeyCacheStore
from tests.support.cache import asked, found, keep, looked_up, result_cache
from tests.support.cache_order import FLIGHT_SECONDS, QUESTIONS, OrderModel
from tests.support.cache_replica import IMAGE, StartReplica
from tests.support.clock import ManualClock
from tests.support.store_clock import ManualStoreClock
from tests.support.valkey import StoreServer

POLICY = CachePolicy(ttl_seconds=60, no_match_ttl_seconds=5, flight_seconds=FLIGHT_SECONDS)


class Story:
    """A random sequence of questions, landings, changes and purges on two replicas."""

    def __init__(self, seed: int, stores: list[ValkeyCacheStore], clock: ManualClock) -> None:
        self.shuffle = random.Random(seed)
        self.clock = clock
        self.stores = stores
        caches = [result_cache(store, clock, policy=POLICY) for store in stores]
        self.model = OrderModel(clock, caches, behind_seconds=FRONT_SECONDS)

    async def play(self, steps: int) -> int:
        for _ in range(steps):
            self.clock.advance(self.shuffle.choice([0.01, 0.1, 0.5, 1.0, 3.0]))
            await asyncio.gather(*(store.refresh() for store in self.stores))
            await self.step()
            for request in self.shuffle.sample(QUESTIONS, 4):
                await self.model.look(self.shuffle.randrange(2), request)
        return self.model.hits

    async def step(self) -> None:
        replica = self.shuffle.randrange(2)
        match self.shuffle.choices(["ask", "land", "crowd", "change", "purge"], [9, 5, 2, 2, 0.3])[0]:
            case "ask":
                self.model.ask(replica, self.shuffle.choice(QUESTIONS))
            case "land":
                await self.model.land(replica, self.shuffle.randrange(10))
            case "crowd":
                # Concurrent updates of one key, and lookups that began before they ended.
                places = [(self.shuffle.randrange(2), self.shuffle.randrange(10)) for _ in range(3)]
                await asyncio.gather(*(self.model.land(*place) for place in places), self.concurrent_lookup(replica))
            case "change":
                self.model.change(self.shuffle)
            case _:
                await self.model.replicas[replica].purge(Scope("kyc"))
                self.model.purged()
                await asyncio.gather(*(store.refresh() for store in self.stores))

    async def concurrent_lookup(self, replica: int) -> None:
        cache = self.model.replicas[replica]
        await looked_up(cache, cache.key("kyc", "employees", b"a photo"), self.shuffle.choice(QUESTIONS))


@pytest.fixture
async def clients(server: StoreServer) -> AsyncIterator[list[object]]:
    made = [connect(server.url) for _ in range(2)]
    yield list(made)
    for client in made:
        await client.aclose()


@pytest.mark.parametrize("front_bytes", [1 << 20, 0], ids=["with a front", "without a front"])
async def test_no_replica_serves_an_answer_that_a_newer_one_covers_or_contradicts(
    clients: list[object], front_bytes: int
) -> None:
    """But for the two seconds for which a replica believes the tier in front, on the other replica."""
    hits = 0
    for seed in range(12):
        clock = ManualClock()
        stores = [
            ValkeyCacheStore(
                client,  # type: ignore[arg-type]
                clock,
                Records(clock, front_bytes),
                prefix=f"test:{front_bytes}:{seed}:",
                budget_seconds=5.0,
                store_clock=ManualStoreClock(clock),
            )
            for client in clients
        ]
        try:
            hits += await Story(seed, stores, clock).play(40)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert hits > 300


async def test_a_late_answer_of_another_replica_does_not_undo_a_refresh(start_replica: StartReplica) -> None:
    """A is asked, the set changes, a refresh is answered on the other replica, then A lands: the refresh is served."""
    first, second = await start_replica(), await start_replica()
    key = first.cache.key("kyc", "employees", IMAGE)
    asked_at = first.cache._monotonic() - 0.5
    await keep(second.cache, key, asked(), found(0.99))
    assert await first.cache.store(key, asked(), found(0.9), asked_at=asked_at) is None
    for replica in (first, second):
        held = await replica.look()
        assert isinstance(held, CachedAnswer)
        assert [match.score for match in held.answer.matches] == [0.99]


async def test_a_late_answer_waits_for_the_store_before_it_is_served(
    server: StoreServer, start_replica: StartReplica
) -> None:
    """Another replica may have kept a newer answer since the question. An answer asked for just now is served at once."""
    replica = await start_replica()
    key = replica.cache.key("kyc", "employees", IMAGE)
    server.pause()
    try:
        for asked_ago, served in ((FRONT_SECONDS + 0.1, False), (0.0, True)):
            keeping = asyncio.create_task(keep(replica.cache, key, asked(), found(0.9), asked_ago=asked_ago))
            await asyncio.sleep(0)
            assert isinstance(replica.cache.peek(key, asked(), None), CachedAnswer) == served
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
    finally:
        server.resume()


async def test_replies_that_overtake_each_other_leave_the_newer_answer_in_front(start_replica: StartReplica) -> None:
    """A lookup that began before a refresh and ends after it does not bring back what the refresh replaced."""
    replica, other = await start_replica(), await start_replica()
    key = replica.cache.key("kyc", "employees", IMAGE)
    await keep(other.cache, key, asked(), found(0.9), asked_ago=1.0)
    before = await replica.store._opened(key, await replica.store._sealed(key))
    assert before is not None
    sent_at = replica.cache._monotonic()
    await keep(replica.cache, key, asked(), found(0.99))
    replica.store._hold(key, *before, sent_at)
    held = replica.cache.peek(key, asked(), None)
    assert isinstance(held, CachedAnswer)
    assert [match.score for match in held.answer.matches] == [0.99]
