"""The steps of a search around the cache, for tests of what calls share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gateway.cache import coverage
from gateway.cache.control import plan
from gateway.cache.flights import Flights
from gateway.cache.memory import MemoryCacheStore
from gateway.cache.results import CachedAnswer, ResultCache
from gateway.cache.sharing import SharedSearches
from gateway.model import CacheControl, SearchParameters, UpstreamAnswer
from gateway.trip import Trip
from tests.support.cache import found, looked_up, result_cache
from tests.support.clock import ManualClock

IMAGE = b"a photo"


@dataclass
class Searcher:
    """The steps of a search around the cache, with a vendor that answers when told to."""

    cache: ResultCache = field(default_factory=lambda: result_cache(MemoryCacheStore(c := ManualClock(), 1 << 20), c))
    flights: Flights[UpstreamAnswer] = field(default_factory=Flights)
    upstream_calls: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    answer: UpstreamAnswer = field(default_factory=lambda: found(0.9))

    def __post_init__(self) -> None:
        self.shared = SharedSearches(self.flights)

    async def search(
        self, parameters: SearchParameters, control: CacheControl | None = None, *, tenant: str = "kyc"
    ) -> tuple[str, UpstreamAnswer]:
        steps = plan(control or CacheControl())
        key = self.cache.key(tenant, "employees", IMAGE)
        if steps.reads:
            held = await looked_up(self.cache, key, parameters, None)
            if isinstance(held, CachedAnswer):
                return "hit", held.answer

        trip = Trip(tenant, 0.0)

        async def fly() -> UpstreamAnswer:
            trip.sending()
            self.upstream_calls += 1
            asked_at = self.cache._monotonic()
            await self.answers.wait()
            if steps.writes:
                await self.cache.store(key, parameters, self.answer, asked_at=asked_at)
            return self.answer

        shared = self.shared.join(steps, key, parameters)
        joined = shared is not None
        if shared is None:
            shared = self.shared.start(steps, key, parameters, trip, fly)
        served = coverage.serve(parameters, await shared.wait(5.0, 0.0), parameters)
        assert served is not None
        return "coalesced" if joined else "miss", served
