"""Replicas of the cache on one real Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from gateway.cache.client import connect
from gateway.cache.keys import KeyRing
from gateway.cache.memory import Records
from gateway.cache.shared import ValkeyCacheStore
from gateway.clock import Clock, SystemClock
from tests.support.cache import MASTER, result_cache
from tests.support.cache_replica import Replica, StartReplica
from tests.support.clock import ManualClock
from tests.support.store_clock import ManualStoreClock
from tests.support.valkey import StoreServer, running_store


@pytest.fixture
def server() -> Iterator[StoreServer]:
    with running_store() as running:
        yield running


@pytest.fixture
async def start_replica(server: StoreServer) -> AsyncIterator[StartReplica]:
    async with AsyncExitStack() as stack:

        async def start(
            *,
            url: str = "",
            clock: Clock | None = None,
            master: bytes = MASTER,
            reads_on: bool = True,
            budget: float = 1.0,
        ) -> Replica:
            client = connect(url or server.url)
            stack.push_async_callback(client.aclose)
            moving = clock or SystemClock()
            store_clock = ManualStoreClock(moving) if isinstance(moving, ManualClock) else None
            store = ValkeyCacheStore(
                client, moving, Records(moving, 1 << 20), budget_seconds=budget, store_clock=store_clock
            )
            if reads_on:
                await store.start()
                stack.push_async_callback(store.aclose)
            else:
                await store.refresh()
            ring = KeyRing(master)
            return Replica(result_cache(store, moving, ring=ring), store, ring)

        yield start
