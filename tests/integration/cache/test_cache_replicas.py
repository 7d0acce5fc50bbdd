"""Replicas on one store: what one keeps the others serve, what one purges none serves after 2 s."""

from __future__ import annotations

import asyncio
import time

import pytest
import structlog

from gateway.cache.client import connect
from gateway.cache.entries import Entry, pack
from gateway.cache.epochs import Scope
from gateway.cache.memory import Records
from gateway.cache.results import Absent, CachedAnswer
from gateway.cache.shared import FRONT_SECONDS, ValkeyCacheStore
from gateway.cache.shared_epochs import VIEW_SECONDS
from gateway.clock import SystemClock
from tests.support.cache import asked, found, keep, looked_up, result_cache
from tests.support.cache_replica import IMAGE, Replica, StartReplica, commands
from tests.support.cache_searcher import Searcher
from tests.support.clock import ManualClock
from tests.support.conditions import eventually
from tests.support.valkey import StoreServer, running_cluster


async def hold(replica: Replica, *scores: float) -> float | None:
    return await keep(replica.cache, replica.cache.key("kyc", "employees", IMAGE), asked(), found(*scores))


@pytest.mark.parametrize("scope", [Scope(), Scope("kyc"), Scope("kyc", "employees")])
@pytest.mark.timed
async def test_a_purge_holds_on_every_replica_within_two_seconds(start_replica: StartReplica, scope: Scope) -> None:
    """Three replicas with the answer in front, and one search in flight: then no old answer anywhere."""
    replicas = [await start_replica() for _ in range(3)]
    await hold(replicas[0], 0.9)
    for replica in replicas:
        assert isinstance(await replica.look(), CachedAnswer)
    in_flight = replicas[1].cache.key("kyc", "employees", IMAGE)
    began = time.monotonic()
    assert await replicas[0].cache.purge(scope) > 1
    assert await replicas[0].look() is Absent.MISS
    gone = set[int]()
    while len(gone) < 3:
        assert time.monotonic() - began < 2.0
        gone = {n for n, replica in enumerate(replicas) if not isinstance(await replica.look(), CachedAnswer)}
        await asyncio.sleep(0.01)
    await keep(replicas[1].cache, in_flight, asked(), found(0.9))
    for replica in replicas:
        assert await replica.look() is Absent.MISS


async def test_a_replica_that_cannot_see_the_epochs_serves_nothing_after_two_seconds(
    start_replica: StartReplica,
) -> None:
    """Neither from the store nor from the tier in front: a purge may have been missed."""
    clock = ManualClock()
    replica = await start_replica(clock=clock, reads_on=False)
    await hold(replica, 0.9)
    clock.advance(VIEW_SECONDS - 0.01)
    assert isinstance(await replica.look(), CachedAnswer)
    clock.advance(0.01)
    assert await replica.look() is Absent.OUT
    assert await hold(replica, 0.9) is None


async def test_a_hit_costs_one_round_trip_or_none(server: StoreServer, start_replica: StartReplica) -> None:
    """One command for what another replica stored; none while the tier in front holds it."""
    first, second = await start_replica(), await start_replica()
    await hold(first, 0.9)
    before = commands(server)
    assert isinstance(await second.look(), CachedAnswer)
    assert commands(server) == before + 1
    for _ in range(10):
        assert isinstance(await second.look(), CachedAnswer)
        assert isinstance(await first.look(), CachedAnswer)
    assert commands(server) == before + 1


async def test_many_lookups_of_one_image_share_a_round_trip(server: StoreServer, start_replica: StartReplica) -> None:
    """Also when they come before the first answer."""
    first, second = await start_replica(), await start_replica()
    await hold(first, 0.9)
    before = commands(server)
    held = await asyncio.gather(*(second.look() for _ in range(500)))
    assert all(isinstance(answer, CachedAnswer) for answer in held)
    assert commands(server) == before + 1


async def test_a_thousand_identical_searches_at_once_make_one_upstream_call(start_replica: StartReplica) -> None:
    """Also when the vendor's answer lands while most of them still wait for the store."""
    replica = await start_replica()
    searcher = Searcher(cache=replica.cache)
    searcher.answers.set()
    done = await asyncio.gather(*(searcher.search(asked(start_time=1_780_000_000 + n // 500)) for n in range(1000)))
    assert searcher.upstream_calls == 1
    assert {answer.matches for _, answer in done} == {searcher.answer.matches}


async def test_a_lookup_that_waited_sees_what_landed_meanwhile(start_replica: StartReplica) -> None:
    """The store's answer was on its way when an identical search ended; the lookup is a hit all the same."""
    replica = await start_replica()
    key = replica.cache.key("kyc", "employees", IMAGE)
    looking = asyncio.create_task(replica.look())
    await asyncio.sleep(0)
    now = replica.store.time()
    replica.store._hold(key, pack([Entry(now, asked(), found(0.9))]), now + 60, time.monotonic())
    assert isinstance(await looking, CachedAnswer)


async def test_a_burst_of_first_lookups_does_not_look_like_an_outage(
    server: StoreServer, start_replica: StartReplica
) -> None:
    """A hundred lookups on a fresh replica open few connections and leave the store in."""
    replica = await start_replica()
    with structlog.testing.capture_logs() as logs:
        await asyncio.gather(*(replica.look(image=b"photo %d" % n) for n in range(100)))
    assert replica.store.available
    assert not logs
    with server.client() as store:
        assert len(store.client_list()) <= 12


async def test_a_refresh_by_one_replica_is_seen_by_the_others_within_two_seconds(start_replica: StartReplica) -> None:
    """The tier in front is believed for so long, then the store is asked again."""
    clock = ManualClock()
    first, second = [await start_replica(clock=clock, reads_on=False) for _ in range(2)]
    await hold(first, 0.9)
    assert isinstance(await second.look(), CachedAnswer)
    await hold(first, 0.99)
    clock.advance(FRONT_SECONDS)
    await second.store.refresh()
    held = await second.look()
    assert isinstance(held, CachedAnswer)
    assert [match.score for match in held.answer.matches] == [0.99]


async def test_replicas_that_store_at_the_same_time_lose_nothing(start_replica: StartReplica) -> None:
    """Eight questions from four replicas to one key, at once: all answered afterwards."""
    replicas = [await start_replica() for _ in range(4)]
    questions = [asked(0.8, 1, 1_780_000_000 + n) for n in range(8)]
    for first in range(0, 8, 2):
        await asyncio.gather(
            *(
                keep(replica.cache, replica.cache.key("kyc", "employees", IMAGE), question, found(0.9))
                for replica, question in zip(replicas, questions[first : first + 2], strict=False)
            )
        )
    replicas[0].forget_front()
    key = replicas[0].cache.key("kyc", "employees", IMAGE)
    for question in questions:
        assert isinstance(await looked_up(replicas[0].cache, key, question, None), CachedAnswer)


async def test_a_store_that_lost_its_memory_brings_no_answer_back(
    server: StoreServer, start_replica: StartReplica
) -> None:
    """Flushed, the epochs would be low again: everything known is dead instead, on all replicas, in new agreement."""
    replicas = [await start_replica() for _ in range(2)]
    await hold(replicas[0], 0.9)
    assert isinstance(await replicas[1].look(), CachedAnswer)
    before = replicas[0].store.epochs.known(Scope())
    server.command("FLUSHALL")
    await eventually(lambda: all(r.store.epochs.known(Scope()) > before for r in replicas), "new epochs")
    assert [await replica.look() for replica in replicas] == [Absent.MISS, Absent.MISS]
    assert replicas[0].cache.key("kyc", "e", IMAGE) == replicas[1].cache.key("kyc", "e", IMAGE)
    await hold(replicas[0], 0.95)
    assert isinstance(await replicas[1].look(), CachedAnswer)


async def test_an_old_snapshot_does_not_undo_a_purge(server: StoreServer, start_replica: StartReplica) -> None:
    """Values and epochs from before a purge, put back together, are dead as soon as one replica sees them."""
    replica = await start_replica(reads_on=False)
    await hold(replica, 0.9)
    old = replica.address()
    with server.client() as store:
        sealed, epochs = store.get(old), store.hgetall("facegate:cache:1:epochs")
        await replica.cache.purge(Scope("kyc"))
        store.flushall()
        store.set(old, sealed)
        store.hset("facegate:cache:1:epochs", mapping=epochs)
    assert await replica.store.refresh()
    assert await replica.look() is Absent.MISS
    newcomer = await start_replica()
    assert await newcomer.look() is Absent.MISS


@pytest.mark.parametrize("rubbish", [b"-5", b"0", b"abc", b"99999999999999999999", b"1e3", b""])
async def test_epochs_that_no_replica_wrote_are_an_outage_not_a_hit(
    server: StoreServer, start_replica: StartReplica, rubbish: bytes
) -> None:
    """Nothing is believed; when the operator removes them, the cache starts anew."""
    replica = await start_replica(reads_on=False)
    await hold(replica, 0.9)
    server.command("HSET", "facegate:cache:1:epochs", "x", rubbish)
    assert not await replica.store.refresh()
    assert await replica.look() is Absent.OUT
    server.command("DEL", "facegate:cache:1:epochs")
    assert await replica.store.refresh()
    assert await replica.look() is Absent.MISS


async def test_a_cluster_serves_and_purges() -> None:
    """Three masters: keys spread over them, nothing needs two at once."""
    with running_cluster() as cluster:
        clock = SystemClock()
        client = connect(cluster.url)
        store = ValkeyCacheStore(client, clock, Records(clock, 0))
        await store.start()
        try:
            await eventually(lambda: store.available, "the cluster is used")
            cache = result_cache(store, clock)
            keys = [cache.key("kyc", "employees", b"photo %d" % n) for n in range(30)]
            for key in keys:
                assert await keep(cache, key, asked(), found(0.9))
            for key in keys:
                assert isinstance(await looked_up(cache, key, asked(), None), CachedAnswer)
            assert all(int(str(node.command("DBSIZE"))) > 2 for node in cluster.nodes)
            await cache.purge(Scope("kyc"))
            assert await looked_up(cache, cache.key("kyc", "employees", b"photo 1"), asked(), None) is Absent.MISS
        finally:
            await store.aclose()
            await client.aclose()
