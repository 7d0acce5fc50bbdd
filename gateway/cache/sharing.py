"""Which search in flight may answer a call: the rules by which identical searches make one upstream call.

Two calls are identical when they have the same cache key, threshold and number of results, and the same start time but
for the seconds by which an absent one moves with the clock. A flight that was asked with a start time a little earlier
finds all that the later call wants; `coverage.serve` then cuts its answer to the call, or says (rarely: a full answer
that held a face enrolled in just those seconds) that the call has to search again. Stands between `search.py` and
`flights.py`; knows nothing of quotas or the vendor.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from gateway.cache.control import CachePlan
from gateway.cache.flights import Flight, Flights, ignore, wait
from gateway.cache.key import CacheKey
from gateway.model import SearchParameters
from gateway.trip import Trip

T = TypeVar("T")

JOIN_WINDOW_SECONDS = 60
"""How much earlier the start time of a joined flight may be: longer than any flight, short enough to cut little."""


class SharedSearch(Generic[T]):
    """A search in flight, with the trip that its callers and the layers toward the vendor share."""

    __slots__ = ("flight", "start_time", "trip")

    def __init__(self, flight: Flight[T], trip: Trip, start_time: int) -> None:
        self.flight = flight
        self.trip = trip
        self.start_time = start_time

    @property
    def joinable(self) -> bool:
        """Whether another caller may join. A search that nobody waited for before it was sent is not sent any more."""
        return self.trip.wanted or self.trip.attempts > 0 or self.flight.task.done()

    async def wait(self, until: float, now: float) -> T:
        """What the search brings. Raises `TimeoutError` at `until` (monotonic; `now` is the present moment)."""
        self.trip.join(until)
        try:
            return await wait(self.flight, until - now)
        finally:
            self.trip.leave()


class SharedSearches(Generic[T]):
    """Starts searches as flights, and finds the one that a call may share."""

    def __init__(self, flights: Flights[T]) -> None:
        self._flights = flights
        self._searches: dict[Flight[T], SharedSearch[T]] = {}

    def join(
        self, plan: CachePlan, key: CacheKey, asked: SearchParameters, *, newer_than: float | None = None
    ) -> SharedSearch[T] | None:
        """The search in flight for a call that is about to ask the vendor for `asked`; None: the call starts one.

        `newer_than` (monotonic): a search that set out earlier is too old for the call.
        """
        if not plan.joins:
            return None
        flight = self._flights.find(_identity(key, asked))
        search = self._searches.get(flight) if flight is not None else None
        if search is None or not search.joinable:
            return None
        if newer_than is not None and search.trip.asked_at < newer_than:
            return None
        return search if 0 <= asked.start_time - search.start_time <= JOIN_WINDOW_SECONDS else None

    def start(
        self,
        plan: CachePlan,
        key: CacheKey,
        asked: SearchParameters,
        trip: Trip,
        fly: Callable[[], Coroutine[Any, Any, T]],
        on_landed: Callable[[], None] = ignore,
    ) -> SharedSearch[T]:
        """A new search, which later calls find instead of an older one. A call whose plan does not write shares nothing.

        `on_landed` is as for `Flights.start`.
        """
        if not plan.writes:
            return SharedSearch(self._flights.start(None, fly, on_landed), trip, asked.start_time)

        def landed() -> None:
            del self._searches[flight]
            on_landed()

        flight = self._flights.start(_identity(key, asked), fly, landed)
        search = self._searches[flight] = SharedSearch(flight, trip, asked.start_time)
        return search


def _identity(key: CacheKey, asked: SearchParameters) -> Hashable:
    return key, asked.threshold, asked.max_results
