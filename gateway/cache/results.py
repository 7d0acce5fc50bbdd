"""Answers to identical images: the face of the cache toward `search.py`.

Knows when an answer is too old and which one serves a request; leaves to others how an image is named (`key.py`), what
an answer proves (`coverage.py`) and where records are (`store.py`). Nothing here raises because of a store: a cache
that is out is a bypass. Only `purge` says so, since an operator must know.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from gateway.cache import coverage, entries
from gateway.cache.entries import Entry, Unpackable
from gateway.cache.epochs import Scope
from gateway.cache.key import CacheKey, Keymaker
from gateway.cache.keys import KeyRing
from gateway.cache.sealing import CLOCK_SKEW_SECONDS
from gateway.cache.store import CacheStore, Held, StoreOut
from gateway.clock import Clock
from gateway.errors import GatewayOverloaded
from gateway.model import Outcome, SearchParameters, UpstreamAnswer

MAX_TTL_SECONDS = 3600.0
NO_RESULT_TTL_SECONDS = 10.0
"""Long enough for a burst of retries; "no result" is not a finding that anybody should rely on for longer."""
_WIDEST_RESULTS = 10


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long answers live, and whether the vendor is asked for more results than a caller wants."""

    ttl_seconds: float = 300.0
    no_match_ttl_seconds: float = 60.0
    widen_max_results: bool = False

    def lifetime_seconds(self, outcome: Outcome) -> float:
        """How long an answer of this outcome may be served."""
        lifetime = min(self.ttl_seconds, MAX_TTL_SECONDS)
        if outcome is Outcome.MATCHED:
            return lifetime
        lifetime = min(lifetime, self.no_match_ttl_seconds)
        return lifetime if outcome is Outcome.NO_MATCH else min(lifetime, NO_RESULT_TTL_SECONDS)


class CachedAnswer(NamedTuple):
    """An answer from the cache: already cut to the request; `age_seconds` since it was given; `expire_time` (1970)."""

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
        self._now = clock.now
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
        found = self._serve(record, parameters, max_age_seconds)
        if found is None:
            # An identical search may have landed while this one waited for the store: its answer is not in `record`,
            # and its flight is over. Without this look the caller would find neither and search again.
            found = self._serve(store.peek(key), parameters, max_age_seconds)
        return Absent.MISS if found is None else found

    def _serve(
        self, record: bytes | None, parameters: SearchParameters, max_age_seconds: float | None
    ) -> CachedAnswer | None:
        if record is None:
            return None
        now = self._now()
        try:
            for entry in entries.unpack(record):
                answer = coverage.serve(entry.asked, entry.answer, parameters)
                if answer is None:
                    continue
                age_seconds = now - entry.issued_at
                # Cut down to nothing, an answer lives no longer than one that found nobody.
                lifetime_seconds = self.policy.lifetime_seconds(answer.outcome)
                if age_seconds >= lifetime_seconds or age_seconds < -CLOCK_SKEW_SECONDS:
                    continue
                if max_age_seconds is not None and age_seconds > max_age_seconds:
                    continue
                return CachedAnswer(answer, max(age_seconds, 0.0), entry.issued_at + lifetime_seconds)
        except Unpackable:
            pass
        return None

    async def store(
        self, key: CacheKey, asked: SearchParameters, answer: UpstreamAnswer, *, waited_seconds: float = 0.0
    ) -> float | None:
        """Keeps an answer that the vendor just gave to `asked`; when it dies, or None if it is not known to be kept.

        It is not kept when the store is out, or when a purge or a new key file came after `key` was made.
        `waited_seconds` is what the search has waited for the store before: all its waits together have one limit.
        """
        if not self.available() or not self._keymaker.in_force(key):
            return None
        now = self._now()
        new = Entry(now, asked, _sorted(answer))
        lifetime_seconds = self.policy.lifetime_seconds(answer.outcome)

        def change(record: bytes | None) -> tuple[bytes, float]:
            if record is None:
                return entries.pack([new]), lifetime_seconds
            kept = entries.merge(new, (entry for entry in _readable(record) if self._left(entry, now) > 0))
            return entries.pack(kept), max(self._left(entry, now) for entry in kept)

        if lifetime_seconds <= 0:
            return None
        try:
            await self._store.update(key, change, waited_seconds=waited_seconds)
        except (StoreOut, Unpackable):
            return None
        return now + lifetime_seconds

    def _left(self, entry: Entry, now: float) -> float:
        return entry.issued_at + self.policy.lifetime_seconds(entry.answer.outcome) - now

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
    if all(matches[i].score >= matches[i + 1].score for i in range(len(matches) - 1)):
        return answer
    return answer._replace(matches=tuple(sorted(matches, key=lambda match: -match.score)))


def _readable(record: bytes | None) -> list[Entry]:
    try:
        return list(entries.unpack(record)) if record is not None else []
    except Unpackable:
        return []
