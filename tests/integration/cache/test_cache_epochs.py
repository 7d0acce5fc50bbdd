"""Epochs that nobody could count on from, and a store whose clock is set: the cache starts again, and purges work."""

from __future__ import annotations

import time
from functools import partial

import pytest
import structlog

from gateway.cache.client import connect
from gateway.cache.epochs import Scope
from gateway.cache.memory import Records
from gateway.cache.results import Absent, CachedAnswer
from gateway.cache.shared import ValkeyCacheStore
from gateway.cache.store_clock import StoreClock
from gateway.clock import SystemClock
from tests.support.cache import asked, found, keep, looked_up, result_cache
from tests.support.cache_replica import IMAGE, Replica, StartReplica, warm
from tests.support.conditions import eventually
from tests.support.valkey import StoreServer

EPOCHS = "facegate:cache:1:epochs"
LAST = str(2**53 - 1).encode()
SPOILED = {
    "everything at the end": {"all": LAST},
    "everything beyond the end": {"all": str(2**53).encode()},
    "far beyond": {"all": b"99999999999999999999999"},
    "a tenant at the end": {"tenant": LAST},
    "a foreign scope at the end": {"x": LAST},
    "negative": {"all": b"-5"},
    "zero": {"all": b"0"},
    "garbage": {"tenant": b"garbage"},
    "a number of another kind": {"all": b"0x10"},
    "a foreign scope without a value": {"x": b""},
    "two years ahead": {"all": str(int((time.time() + 2 * 365 * 86400) * 1000)).encode()},
}


async def held(replica: Replica) -> None:
    assert await keep(replica.cache, replica.cache.key("kyc", "employees", IMAGE), asked(), found(0.9))


def renewed(replica: Replica, old: bytes) -> bool:
    """Whether the replica uses the store again, under other names."""
    return replica.store.available and replica.address() != old


@pytest.mark.parametrize("scope", [Scope(), Scope("kyc"), Scope("kyc", "employees")], ids=["all", "tenant", "face set"])
@pytest.mark.parametrize("spoiled", SPOILED)
@pytest.mark.timed
async def test_a_purge_works_whatever_the_epochs_are(
    server: StoreServer, start_replica: StartReplica, spoiled: str, scope: Scope
) -> None:
    """On every replica within 2 s: the old answer is gone, new ones are kept, and the next purge works too."""
    replicas = [await start_replica() for _ in range(2)]
    await held(replicas[0])
    old = replicas[0].address()
    assert isinstance(await replicas[1].look(), CachedAnswer)
    fields = {Scope("kyc").address if name == "tenant" else name: value for name, value in SPOILED[spoiled].items()}
    with server.client() as store:
        store.hset(EPOCHS, mapping=fields)
    began = time.monotonic()
    for _ in range(2):
        assert abs(await replicas[0].cache.purge(scope) / 1000 - time.time()) < 60
    for replica in replicas:
        await eventually(partial(renewed, replica, old), "the epochs are known")
        assert await replica.look() is Absent.MISS
    assert time.monotonic() - began < 2.0
    await warm(replicas[0])
    assert isinstance(await replicas[1].look(), CachedAnswer)


async def test_a_purge_works_where_the_epochs_are_no_hash(server: StoreServer, start_replica: StartReplica) -> None:
    """Somebody put a text there: an outage, until the next purge."""
    replica = await start_replica()
    await held(replica)
    server.command("SET", EPOCHS, "text")
    await eventually(lambda: not replica.store.available, "nothing is believed")
    await replica.cache.purge(Scope("kyc"))
    await eventually(lambda: replica.store.available, "the cache is used again")
    assert await replica.look() is Absent.MISS


@pytest.mark.parametrize("spoiled", ["everything at the end", "two years ahead"])
async def test_epochs_far_ahead_are_replaced_without_a_purge(
    server: StoreServer, start_replica: StartReplica, spoiled: str
) -> None:
    """As after a store's clock that was wrong for a while: the replicas empty the cache and go on."""
    replicas = [await start_replica() for _ in range(2)]
    await held(replicas[0])
    old = replicas[0].address()
    with server.client() as store:
        store.hset(EPOCHS, mapping=SPOILED[spoiled])
    await eventually(lambda: all(renewed(replica, old) for replica in replicas), "new epochs")
    assert replicas[0].address() == replicas[1].address()
    assert await replicas[0].cache.purge(Scope()) < (time.time() + 3600) * 1000


class Shifted(StoreClock):
    """The clock of a store that is ahead of the real one by what the test says."""

    ahead = 0.0

    def note(self, store_time: float, sent_at: float, received_at: float) -> bool:
        return super().note(store_time + Shifted.ahead, sent_at, received_at)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 0.8, -0.8])
async def test_a_store_whose_clock_is_set_empties_the_cache(server: StoreServer, step: float) -> None:
    """What was dated by the former time is gone on every replica; what is dated by the new one is served."""
    clock = SystemClock()
    clients = [connect(server.url) for _ in range(2)]
    stores = [
        ValkeyCacheStore(c, clock, Records(clock, 1 << 20), budget_seconds=1.0, store_clock=Shifted(clock))
        for c in clients
    ]
    caches = [result_cache(store, clock) for store in stores]
    Shifted.ahead = 0.0
    for store in stores:
        assert await store.refresh()

    async def look(cache: int) -> object:
        return await looked_up(caches[cache], caches[cache].key("kyc", "employees", IMAGE), asked(), None)

    in_flight = caches[0].key("kyc", "employees", IMAGE)
    assert await keep(caches[0], in_flight, asked(), found(0.9))
    assert isinstance(await look(1), CachedAnswer)
    Shifted.ahead = step
    with structlog.testing.capture_logs() as logs:
        for store in (*stores, *stores):
            assert await store.refresh()
    assert [line["event"] for line in logs] == ["cache.store_clock_set"] * 2
    assert await keep(caches[0], in_flight, asked(), found(0.9)) is None
    assert [await look(0), await look(1)] == [Absent.MISS, Absent.MISS]
    assert await keep(caches[0], caches[0].key("kyc", "employees", IMAGE), asked(), found(0.9))
    for cache in (0, 1):
        answer = await look(cache)
        assert isinstance(answer, CachedAnswer)
        assert answer.age_seconds < 1.0
    for client in clients:
        await client.aclose()


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_a_replica_whose_wall_clock_is_set_changes_nothing_for_anybody(
    start_replica: StartReplica, jump: float
) -> None:
    """Ages, lifetimes and the order of answers go on; only the expiry that callers see is by that clock."""

    class Set(SystemClock):
        ahead = 0.0

        def now(self) -> float:
            return time.time() + self.ahead

    clock = Set()
    odd, even = await start_replica(clock=clock), await start_replica()
    await held(even)
    clock.ahead = jump
    answer = await odd.look()
    assert isinstance(answer, CachedAnswer)
    assert 0 <= answer.age_seconds < 5
    assert abs(answer.expire_time - clock.now() - 300) < 5
    key = odd.cache.key("kyc", "employees", IMAGE)
    for newer, score in ((even, 0.95), (odd, 0.97), (even, 0.99)):
        assert await keep(newer.cache, key, asked(), found(score))
        assert await keep(odd.cache, key, asked(), found(0.5), asked_ago=1.0) is None
        for replica in (odd, even):
            replica.forget_front()
            answer = await replica.look()
            assert isinstance(answer, CachedAnswer)
            assert [match.score for match in answer.answer.matches] == [score]
