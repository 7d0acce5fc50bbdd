"""One search, from an authenticated caller to an answer. The file to read first: it is the list of its steps.

    6 resolve the face set · 7 admit · 8 look into the cache · 9 join an identical search, or start one:
    10 reserve an upstream call · 11 ask upstream · 12 settle, keep the answer

Steps 10 to 12 run in a task of their own, which the caller only waits for: what was sent upstream is billed, so it runs
to its end and fills the cache whatever becomes of the caller. It raises only `GatewayError`. It knows no gRPC, no HTTP
and no store.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from gateway.auth.authorizer import resolve_face_set
from gateway.cache import coverage
from gateway.cache.control import CachePlan, plan
from gateway.cache.flights import wait
from gateway.cache.key import CacheKey
from gateway.cache.results import Absent, CachedAnswer, ResultCache
from gateway.cache.sharing import SharedSearches
from gateway.clock import Clock
from gateway.errors import CacheMiss, DeadlineTooShort, GatewayError, GatewayOverloaded, QuotaExceeded, UpstreamTimeout
from gateway.model import (
    CacheStatus,
    Search,
    SearchAnswer,
    SearchParameters,
    Tenant,
    UpstreamAnswer,
    UpstreamQuery,
)
from gateway.quota.admission import Admission, Reservation
from gateway.quota.gate import QuotaGate
from gateway.quota.usage import UsageLedger
from gateway.telemetry.record import CallRecord
from gateway.upstream.port import Upstream

# Kept back from the caller's deadline, so that the answer or the error still reaches it.
ANSWER_MARGIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Landed:
    """What a search that went upstream brought: the answer, when it stops being served (None: not kept), its charge."""

    answer: UpstreamAnswer
    asked: SearchParameters
    expire_time: float | None
    quota_remaining: int | None
    degraded: bool


class FaceSearch:
    """Searches faces for tenants."""

    def __init__(
        self,
        *,
        quota: QuotaGate,
        usage: UsageLedger,
        cache: ResultCache,
        searches: SharedSearches[Landed],
        upstream: Upstream,
        clock: Clock,
    ) -> None:
        self._quota = quota
        self._usage = usage
        self._cache = cache
        self._searches = searches
        self._upstream = upstream
        self._clock = clock

    async def __call__(self, tenant: Tenant, search: Search, deadline: float, record: CallRecord) -> SearchAnswer:
        """Answers `search`, at the latest `ANSWER_MARGIN_SECONDS` before `deadline` (monotonic)."""
        record.image_format, record.image_bytes = search.image.format, len(search.image.content)
        try:
            face_set = resolve_face_set(tenant, search.face_set)
            record.face_set = search.face_set
            started = self._clock.monotonic()
            try:
                admission = await self._quota.admit(tenant)
            finally:
                record.spent("quota", started, self._clock.monotonic())
            try:
                answer = await self._answer(admission, search, face_set, deadline, record)
            finally:
                admission.release()
        except QuotaExceeded:
            self._usage.today(tenant.id).quota_rejections += 1
            raise
        except GatewayError:
            self._usage.today(tenant.id).failures += 1
            raise
        record.cache_status = answer.cache_status
        record.match_count = len(answer.answer.matches)
        return answer

    async def _answer(
        self, admission: Admission, search: Search, face_set: str, deadline: float, record: CallRecord
    ) -> SearchAnswer:
        self._usage.today(admission.tenant.id).searches += 1
        record.quota_remaining = admission.remaining
        record.degraded = admission.degraded
        cached = plan(search.cache_control)
        started = self._clock.monotonic()
        key = self._cache.key(admission.tenant.id, face_set, search.image.content)
        found: CachedAnswer | Absent | None
        if cached.reads:
            max_age_seconds = search.cache_control.max_age_seconds
            found = self._cache.peek(key, search.parameters, max_age_seconds)
            if found is None:
                found = await self._cache.fetch(key, search.parameters, max_age_seconds)
        else:
            found = Absent.MISS if self._cache.available() else Absent.OUT
        record.spent("cache", started, self._clock.monotonic())
        if isinstance(found, CachedAnswer):
            self._usage.today(admission.tenant.id).cache_hits += 1
            return SearchAnswer(
                found.answer,
                search.parameters,
                CacheStatus.HIT,
                age_seconds=found.age_seconds,
                expire_time=found.expire_time,
                degraded=admission.degraded,
            )
        bypassed = found is Absent.OUT or not (cached.reads or cached.writes)
        missed = CacheStatus.BYPASS if bypassed else CacheStatus.MISS
        # Told of a search that fails, too.
        record.cache_status = missed
        if not cached.searches:
            raise CacheMiss
        asked = self._cache.fetch_parameters(search.parameters) if cached.writes else search.parameters
        query = UpstreamQuery(face_set, search.image, asked)
        landed, joined = await self._share(cached, key, query, admission, deadline, record)
        answer = coverage.serve(landed.asked, landed.answer, search.parameters)
        if answer is None:
            # What the joined search brought says too little about this one (see `cache/sharing.py`).
            alone = replace(cached, joins=False)
            record.cache_status = missed
            landed, joined = await self._share(alone, key, query, admission, deadline, record)
            answer = coverage.serve(landed.asked, landed.answer, search.parameters) or landed.answer
        if joined:
            self._usage.today(admission.tenant.id).cache_hits += 1
        return SearchAnswer(
            answer,
            search.parameters,
            CacheStatus.COALESCED if joined else missed,
            expire_time=landed.expire_time,
            upstream_calls=0 if joined else 1,
            degraded=admission.degraded or landed.degraded,
        )

    async def _share(
        self,
        cached: CachePlan,
        key: CacheKey,
        query: UpstreamQuery,
        admission: Admission,
        deadline: float,
        record: CallRecord,
    ) -> tuple[Landed, bool]:
        """What an identical search in flight brings, or a new one; and whether it was another's."""
        started = self._clock.monotonic()
        remaining = deadline - started - ANSWER_MARGIN_SECONDS
        if remaining <= 0:
            raise DeadlineTooShort
        looked_seconds = record.steps.get("cache", 0.0)
        flight, joined = self._searches.join_or_start(
            cached, key, query.parameters, lambda: self._go_upstream(cached, key, query, admission, looked_seconds)
        )
        if joined:
            record.cache_status = CacheStatus.COALESCED
        try:
            landed = await wait(flight, remaining)
        except TimeoutError:
            raise UpstreamTimeout("caller_deadline") from None
        finally:
            record.spent("upstream", started, self._clock.monotonic())
        record.upstream_attempts = 0 if joined else landed.answer.attempts
        record.upstream_status = landed.answer.upstream_status
        record.degraded = record.degraded or landed.degraded
        if landed.quota_remaining is not None and not joined:
            left = record.quota_remaining
            record.quota_remaining = landed.quota_remaining if left is None else min(left, landed.quota_remaining)
        return landed, joined

    async def _go_upstream(
        self, cached: CachePlan, key: CacheKey, query: UpstreamQuery, admission: Admission, looked_seconds: float
    ) -> Landed:
        """Steps 10 to 12, in a task of their own. `looked_seconds` went by with looking into the cache."""
        reservation = await admission.reserve()
        tenant = admission.tenant.id
        try:
            answer = await self._upstream.search(query)
        except asyncio.CancelledError:
            # The end of a drain: whether the vendor bills it is unknown, so the tenant's limit counts it.
            self._settle(tenant, reservation)
            raise
        except Exception as error:
            if isinstance(error, GatewayError) and not error.refunds:
                self._settle(tenant, reservation)
            else:
                reservation.refund()
                if not isinstance(error, GatewayOverloaded):  # Then no connection was free, and nothing was sent.
                    self._usage.today(tenant).upstream_calls += 1
            raise
        self._settle(tenant, reservation)
        expire_time = None
        if cached.writes:
            expire_time = await self._cache.store(key, query.parameters, answer, waited_seconds=looked_seconds)
        return Landed(answer, query.parameters, expire_time, reservation.remaining, reservation.degraded)

    def _settle(self, tenant: str, reservation: Reservation) -> None:
        reservation.settle()
        today = self._usage.today(tenant)
        today.upstream_calls += 1
        today.charged_units += 1
