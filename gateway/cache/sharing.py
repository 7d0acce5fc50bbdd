"""Which search in flight may answer a call: the rules by which identical searches make one upstream call.

Two calls are identical when they have the same cache key, threshold and number of results, and the same start time but
for the seconds by which an absent one moves with the clock. A flight that was asked with a start time a little earlier
finds all that the later call wants; `coverage.serve` then cuts its answer to the call, or says (rarely: a full answer
that held a face enrolled in just those seconds) that the call has to search for itself. Stands between `search.py` and
`flights.py`; knows nothing of quotas or the vendor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from gateway.cache.control import CachePlan
from gateway.cache.flights import Flights
from gateway.cache.key import CacheKey
from gateway.model import SearchParameters

T = TypeVar("T")

JOIN_WINDOW_SECONDS = 60
"""How much earlier the start time of a joined flight may be: longer than any flight, short enough to cut little."""


class SharedSearches(Generic[T]):
    """Starts searches as flights, and finds the flight that a call may share."""

    def __init__(self, flights: Flights[T]) -> None:
        self._flights = flights
        self._start_times: dict[asyncio.Task[T], int] = {}

    def join_or_start(
        self, plan: CachePlan, key: CacheKey, asked: SearchParameters, start: Callable[[], Coroutine[Any, Any, T]]
    ) -> tuple[asyncio.Task[T], bool]:
        """The flight for a call that is about to ask the vendor for `asked`, and whether it was already in flight.

        A call whose plan does not join starts a new flight, which later calls find instead of the older one. A call
        whose plan does not write shares nothing. Call it without an `await` between it and `ResultCache.lookup`: what
        landed before the lookup ended is in the cache, what lands later is still in flight here.
        """
        identity: Hashable = (key, asked.threshold, asked.max_results)
        if plan.joins:
            task = self._flights.find(identity)
            if task is not None:
                earlier_by = asked.start_time - self._start_times.get(task, asked.start_time)
                if 0 <= earlier_by <= JOIN_WINDOW_SECONDS:
                    return task, True
        task = self._flights.start(identity if plan.writes else None, start)
        if plan.writes:
            self._start_times[task] = asked.start_time
            task.add_done_callback(self._forget)
        return task, False

    def _forget(self, task: asyncio.Task[T]) -> None:
        self._start_times.pop(task, None)
