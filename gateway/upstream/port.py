"""What the search needs of the vendor: one question, one answer."""

from __future__ import annotations

from typing import Protocol

from gateway.model import UpstreamAnswer, UpstreamQuery
from gateway.trip import Trip


class Upstream(Protocol):
    """A face search service. The layers toward the vendor are of this shape too, each around the next.

    `search` ends by itself within the upstream's own time limit. It raises `UpstreamFailure` or `ImageRejected`; without
    a request it raises `GatewayOverloaded` when no connection came free, `DeadlineTooShort` when the answer would come
    too late, and `Cancelled` when nobody waits any more. Callers do not cancel it once it has started: it runs in a task
    of its own, see `cache/flights.py`.
    """

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        """Searches `query.face_set` for the face in `query.image`; counts each request in `trip.attempts`."""
        ...
