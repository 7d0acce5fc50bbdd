"""At most so many calls to the vendor at once; the rest wait a moment, then are told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from gateway.errors import GatewayOverloaded

# A call takes some 300 ms at the vendor, so in this time most of the pool comes free: a burst of nearly twice its size
# gets through. Whoever still waits then waits for a slow vendor, and is better served by another replica.
WAIT_SECONDS = 0.25
RETRY_AFTER_SECONDS = 1.0


def nobody(seconds: float) -> None:
    """Listens to waits, and does nothing."""


class Slots:
    """A pool of `size` places, taken by `async with`. Raises `GatewayOverloaded` after `WAIT_SECONDS` without one."""

    def __init__(self, size: int, waited: Callable[[float], None] = nobody) -> None:
        """`waited` is told how many seconds each call that had to wait did so."""
        self._waited = waited
        self._in_use = 0
        self.waiting = 0
        """Calls that wait for a place now."""
        self._free = asyncio.Semaphore(size)

    @property
    def in_use(self) -> int:
        """Places taken now."""
        return self._in_use

    async def __aenter__(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            self._in_use += 1
            return
        full = False
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            full = True
        finally:
            self.waiting -= 1
            self._waited(loop.time() - started)
        if full:
            raise GatewayOverloaded(retry_after_seconds=RETRY_AFTER_SECONDS)
        self._in_use += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_use -= 1
        self._free.release()
