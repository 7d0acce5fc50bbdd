"""How late this process's event loop is: what a busy machine adds to every time that is measured in it.

A promise of so many milliseconds is held against the time measured less what the loop was late meanwhile, so that it
need not be loosened for a machine whose processors others use as well. The lateness of other processes, such as a store
or a gateway, is not seen here: a test that waits for one of them asserts its times with `@pytest.mark.timed`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

_TICK_SECONDS = 0.001
_USUAL_SECONDS = 0.001


class Lateness:
    """`seconds` adds up how late ticks came, those of usual lateness left out; `longest_seconds` is the longest stall."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.longest_seconds = 0.0

    async def watch(self) -> None:
        """Ticks until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            late = loop.time() - due
            if late > _USUAL_SECONDS:
                self.seconds += late
                self.longest_seconds = max(self.longest_seconds, late)

    async def settled(self) -> float:
        """The lateness up to now, a tick that is due already included."""
        for _ in range(3):
            await asyncio.sleep(0)
        return self.seconds


@contextlib.asynccontextmanager
async def lateness() -> AsyncIterator[Lateness]:
    """Watches the running loop."""
    watched = Lateness()
    task = asyncio.create_task(watched.watch())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
