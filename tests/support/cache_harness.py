"""A result cache over each kind of store, with time that a test moves."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.cache.client import connect
from gateway.cache.memory import MemoryCacheStore, Records
from gateway.cache.policy import CachePolicy
from gateway.cache.results import Absent, CachedAnswer, ResultCache
from gateway.cache.shared import ValkeyCacheStore
from gateway.cache.store import CacheStore
from gateway.model import SearchParameters, UpstreamAnswer
from tests.support.cache import keep, looked_up, result_cache
from tests.support.clock import ManualClock
from tests.support.store_clock import ManualStoreClock
from tests.support.valkey import StoreServer

KINDS = ["memory", "valkey", "valkey without its front"]
IMAGE = b"\xff\xd8 a photo"


@dataclass
class Harness:
    """A result cache over one store, with a clock that moves for the store too."""

    cache: ResultCache
    store: CacheStore
    clock: ManualClock

    async def advance(self, seconds: float) -> None:
        """Time passes; a store that must look at its epochs from time to time does."""
        self.clock.advance(seconds)
        if isinstance(self.store, ValkeyCacheStore):
            await self.store.refresh()

    async def hold(
        self,
        parameters: SearchParameters,
        answer: UpstreamAnswer,
        *,
        image: bytes = IMAGE,
        tenant: str = "kyc",
        asked_ago: float = 0.0,
    ) -> float | None:
        key = self.cache.key(tenant, "employees", image)
        return await keep(self.cache, key, parameters, answer, asked_ago=asked_ago)

    async def look(
        self,
        parameters: SearchParameters,
        *,
        image: bytes = IMAGE,
        tenant: str = "kyc",
        face_set: str = "employees",
        max_age: float | None = None,
    ) -> CachedAnswer | Absent:
        return await looked_up(self.cache, self.cache.key(tenant, face_set, image), parameters, max_age)

    async def hit(self, parameters: SearchParameters, **where: str | bytes) -> CachedAnswer:
        held = await self.look(parameters, **where)  # type: ignore[arg-type]
        assert isinstance(held, CachedAnswer)
        return held


@asynccontextmanager
async def running_harness(kind: str, server: StoreServer) -> AsyncIterator[Harness]:
    """A harness over a store of this kind; a Valkey store has a part of `server` for itself."""
    clock = ManualClock()
    policy = CachePolicy(ttl_seconds=300, no_match_ttl_seconds=60, flight_seconds=15)
    if kind == "memory":
        memory = MemoryCacheStore(clock, 1 << 20)
        yield Harness(result_cache(memory, clock, policy=policy), memory, clock)
        return
    client = connect(server.url)
    store = ValkeyCacheStore(
        client,
        clock,
        Records(clock, 1 << 20 if kind == "valkey" else 0),
        prefix=f"test:{secrets.token_hex(8)}:",
        budget_seconds=2.0,
        store_clock=ManualStoreClock(clock),
    )
    assert await store.refresh()
    yield Harness(result_cache(store, clock, policy=policy), store, clock)
    await client.aclose()
