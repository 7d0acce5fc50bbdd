"""Places toward the vendor: a fixed number of searches at once; the rest wait a moment, in turn between tenants."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from gateway.clock import Clock
from gateway.errors import Cancelled, DeadlineTooShort, GatewayError, GatewayOverloaded
from gateway.trip import Trip, ignore
from gateway.upstream.latency import Latency
from gateway.upstream.timer import Timer

# A call takes some 300 ms at the vendor, so in this time most of the pool comes free: a burst of nearly twice its size
# gets through. Whoever still waits then waits for a slow vendor, and is better served by another replica.
WAIT_SECONDS = 0.25
RETRY_AFTER_SECONDS = 1.0
# One hopeless search in so many is sent all the same: the vendor may have become faster, and nothing else would find out.
PROBE_EVERY = 5

_Turn = asyncio.Future[None]


def ignore_wait(seconds: float) -> None:
    """Does nothing with the time of a wait."""


class _Queue:
    """Searches that wait, by turn between tenants."""

    def __init__(self) -> None:
        # The first tenant's turn it is. A tenant's searches by arrival; in an ordered dictionary, since those that give
        # up leave from the middle.
        self._tenants: OrderedDict[str, OrderedDict[_Turn, Trip]] = OrderedDict()
        self.length = 0

    def add(self, turn: _Turn, trip: Trip) -> None:
        """The last of its tenant; a tenant without any other comes after all others."""
        self._tenants.setdefault(trip.tenant, OrderedDict())[turn] = trip
        self.length += 1

    def remove(self, turn: _Turn, trip: Trip) -> None:
        """Takes a search out, unless it has been popped."""
        searches = self._tenants.get(trip.tenant)
        if searches is not None and searches.pop(turn, None) is not None:
            self._shrunk(trip.tenant, searches)

    def pop(self) -> tuple[_Turn, Trip] | None:
        """Takes out the next search; its tenant's turn goes on until `end_turn`."""
        if not self._tenants:
            return None
        tenant, searches = next(iter(self._tenants.items()))
        first = searches.popitem(last=False)
        self._shrunk(tenant, searches)
        return first

    def end_turn(self, tenant: str) -> None:
        """A search of the tenant was served: the others come first now."""
        if tenant in self._tenants:
            self._tenants.move_to_end(tenant)

    def _shrunk(self, tenant: str, searches: OrderedDict[_Turn, Trip]) -> None:
        self.length -= 1
        if not searches:
            del self._tenants[tenant]


class Slots:
    """`size` places toward the vendor. `take` one, then `give_back` it.

    Searches that wait are served in turn between tenants, so that one tenant's many do not stop another's one; within a
    tenant the first comes first. A search leaves the queue when nobody waits for it any more, when its answer would
    come after its deadline, or after `WAIT_SECONDS`. `on_wait` is called with the seconds that a search waited.
    """

    def __init__(self, size: int, clock: Clock, on_wait: Callable[[float], None] = ignore_wait) -> None:
        self._size = size
        self._now = clock.monotonic
        self._on_wait = on_wait
        self._latency = Latency()
        self._hopeless = 0
        self._queue = _Queue()
        self.in_use = 0
        """Places taken now."""

    @property
    def waiting(self) -> int:
        """Searches that wait for a place now."""
        return self._queue.length

    async def take(self, trip: Trip) -> float:
        """Takes a place; returns the moment (monotonic) since which it is held.

        Raises `GatewayOverloaded` if no place came free in time, `DeadlineTooShort` if the vendor would answer too late
        although a place is free, and `Cancelled` if nobody waits for the search any more.
        """
        trip.require_wanted()
        now = self._now()
        if self.in_use < self._size:
            if not self._is_worth_a_place(trip, now):
                raise DeadlineTooShort
            self.in_use += 1
            return now
        await self._wait(trip)
        return self._now()

    def give_back(self, trip: Trip, held_since: float) -> None:
        """Returns a place. It goes on to the next search without becoming free in between, so that nobody overtakes."""
        now = self._now()
        if trip.attempts:
            self._latency.add(now - held_since, now)
        if self._queue.length:
            self._pass_on(now)
        else:
            self.in_use -= 1

    async def _wait(self, trip: Trip) -> None:
        loop = asyncio.get_running_loop()
        started = self._now()
        turn: _Turn = loop.create_future()
        self._queue.add(turn, trip)
        timer = Timer(loop, WAIT_SECONDS, lambda: _refuse(turn, _overloaded()))
        trip.on_abandoned = lambda: _refuse(turn, Cancelled())
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(self._now())
            raise
        finally:
            timer.cancel()
            trip.on_abandoned = ignore
            self._queue.remove(turn, trip)
            self._on_wait(self._now() - started)

    def _pass_on(self, now: float) -> None:
        late: list[tuple[_Turn, Trip]] = []
        chosen: _Turn | None = None
        while chosen is None and (waiter := self._queue.pop()) is not None:
            turn, trip = waiter
            if turn.done():
                continue
            if trip.deadline - now < self._latency.usual_seconds(now):
                late.append(waiter)
            else:
                chosen = turn
                self._queue.end_turn(trip.tenant)
        for turn, trip in late:
            # Where nobody else wants the place, a search that is likely to be late takes it from nobody.
            if chosen is None and self._is_worth_a_place(trip, now):
                chosen = turn
            else:
                _refuse(turn, _overloaded())
        if chosen is None:
            self.in_use -= 1
        else:
            chosen.set_result(None)

    def _is_worth_a_place(self, trip: Trip, now: float) -> bool:
        """Whether a search that has no rival is sent: if a fast answer comes in time, and now and then anyway."""
        if trip.deadline - now >= self._latency.fast_seconds(now):
            return True
        self._hopeless += 1
        return self._hopeless % PROBE_EVERY == 1


def _overloaded() -> GatewayOverloaded:
    return GatewayOverloaded(retry_after_seconds=RETRY_AFTER_SECONDS)


def _refuse(turn: _Turn, error: GatewayError) -> None:
    if not turn.done():
        turn.set_exception(error)
