"""Answers to identical images: the face of the cache toward `search.py`.

Knows when an answer is too old and which one serves a request. Others know how an image is named (`key.py`), what an
answer proves (`coverage.py`), which answers stay together (`merging.py`) and where records are (`store.py`). Nothing
here raises because of a store: without its store the cache is a bypass. Only `purge` reports an outage, since an
operator must know.

Ages count from the moment at which the question was about to be sent, by the store's time (`CacheStore.time`). The wall
clock is used for `expire_time` alone, which callers compare with theirs.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from gateway.cache import coverage, entries
from gateway.cache.entries import Unpackable
from gateway.cache.epochs import Scope
from gateway.cache.key import CacheKey, Keymaker
from gateway.cache.keys import KeyRing
from gateway.cache.landing import AHEAD_SECONDS, Landing
from gateway.cache.policy import CachePolicy
from gateway.cache.store import CacheStore, Held, StoreOut
from gateway.clock import Clock
from gateway.errors import GatewayOverloaded
from gateway.model import SearchParameters, UpstreamAnswer

_WIDEST_RESULTS = 10


class CachedAnswer(NamedTuple):
    """An answer from the cache, already cut to the request.

    `age_seconds` counts from when the vendor was asked. `expire_time` is in seconds since 1970, by the wall clock.
    """

    answer: UpstreamAnswer
    age_seconds: float
    expire_time: float


class Absent(Enum):
    """Why there is no cached answer."""

    MISS = "miss"
    OUT = "out"
    """The store is out: the search that follows is a bypass."""


class ResultCache:
    """Looks up, keeps and purges answers."""

    def __init__(self, store: CacheStore, ring: KeyRing, clock: Clock, policy: CachePolicy, *, base_url: str) -> None:
        """`base_url` is the upstream's: another upstream's face sets are others, whatever their names."""
        self._store = store
        self._keymaker = Keymaker(ring, store.epochs, base_url)
        self._wall = clock.now
        self._monotonic = clock.monotonic
        self.policy = policy

    def available(self) -> bool:
        """Whether answers can be served and kept now; False makes a search a bypass, whatever its plan."""
        return self._store.available

    def held(self) -> Held:
        """What this process holds, and what it refused."""
        return self._store.held()

    def key(self, tenant: str, face_set: str, image: bytes) -> CacheKey:
        """The key of an image's answers. `face_set` is the upstream's name. Hashes the image: 20 µs for 100 KB."""
        return self._keymaker.key(tenant, face_set, image)

    def fetch_parameters(self, parameters: SearchParameters) -> SearchParameters:
        """What to ask the vendor for, so that the answer serves this request and, if widened, others too."""
        if not self.policy.widen_max_results or parameters.max_results == _WIDEST_RESULTS:
            return parameters
        return parameters._replace(max_results=_WIDEST_RESULTS)

    def peek(
        self, key: CacheKey, parameters: SearchParameters, max_age_seconds: float | None
    ) -> CachedAnswer | Absent | None:
        """The newest answer that serves the request and is at most `max_age_seconds` old (None: any that lives).

        Never waits: None says that only `fetch` can tell.
        """
        store = self._store
        if not store.available:
            return Absent.OUT
        found = self._serve(store.peek(key), parameters, max_age_seconds)
        if found is None and not store.shared:
            return Absent.MISS
        return found

    async def fetch(
        self, key: CacheKey, parameters: SearchParameters, max_age_seconds: float | None
    ) -> CachedAnswer | Absent:
        """The same from beyond this process, after `peek` gave None."""
        store = self._store
        try:
            record = await store.fetch(key)
        except StoreOut:
            return Absent.OUT
        if not self.available():
            return Absent.OUT
        if not self._keymaker.in_force(key):
            return Absent.MISS
        # First what this process holds now: an answer may have landed while this lookup waited for the store. It is not in
        # `record`, it is the newer one, and its flight is over.
        found = self._serve(store.peek(key), parameters, max_age_seconds)
        if found is None:
            found = self._serve(record, parameters, max_age_seconds)
        return Absent.MISS if found is None else found

    def _serve(
        self, record: bytes | None, parameters: SearchParameters, max_age_seconds: float | None
    ) -> CachedAnswer | None:
        if record is None:
            return None
        now = self._store.time()
        try:
            for entry in entries.unpack(record):
                age_seconds = now - entry.asked_at
                if age_seconds < -AHEAD_SECONDS:
                    continue
                answer = coverage.serve(entry.asked, entry.answer, parameters)
                if answer is None:
                    continue
                # The newest answer that covers the request decides: an older one would give what this one replaced.
                # Cut down to nothing, an answer lives no longer than one that found nobody.
                left_seconds = self.policy.lifetime_seconds(answer.outcome) - age_seconds
                if left_seconds <= 0 or (max_age_seconds is not None and age_seconds > max_age_seconds):
                    return None
                return CachedAnswer(answer, age_seconds if age_seconds > 0 else 0.0, self._wall() + left_seconds)
        except Unpackable:
            pass
        return None

    async def store(
        self,
        key: CacheKey,
        asked: SearchParameters,
        answer: UpstreamAnswer,
        *,
        asked_at: float,
        waited_seconds: float = 0.0,
    ) -> float | None:
        """Keeps the vendor's answer to `asked`. Returns when it expires (since 1970), or None if it may not be kept.

        `asked_at` is the reading of `Clock.monotonic` taken just before the question was sent. Age and lifetime count
        from it, and an answer never takes the place of one that was asked for later. `waited_seconds` is the time that
        this search has already waited for the store: all its waits together have one limit.

        The answer is not kept during an outage of the store, after a purge or a new key file since `key` was made, or
        when a newer answer covers or contradicts it.
        """
        if not self.available() or not self._keymaker.in_force(key):
            return None
        age_seconds = self._monotonic() - asked_at
        lifetime_seconds = self.policy.lifetime_seconds(answer.outcome)
        if lifetime_seconds <= 0 or age_seconds > self.policy.flight_seconds:
            return None
        landing = Landing(self.policy, self._store, asked, _sorted(answer), asked_at)
        try:
            await self._store.update(key, landing.change, asked_at=asked_at, waited_seconds=waited_seconds)
        except (StoreOut, Unpackable):
            return None
        left_seconds = lifetime_seconds - age_seconds
        return self._wall() + left_seconds if landing.kept and left_seconds > 0 else None

    async def purge(self, scope: Scope) -> int:
        """Kills every answer of the scope, on every replica within 2 s; the epoch now in force.

        Raises `GatewayOverloaded` if the store is out: the answers may live on elsewhere, so it has to be tried again.
        """
        try:
            return await self._store.purge(scope)
        except StoreOut:
            raise GatewayOverloaded(
                "the cache store cannot be reached: nothing was purged; try again", retry_after_seconds=1.0
            ) from None


def _sorted(answer: UpstreamAnswer) -> UpstreamAnswer:
    matches = answer.matches
    if len(matches) < 2 or all(matches[i].score >= matches[i + 1].score for i in range(len(matches) - 1)):
        return answer
    return answer._replace(matches=tuple(sorted(matches, key=lambda match: -match.score)))
