"""One search, from an authenticated caller to an answer. The file to read first: it is the list of its steps.

    resolve the face set · check the deadline · ask upstream

It raises only `GatewayError`. It knows no gRPC and no HTTP.
"""

from __future__ import annotations

from gateway.auth.authorizer import resolve_face_set
from gateway.cache.flights import Flights, wait
from gateway.clock import Clock
from gateway.errors import DeadlineTooShort, UpstreamTimeout
from gateway.model import CacheStatus, Search, SearchAnswer, Tenant, UpstreamAnswer, UpstreamQuery
from gateway.telemetry.record import CallRecord
from gateway.upstream.port import Upstream

# Kept back from the caller's deadline, so that the answer or the error still reaches it.
ANSWER_MARGIN_SECONDS = 0.1


class FaceSearch:
    """Searches faces for tenants."""

    def __init__(self, upstream: Upstream, flights: Flights[UpstreamAnswer], clock: Clock) -> None:
        self._upstream = upstream
        self._flights = flights
        self._clock = clock

    async def __call__(self, tenant: Tenant, search: Search, deadline: float, record: CallRecord) -> SearchAnswer:
        """Answers `search`, at the latest `ANSWER_MARGIN_SECONDS` before `deadline` (monotonic)."""
        image = search.image
        record.image_format, record.image_bytes = image.format.value, len(image.content)
        face_set = resolve_face_set(tenant, search.face_set)
        record.face_set = search.face_set
        query = UpstreamQuery(face_set, image, search.parameters)
        answer = await self._ask_upstream(query, deadline, record)
        return SearchAnswer(answer, search.parameters, CacheStatus.MISS, upstream_calls=1)

    async def _ask_upstream(self, query: UpstreamQuery, deadline: float, record: CallRecord) -> UpstreamAnswer:
        started = self._clock.monotonic()
        remaining = deadline - started - ANSWER_MARGIN_SECONDS
        if remaining <= 0:
            raise DeadlineTooShort
        flight, _ = self._flights.join_or_start(None, lambda: self._upstream.search(query))
        try:
            answer = await wait(flight, remaining)
        except TimeoutError:
            raise UpstreamTimeout("caller_deadline") from None
        finally:
            record.spent("upstream", self._clock.monotonic() - started)
        record.upstream_attempts = answer.attempts
        record.match_count = len(answer.matches)
        return answer
