"""One process's cache on a shared store, as tests look at it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.cache.keys import KeyRing
from gateway.cache.results import Absent, CachedAnswer, ResultCache
from gateway.cache.shared import ValkeyCacheStore
from gateway.model import SearchParameters
from tests.support.cache import asked, found, keep, looked_up
from tests.support.valkey import StoreServer

IMAGE = b"\xff\xd8 a photo that everybody knows"


@dataclass
class Replica:
    """One process's cache."""

    cache: ResultCache
    store: ValkeyCacheStore
    ring: KeyRing
    tenant: str = "kyc"

    async def look(self, parameters: SearchParameters | None = None, image: bytes = IMAGE) -> CachedAnswer | Absent:
        return await looked_up(self.cache, self.cache.key(self.tenant, "employees", image), parameters or asked(), None)

    def address(self, image: bytes = IMAGE) -> bytes:
        return self.store._address(self.cache.key(self.tenant, "employees", image))

    def forget_front(self) -> None:
        for shard in self.store.front._shards:
            for name in list(shard.records):
                shard.remove(name)


async def warm(replica: Replica) -> None:
    """Keeps an answer and finds it, more than once where a busy machine makes the store seem out for a moment."""
    key = replica.cache.key("kyc", "employees", IMAGE)
    async with asyncio.timeout(30):
        while not (
            await keep(replica.cache, key, asked(), found(0.9)) and isinstance(await replica.look(), CachedAnswer)
        ):
            await asyncio.sleep(0.02)


def commands(server: StoreServer) -> int:
    """Lookups and updates of records that the store ran so far; the reading of the epochs is not counted."""
    with server.client() as store:
        stats = store.info("commandstats")
    return sum(int(stats[name]["calls"]) for name in stats if name.rpartition("_")[2] in {"get", "set"})


StartReplica = Callable[..., Awaitable[Replica]]
"""Keywords: `url`, `clock`, `master`, `reads_on` (False: it reads the epochs once, then only when told to), `budget`."""
