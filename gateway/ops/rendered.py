"""A text that many may ask for and that is made at most once at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from gateway.aio import WouldWait, at_once
from gateway.clock import Clock
from gateway.telemetry.instruments import Collected
from gateway.telemetry.prometheus import exposition

BURST = 20
PER_SECOND = 5.0
_STRETCH_SECONDS = 0.004


class Rendered:
    """Bytes that are made when they are wanted, `PER_SECOND` times a second once a burst of `BURST` is used up.

    Who comes oftener gets the last ones. So a flood costs a few per cent of the processor, since the largest page takes
    10 ms, while a scrape at the usual pace sees the figures of its own moment.
    """

    def __init__(
        self, render: Callable[[], Coroutine[Any, Any, bytes]], clock: Clock, *, one_step: bool = False
    ) -> None:
        """`one_step`: `render` often needs no wait, and can then be begun again if it does."""
        self._one_step = one_step
        self._render = render
        self._clock = clock
        self._left = float(BURST)
        self._counted_at = clock.monotonic()
        self._bytes: bytes | None = None
        self._making: asyncio.Task[bytes] | None = None

    async def __call__(self) -> bytes:
        """The bytes. Raises what `render` raises; the next call tries again."""
        if self._making is None:
            if self._bytes is not None and not self._may_render():
                return self._bytes
            if self._one_step:
                # On a blocked event loop, which the page has to show, each further step would take long.
                with suppress(WouldWait):
                    self._bytes = at_once(self._render())
                    return self._bytes
            self._making = asyncio.create_task(self._make())
        # The reader who came first may leave; the others wait for the same render.
        return await asyncio.shield(self._making)

    def close(self) -> None:
        """Gives up a render that is under way."""
        if self._making is not None:
            self._making.cancel()

    def _may_render(self) -> bool:
        now = self._clock.monotonic()
        self._left = min(BURST, self._left + (now - self._counted_at) * PER_SECOND)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    async def _make(self) -> bytes:
        try:
            self._bytes = made = await self._render()
        finally:
            self._making = None
        return made


async def metrics_page(collect: Callable[[], Iterable[Collected]]) -> bytes:
    """The page of `/metrics`. Calls get their turn every few milliseconds: the whole page can take some 10 ms.

    Not after each metric: on an event loop that is blocked, which this page has to show, each turn takes long.
    """
    parts = []
    resumed = time.perf_counter()
    for collected in collect():
        parts.append(exposition((collected,)))
        if time.perf_counter() - resumed >= _STRETCH_SECONDS:
            await asyncio.sleep(0)
            resumed = time.perf_counter()
    return "".join(parts).encode()
