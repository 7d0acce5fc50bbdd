"""One search, from an admitted call to an answer. The file to read first: it is the list of its steps.

    7 resolve the face set · 8 look into the cache · 9 join an identical search in flight, or start one:
    10 reserve an upstream call · 11 ask the vendor · 12 settle or refund, keep the answer

Steps 10 to 12 run in a flight, a task of its own, which the caller only waits for: what was sent upstream is billed, so
it runs to its end and fills the cache whatever becomes of the caller. Until it lands, the flight holds the call's
concurrency slot and place. It raises only `GatewayError`. It knows no gRPC, no HTTP and no store.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from gateway.auth.authorizer import resolve_face_set
from gateway.cache import coverage
from gateway.cache.control import CachePlan, plan
from gateway.cache.key import CacheKey
from gateway.cache.results import Absent, CachedAnswer, ResultCache
from gateway.cache.sharing import SharedSearch, SharedSearches
from gateway.clock import Clock
from gateway.errors import CacheMiss, DeadlineExceeded, DeadlineTooShort
from gateway.model import CacheStatus, Search, SearchAnswer, SearchParameters, UpstreamAnswer, UpstreamQuery
from gateway.place import NO_PLACE, Place
from gateway.quota.admission import Admission
from gateway.quota.charge import Charge
from gateway.quota.usage import UsageLedger
from gateway.telemetry.record import CallRecord
from gateway.trip import Trip
from gateway.upstream.port import Upstream

# Kept back from the caller's deadline, so that the answer or the error still reaches it.
ANSWER_MARGIN_SECONDS = 0.1
_PASSED = (
    "the deadline passed before the search ended; a search that was sent goes on and its answer is cached: "
    "try again with a longer deadline"
)
# How often a call that an identical search did not serve looks for another one before it searches alone.
MAX_JOINS = 2


class Landed(NamedTuple):
    """What a flight brought: the answer, when it stops being served (None: it was not kept), and its charge."""

    answer: UpstreamAnswer
    asked: SearchParameters
    expire_time: float | None
    quota_remaining: int | None
    degraded: bool


class _Question(NamedTuple):
    """What the cache could not answer. `looked_seconds` went by with looking; `newer_than` is as for `join`."""

    query: UpstreamQuery
    plan: CachePlan
    key: CacheKey
    looked_seconds: float
    newer_than: float | None


class FaceSearch:
    """Searches faces for tenants."""

    def __init__(
        self,
        *,
        usage: UsageLedger,
        cache: ResultCache,
        searches: SharedSearches[Landed],
        upstream: Upstream,
        clock: Clock,
    ) -> None:
        self._usage = usage
        self._cache = cache
        self._searches = searches
        self._upstream = upstream
        self._clock = clock

    async def __call__(
        self, admission: Admission, search: Search, deadline: float, record: CallRecord, place: Place = NO_PLACE
    ) -> SearchAnswer:
        """Answers `search`, at the latest `ANSWER_MARGIN_SECONDS` before `deadline` (monotonic).

        The caller ends its own hold of `admission` and `place`.
        """
        tenant, wanted, steps = admission.tenant, search.parameters, plan(search.cache_control)
        face_set = resolve_face_set(tenant, search.face_set)
        record.face_set = search.face_set
        max_age_seconds = search.cache_control.max_age_seconds
        started = self._clock.monotonic()
        key = self._cache.key(tenant.id, face_set, search.image.content)
        found: CachedAnswer | Absent | None
        if steps.reads:
            found = self._cache.peek(key, wanted, max_age_seconds)
            if found is None:
                found = await self._cache.fetch(key, wanted, max_age_seconds)
        else:
            found = Absent.MISS if self._cache.available() else Absent.OUT
        # No await from here until `_share` has joined or started a flight: what landed before the look-up ended is in the
        # cache, what lands later is still in flight. In between an identical search could land unseen, and be made twice.
        looked = self._clock.monotonic()
        record.spent("cache", started, looked)
        if isinstance(found, CachedAnswer):
            return SearchAnswer(
                found.answer, wanted, CacheStatus.HIT, found.age_seconds, found.expire_time, 0, admission.degraded
            )
        bypassed = found is Absent.OUT or not (steps.reads or steps.writes)
        record.cache_status = missed = CacheStatus.BYPASS if bypassed else CacheStatus.MISS
        if not steps.searches:
            raise CacheMiss
        place.wait_for_vendor()
        asked = self._cache.fetch_parameters(wanted) if steps.writes else wanted
        newer_than = None if max_age_seconds is None else started - max_age_seconds
        question = _Question(UpstreamQuery(face_set, search.image, asked), steps, key, looked - started, newer_than)
        joins = 0
        while True:
            landed, joined = await self._share(question, admission, deadline, record, place)
            served = coverage.serve(landed.asked, landed.answer, wanted)
            if served is not None or not joined:
                break
            # What the joined search brought says too little about this one (see `cache/sharing.py`). Calls in the same
            # position share the next search too.
            joins += 1
            record.cache_status = missed
            question = question._replace(plan=replace(steps, joins=joins < MAX_JOINS))
        return SearchAnswer(
            served or landed.answer,
            wanted,
            CacheStatus.COALESCED if joined else missed,
            expire_time=landed.expire_time,
            upstream_calls=0 if joined else 1,
            degraded=admission.degraded or landed.degraded,
        )

    async def _share(
        self, question: _Question, admission: Admission, deadline: float, record: CallRecord, place: Place
    ) -> tuple[Landed, bool]:
        """What an identical search in flight brings, or a new one; and whether it was another's."""
        now, until = self._clock.monotonic(), deadline - ANSWER_MARGIN_SECONDS
        if until <= now:
            raise DeadlineTooShort
        asked = question.query.parameters
        search = self._searches.join(question.plan, question.key, asked, newer_than=question.newer_than)
        joined = search is not None
        if search is None:
            search = self._start(question, admission, Trip(admission.tenant.id, now), place)
        else:
            record.cache_status = CacheStatus.COALESCED
        try:
            landed = await search.wait(until, now)
        except TimeoutError:
            raise DeadlineExceeded(_PASSED) from None
        finally:
            record.spent("upstream", now, self._clock.monotonic())
            record.upstream_attempts = 0 if joined else search.trip.attempts
        record.upstream_status = landed.answer.upstream_status
        record.degraded = record.degraded or landed.degraded
        if landed.quota_remaining is not None and not joined:
            left = record.quota_remaining
            record.quota_remaining = landed.quota_remaining if left is None else min(left, landed.quota_remaining)
        return landed, joined

    def _start(self, question: _Question, admission: Admission, trip: Trip, place: Place) -> SharedSearch[Landed]:
        """A search in flight, which holds the call's slot, place and bytes until it lands."""
        admission.keep()
        place.keep()

        def landed() -> None:
            admission.give_back()
            place.give_back()

        return self._searches.start(
            question.plan,
            question.key,
            question.query.parameters,
            trip,
            lambda: self._fly(trip, question, admission),
            landed,
        )

    async def _fly(self, trip: Trip, question: _Question, admission: Admission) -> Landed:
        """Steps 10 to 12. `trip.asked_at` is from before the question is sent, so no answer is older than it says."""
        trip.require_wanted()
        reservation = await admission.reserve()
        with Charge(reservation, trip, self._usage):
            answer = await self._upstream.search(question.query, trip)
        asked, expire_time = question.query.parameters, None
        if question.plan.writes:
            waited_seconds = question.looked_seconds
            expire_time = await self._cache.store(
                question.key, asked, answer, asked_at=trip.asked_at, waited_seconds=waited_seconds
            )
        return Landed(answer, asked, expire_time, reservation.remaining, reservation.degraded)
