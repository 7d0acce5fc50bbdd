"""The connections of a test's server: each is known from its first moment on, and none outlives the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_TURNS = 5
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Connections:
    """Runs `serve` for each connection. `asyncio.start_server` is given `accept`, which is no coroutine.

    Asyncio starts a coroutine a moment after it has accepted, and in between the end of a server would miss it.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._run(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not in `_run`, which does not even begin if it is cancelled at once.
        task.add_done_callback(lambda _: writer.close())

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(reader, writer)

    async def end(self) -> None:
        """Cancels all that is still served. To be called once the listener is closed."""
        # What it accepted just before reaches `accept` only in one of the loop's next turns.
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A transport is closed in the turn after.
        await asyncio.sleep(0)
