"""Searches and answers for tests of the cache, and a result cache over any store."""

from __future__ import annotations

from gateway.cache.key import CacheKey
from gateway.cache.keys import KeyRing
from gateway.cache.policy import CachePolicy
from gateway.cache.results import Absent, CachedAnswer, ResultCache
from gateway.cache.store import CacheStore
from gateway.clock import Clock
from gateway.model import Match, Outcome, SearchParameters, UpstreamAnswer

BASE_URL = "https://vendor.example"
MASTER = bytes(range(32))
START = 1_780_000_000


def asked(threshold: float = 0.8, max_results: int = 1, start_time: int = START) -> SearchParameters:
    return SearchParameters(threshold, max_results, start_time)


def match(score: float, *, person: int = 1, face: int = 2, enrolled: int = START + 1000) -> Match:
    return Match(person, face, score, enrolled)


def found(*scores: float, request_id: str = "TID1", enrolled: int = START + 1000) -> UpstreamAnswer:
    """An answer with one face to each score, numbered from 1."""
    matches = tuple(match(score, person=n, face=100 + n, enrolled=enrolled) for n, score in enumerate(scores, 1))
    return UpstreamAnswer(matches, Outcome.MATCHED if scores else Outcome.NO_MATCH, request_id)


async def looked_up(
    cache: ResultCache, key: CacheKey, parameters: SearchParameters, max_age_seconds: float | None = None
) -> CachedAnswer | Absent:
    """What a search finds in the cache: at once, or else beyond this process."""
    at_once = cache.peek(key, parameters, max_age_seconds)
    return await cache.fetch(key, parameters, max_age_seconds) if at_once is None else at_once


async def keep(
    cache: ResultCache,
    key: CacheKey,
    parameters: SearchParameters,
    answer: UpstreamAnswer,
    *,
    asked_ago: float = 0.0,
    waited_seconds: float = 0.0,
) -> float | None:
    """Keeps an answer to a question of `asked_ago` seconds ago."""
    asked_at = cache._monotonic() - asked_ago
    return await cache.store(key, parameters, answer, asked_at=asked_at, waited_seconds=waited_seconds)


NO_RESULT = UpstreamAnswer((), Outcome.NO_RESULT_REPORTED, "TID0")


def result_cache(
    store: CacheStore,
    clock: Clock,
    *,
    policy: CachePolicy | None = None,
    ring: KeyRing | None = None,
    base_url: str = BASE_URL,
) -> ResultCache:
    return ResultCache(store, ring or KeyRing(MASTER), clock, policy or CachePolicy(), base_url=base_url)
