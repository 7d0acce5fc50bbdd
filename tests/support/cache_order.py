"""A naive model of what a cache may serve: it remembers every answer that ever landed, and forgets none.

Time, the face set and the order in which answers land are the test's. A vendor that answers slowly gives what was true
when the question was sent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

from gateway.cache import coverage
from gateway.cache.key import CacheKey
from gateway.cache.results import Absent, CachedAnswer, ResultCache
from gateway.model import Match, Outcome, SearchParameters, UpstreamAnswer
from tests.support.clock import ManualClock

QUESTIONS = [SearchParameters(*bounds) for bounds in product([0.5, 0.7, 0.9], [1, 2, 10], [10, 12])]
FACES = [Match(n, 1000 + n, 0.5 + n / 20, enrolled) for n, enrolled in enumerate([10, 14, 11, 13, 12, 10, 14, 12, 11])]
"""No two have the same score, so there is one answer to each question."""
FLIGHT_SECONDS = 15.0


def brute_force(face_set: list[Match], asked: SearchParameters) -> UpstreamAnswer:
    """What the vendor does, by its page."""
    qualifying = [f for f in face_set if f.score >= asked.threshold and f.create_time >= asked.start_time]
    best = tuple(sorted(qualifying, key=lambda face: -face.score)[: asked.max_results])
    return UpstreamAnswer(best, Outcome.MATCHED if best else Outcome.NO_MATCH, "TID")


@dataclass
class Flight:
    """A question at the vendor, and the answer that is on its way."""

    asked_at: float
    asked: SearchParameters
    answer: UpstreamAnswer
    key: CacheKey
    landed_at: float = 0.0
    landed_on: int = 0

    def serves(self, request: SearchParameters) -> UpstreamAnswer | None:
        return coverage.serve(self.asked, self.answer, request)

    def contradicts(self, other: Flight) -> bool:
        """Whether some request has two answers. Tried out, without the rule that the cache uses."""
        for number, mine in enumerate(self.answers):
            theirs = other.answers[number]
            if mine is not None and theirs is not None and mine != theirs:
                return True
        return False

    @cached_property
    def answers(self) -> list[tuple[Match, ...] | None]:
        """What it serves to each question."""
        served = [self.serves(request) for request in QUESTIONS]
        return [None if answer is None else answer.matches for answer in served]


@dataclass
class OrderModel:
    """The vendor, and all that landed since the last purge. `replicas` share one store; 2 s is how far apart they may be."""

    clock: ManualClock
    replicas: list[ResultCache]
    behind_seconds: float = 0.0
    face_set: list[Match] = field(default_factory=lambda: list(FACES[:4]))
    flights: list[Flight] = field(default_factory=list)
    landed: list[Flight] = field(default_factory=list)
    hits: int = 0

    def ask(self, replica: int, asked: SearchParameters) -> None:
        """Sends a question; it lands when the test says."""
        key = self.replicas[replica].key("kyc", "employees", b"a photo")
        answer = brute_force(self.face_set, asked)
        self.flights.append(Flight(self.clock.monotonic(), asked, answer, key))

    async def land(self, replica: int, number: int) -> Flight | None:
        """The answer of a flight arrives, on the replica that the test names; None if there is no flight."""
        if not self.flights:
            return None
        flight = self.flights.pop(number % len(self.flights))
        if self.clock.monotonic() - flight.asked_at > FLIGHT_SECONDS:
            return None
        await self.replicas[replica].store(flight.key, flight.asked, flight.answer, asked_at=flight.asked_at)
        cache = self.replicas[replica]
        # On a starved machine the store may be unavailable for a moment; then nothing is kept.
        if cache.available() and flight.key == cache.key("kyc", "employees", b"a photo"):
            flight.landed_at, flight.landed_on = self.clock.monotonic(), replica
            self.landed.append(flight)
        return flight

    async def look(self, replica: int, request: SearchParameters, max_age: float | None = None) -> bool:
        """Looks a request up and checks what is served; whether anything was."""
        cache = self.replicas[replica]
        key = cache.key("kyc", "employees", b"a photo")
        found: CachedAnswer | Absent | None = cache.peek(key, request, max_age)
        if found is None:
            found = await cache.fetch(key, request, max_age)
        if not isinstance(found, CachedAnswer):
            return False
        self.hits += 1
        assert max_age is None or found.age_seconds <= max_age
        asked_at = self.clock.monotonic() - found.age_seconds
        source = [f for f in self.landed if abs(f.asked_at - asked_at) < 1e-3 and self._gives(f, request, found)]
        assert source, "what is served never landed since the purge, or is as old as no answer"
        for flight in self._seen(replica):
            if flight.asked_at > asked_at + 1e-3:
                assert flight.serves(request) is None, "a newer answer covers the request"
                assert not all(flight.contradicts(one) for one in source), "a newer answer contradicts what is served"
        return True

    def _gives(self, flight: Flight, request: SearchParameters, found: CachedAnswer) -> bool:
        served = flight.serves(request)
        return served is not None and served.matches == found.answer.matches

    def _seen(self, replica: int) -> list[Flight]:
        """What the replica has to know of: all but what landed on another one a moment ago."""
        limit = self.clock.monotonic() - self.behind_seconds
        return [f for f in self.landed if f.landed_on == replica or f.landed_at <= limit]

    def newest_answer(self, flight: Flight) -> bool:
        """Whether no later question has landed."""
        return all(other.asked_at <= flight.asked_at for other in self.landed)

    def purged(self) -> None:
        """Nothing that landed may be served any more."""
        self.landed.clear()

    def change(self, shuffle: random.Random) -> None:
        """Somebody is enrolled or removed."""
        self.face_set = shuffle.sample(FACES, shuffle.randrange(len(FACES) + 1))
