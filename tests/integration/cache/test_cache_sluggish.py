"""A cache store that answers, but slowly: it costs a search one wait, and a crowd leaves no queue behind."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.cache.results import Absent, CachedAnswer
from tests.support.cache import asked, found, keep
from tests.support.cache_replica import StartReplica, commands, warm
from tests.support.flaky_proxy import flaky_proxy
from tests.support.valkey import StoreServer


@pytest.mark.timed
async def test_a_search_waits_once_for_a_sluggish_store_and_the_answer_is_kept_all_the_same(
    server: StoreServer, start_replica: StartReplica
) -> None:
    """What looking took is taken off the time for keeping; the answer, here in front, reaches the store alone."""
    async with flaky_proxy(server.port) as proxy:
        replica, other = await start_replica(url=proxy.url, budget=2.0), await start_replica()
        await warm(replica)
        proxy.delay_seconds = 0.3
        key = replica.cache.key("kyc", "employees", b"another photo")
        began = time.perf_counter()
        await keep(replica.cache, key, asked(), found(0.9), waited_seconds=1.9)
        assert time.perf_counter() - began < 0.5
        assert isinstance(await replica.look(image=b"another photo"), CachedAnswer)
        async with asyncio.timeout(30):
            while not isinstance(await other.look(image=b"another photo"), CachedAnswer):
                await asyncio.sleep(0.02)


async def test_nobody_queues_for_a_caller_that_has_gone(server: StoreServer, start_replica: StartReplica) -> None:
    """After a crowd before a sluggish store has given up, the next lookup does not stand behind it."""
    async with flaky_proxy(server.port) as proxy:
        replica = await start_replica(url=proxy.url, budget=0.5)
        await warm(replica)
        proxy.delay_seconds = 0.3
        crowd = await asyncio.gather(*(replica.look(image=b"photo %d" % n) for n in range(100)))
        assert crowd.count(Absent.OUT) > 80
        proxy.delay_seconds = 0.0
        before = commands(server)
        replica.forget_front()
        assert isinstance(await replica.look(), CachedAnswer)
        assert commands(server) - before < 20
