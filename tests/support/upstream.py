"""An upstream without a network: answers what it is told to, when it is told to."""

from __future__ import annotations

import asyncio

from gateway.errors import GatewayOverloaded
from gateway.model import Match, Outcome, UpstreamAnswer, UpstreamQuery
from gateway.trip import Trip

MATCH = Match(person_id=1, face_id=435449455488008194, score=0.985, create_time=1669077702)
ANSWER = UpstreamAnswer((MATCH,), Outcome.MATCHED, "TID8bf47ab6eda64476973cc5f5b6ebf57e")


class FakeUpstream:
    """Answers each search with `answer`, or raises it if it is an exception; while `hold` is cleared, searches wait.

    Each search is one request, except one that ends in `GatewayOverloaded`: it found no connection.
    """

    def __init__(self, answer: UpstreamAnswer | Exception = ANSWER) -> None:
        self.answer = answer
        self.queries: list[UpstreamQuery] = []
        self.in_flight = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        if not isinstance(self.answer, GatewayOverloaded):
            trip.sending()
        self.queries.append(query)
        self.in_flight += 1
        try:
            await self.hold.wait()
        finally:
            self.in_flight -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer
