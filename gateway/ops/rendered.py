"""A text that many may ask for and that is made at most once at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from gateway.clock import Clock
from gateway.telemetry.instruments import Collected
from gateway.telemetry.prometheus import exposition

KEPT_SECONDS = 1.0


class Rendered:
    """Bytes that are made when they are wanted and served again for `KEPT_SECONDS`, so that a flood costs one render."""

    def __init__(self, render: Callable[[], Awaitable[bytes]], clock: Clock) -> None:
        self._render = render
        self._clock = clock
        self._until = float("-inf")
        self._bytes = b""
        self._making: asyncio.Task[bytes] | None = None

    async def __call__(self) -> bytes:
        """The bytes. Raises what `render` raises; the next call tries again."""
        if self._clock.monotonic() < self._until:
            return self._bytes
        if self._making is None:
            self._making = asyncio.create_task(self._make())
        # The reader who came first may leave; the others wait for the same render.
        return await asyncio.shield(self._making)

    def close(self) -> None:
        """Gives up a render that is under way."""
        if self._making is not None:
            self._making.cancel()

    async def _make(self) -> bytes:
        try:
            # Counted from the beginning: what the bytes show is as old as that.
            began = self._clock.monotonic()
            self._bytes = await self._render()
            self._until = began + KEPT_SECONDS
        finally:
            self._making = None
        return self._bytes


async def metrics_page(collect: Callable[[], Iterable[Collected]]) -> bytes:
    """The page of `/metrics`. Calls get their turn between two metrics: the whole page can take some 10 ms."""
    parts = []
    for collected in collect():
        parts.append(exposition((collected,)))
        await asyncio.sleep(0)
    return "".join(parts).encode()
