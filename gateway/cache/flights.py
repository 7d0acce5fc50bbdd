"""Work in flight: each piece runs in a task of its own, identical pieces are shared.

A caller that gives up, times out or is cancelled leaves only its place at the flight. The flight runs to its own end, so
that what was sent upstream (and is billed) still fills the cache, and no HTTP call is cancelled half-way. Stands
between `search.py` and what a search does; knows nothing of tenants, images or answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from gateway.errors import GatewayOverloaded

T = TypeVar("T")


def ignore() -> None:
    """Does nothing when a flight has ended."""


class Flight(Generic[T]):
    """One piece of work in flight. Wait for it with `wait`."""

    __slots__ = ("_landed", "task", "waiters")

    def __init__(self, fly: Coroutine[Any, Any, T], landed: Callable[[Flight[T]], None]) -> None:
        self._landed = landed
        # Futures of this flight's own: to remove a callback from a task is linear in their number, so that callers of one
        # flight that time out together would cost the square of it.
        self.waiters: set[asyncio.Future[None]] = set()
        # Not to be awaited as it is, which would pass a caller's cancellation on to the work.
        self.task = asyncio.create_task(fly)
        self.task.add_done_callback(self._ended)

    @property
    def failed(self) -> bool:
        """Whether it has ended without a result."""
        return self.task.done() and (self.task.cancelled() or self.task.exception() is not None)

    def _ended(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            # Marks the exception as seen: with every caller gone nobody else would, and asyncio would print it.
            task.exception()
        self._landed(self)
        for waiter in self.waiters:
            _wake(waiter)


class Flights(Generic[T]):
    """Flights of one kind; those with a key can be found and joined while they fly."""

    def __init__(self) -> None:
        self._flights: set[Flight[T]] = set()
        self._by_key: dict[Hashable, Flight[T]] = {}

    def __len__(self) -> int:
        """Flights in the air now."""
        return len(self._flights)

    def find(self, key: Hashable) -> Flight[T] | None:
        """The flight under `key`: the one started last, if there are several.

        An ended failure is not found: a call that comes right after it has not tried yet.
        """
        flight = self._by_key.get(key)
        return None if flight is None or flight.failed else flight

    def start(
        self,
        key: Hashable | None,
        start: Callable[[], Coroutine[Any, Any, T]],
        on_landed: Callable[[], None] = ignore,
    ) -> Flight[T]:
        """A new flight, found under `key` from now on; without a key never found.

        `on_landed` is called once when it has ended, however it ended, even if it was cancelled before it began.
        """

        def landed(flight: Flight[T]) -> None:
            self._flights.discard(flight)
            if key is not None and self._by_key.get(key) is flight:
                del self._by_key[key]
            on_landed()

        flight = Flight(start(), landed)
        self._flights.add(flight)
        if key is not None:
            self._by_key[key] = flight
        return flight

    def join_or_start(
        self, key: Hashable | None, start: Callable[[], Coroutine[Any, Any, T]]
    ) -> tuple[Flight[T], bool]:
        """The flight of `key`, and whether it was already in flight; without a key always a new one."""
        flight = self.find(key) if key is not None else None
        if flight is not None:
            return flight, True
        return self.start(key, start), False

    async def drain(self, timeout_seconds: float) -> None:
        """Waits for what is in flight; what is left after `timeout_seconds` is cancelled."""
        tasks = {flight.task for flight in self._flights}
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout_seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)


async def wait(flight: Flight[T], timeout_seconds: float) -> T:
    """The flight's result. Raises `TimeoutError` after `timeout_seconds`; the flight goes on whatever happens here.

    A flight that was cancelled from elsewhere (the end of a drain) raises `GatewayOverloaded`: a `CancelledError` that
    nobody sent to the caller would leave its call without any status.
    """
    task = flight.task
    if not task.done():
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(timeout_seconds, _wake, waiter)
        flight.waiters.add(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            flight.waiters.discard(waiter)
        if not task.done():
            raise TimeoutError
    if task.cancelled():
        raise GatewayOverloaded
    return task.result()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
