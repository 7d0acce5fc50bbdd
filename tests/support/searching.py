"""The use case without gRPC and HTTP: searches with real quotas, cache, flights and places, at a vendor that a test makes."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

from gateway.cache.flights import Flights
from gateway.cache.memory import MemoryCacheStore
from gateway.cache.sharing import SharedSearches
from gateway.clock import Clock, SystemClock
from gateway.errors import GatewayError, Reason
from gateway.model import (
    CacheControl,
    Image,
    ImageFormat,
    Limits,
    Search,
    SearchAnswer,
    SearchParameters,
    Tenant,
    UpstreamAnswer,
    UpstreamQuery,
)
from gateway.place import NO_PLACE, Place
from gateway.quota.build import Quota, build_quota
from gateway.quota.search_count import count_search
from gateway.quota.usage import Figures
from gateway.search import FaceSearch, Landed
from gateway.telemetry.record import CallRecord
from gateway.trip import Trip
from gateway.upstream.client import UpstreamClient
from gateway.upstream.port import Upstream
from gateway.upstream.slots import Slots
from tests.support.cache import result_cache
from tests.support.upstream import ANSWER

PARAMETERS = SearchParameters(0.8, 1, 1_690_000_000)
"""Of every search, unless a test says otherwise."""


class SlowVendor:
    """Each search is one request, and takes `seconds`. `most` is how many it had at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.requests = 0
        self.in_flight = 0
        self.most = 0

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        trip.sending()
        self.requests += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        return ANSWER


def places_before(vendor: Upstream, size: int, clock: Clock | None = None) -> UpstreamClient:
    """The way to such a vendor: so many places, with their queue."""
    return UpstreamClient(vendor, Slots(size, clock or SystemClock()), 10.0)


@dataclass
class Desk:
    """Searches at `upstream` for tenants."""

    upstream: Upstream
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        self.flights: Flights[Landed] = Flights()
        self.quota: Quota = build_quota("memory://", clock=self.clock, on_store_failure="share")
        self.cache = result_cache(MemoryCacheStore(self.clock, 1 << 20), self.clock)
        self.search = FaceSearch(
            usage=self.quota.usage,
            cache=self.cache,
            searches=SharedSearches(self.flights),
            upstream=self.upstream,
            clock=self.clock,
        )
        self._numbers = itertools.count()

    def photo(self) -> bytes:
        """One that was never searched."""
        return b"photo %d" % next(self._numbers)

    def usage(self, tenant: str = "kyc") -> Figures:
        """What the tenant did."""
        return self.quota.usage.today(tenant)

    async def __call__(
        self,
        photo: bytes | None = None,
        *,
        who: str | Tenant = "kyc",
        deadline_seconds: float = 30.0,
        control: CacheControl | None = None,
        parameters: SearchParameters = PARAMETERS,
        record: CallRecord | None = None,
        place: Place = NO_PLACE,
        face_set: str = "staff",
    ) -> SearchAnswer:
        """One call, as `rpc/service.py` makes it."""
        tenant = who if isinstance(who, Tenant) else tenant_of(who)
        image = Image(photo if photo is not None else self.photo(), ImageFormat.JPEG, 640, 480)
        asked = Search(face_set, image, parameters, control or CacheControl())
        record = record or CallRecord("/Search", "id", self.clock.monotonic())
        deadline = self.clock.monotonic() + deadline_seconds
        reason = ""
        try:
            with await self.quota.gate.admit(tenant) as admission:
                answer = await self.search(admission, asked, deadline, record, place)
            record.cache_status = answer.cache_status
        except BaseException as error:
            reason = error.reason if isinstance(error, GatewayError) else Reason.CANCELLED
            raise
        finally:
            count_search(self.quota.usage, tenant.id, reason=reason, cache_status=record.cache_status)
        return answer


def tenant_of(name: str, **limits: Any) -> Tenant:
    """A tenant with a face set; `limits` as for `Limits`."""
    return Tenant(name, face_sets={"staff": f"{name}-staff"}, limits=Limits(**limits))
