"""Searches in flight: each runs in a task of its own, identical ones share it.

A caller that gives up, times out or is cancelled leaves only its place at the task; the task runs to its own end, so
that what was sent upstream (and is billed) still fills the cache, and no HTTP call is cancelled half-way. Stands
between `search.py` and what a search does; knows nothing of tenants, images or answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from gateway.errors import GatewayOverloaded

T = TypeVar("T")


class Flights(Generic[T]):
    """Detached tasks; those with a key can be found and joined while they run."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[T]] = set()
        self._by_key: dict[Hashable, asyncio.Task[T]] = {}

    def __len__(self) -> int:
        """Tasks that run now."""
        return len(self._tasks)

    def find(self, key: Hashable) -> asyncio.Task[T] | None:
        """The task in flight under `key`: the one started last, if there are several."""
        return self._by_key.get(key)

    def start(self, key: Hashable | None, start: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """A new task, found under `key` from now on; without a key never found.

        Wait for it with `wait`, never with a bare `await`, which would pass a cancellation on to it.
        """
        task = asyncio.create_task(start())
        self._tasks.add(task)
        if key is not None:
            self._by_key[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))
        return task

    def join_or_start(
        self, key: Hashable | None, start: Callable[[], Coroutine[Any, Any, T]]
    ) -> tuple[asyncio.Task[T], bool]:
        """The task of `key`, and whether it was already in flight; without a key always a new one."""
        task = self.find(key) if key is not None else None
        if task is not None:
            return task, True
        return self.start(key, start), False

    def _ended(self, key: Hashable | None, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if key is not None and self._by_key.get(key) is task:
            del self._by_key[key]
        if not task.cancelled():
            # Marks the exception as seen: with every caller gone nobody else would, and asyncio would print it.
            task.exception()

    async def drain(self, timeout_seconds: float) -> None:
        """Waits for what is in flight; what is left after `timeout_seconds` is cancelled."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout_seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)


async def wait(task: asyncio.Task[T], timeout_seconds: float) -> T:
    """The task's result. Raises `TimeoutError` after `timeout_seconds`; the task runs on whatever happens here.

    A task that was cancelled from elsewhere (the end of a drain) raises `GatewayOverloaded`: a `CancelledError` that
    nobody sent to the caller would leave its call without any status.
    """
    # What `asyncio.wait` does, for one task and at half its cost.
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(timeout_seconds, wake)
    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
        task.remove_done_callback(wake)
    if not task.done():
        raise TimeoutError
    if task.cancelled():
        raise GatewayOverloaded
    return task.result()
