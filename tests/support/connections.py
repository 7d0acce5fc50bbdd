"""The connections of a test's server: each is known from its first moment on, and none outlives the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_TURNS = 5
"""Of the loop, from the acceptance of a connection to `accept`."""
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Connections:
    """Runs `serve` for each connection. `asyncio.start_server` is given `accept`, which is no coroutine.

    Asyncio starts a coroutine a moment after it has accepted, and in between the end of a server would miss it.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False

    def __len__(self) -> int:
        return len(self._tasks)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._ending:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._run(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not in `_run`, which does not even begin if it is cancelled at once.
        task.add_done_callback(lambda _: writer.close())

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(reader, writer)

    async def end(self, listener: asyncio.Server) -> None:
        """Closes the listener and cancels all that is still served."""
        self._ending = True
        for task in self._tasks:
            task.cancel()
        loop = asyncio.get_running_loop()
        for one in listener.sockets:
            # It accepts no more, and is still open: a connection whose listener is closed before its transport is made
            # is forgotten by Python 3.11, and its socket left to the collector.
            loop.remove_reader(one)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        listener.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A transport is closed in the turn after.
        await asyncio.sleep(0)
