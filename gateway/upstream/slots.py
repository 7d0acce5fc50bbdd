"""At most so many calls to the vendor at once; the rest wait a moment, then are told to come back."""

from __future__ import annotations

import asyncio
from collections import deque
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
        self._size = size
        self._queue: deque[asyncio.Future[None]] = deque()
        self.in_use = 0
        """Places taken now."""

    @property
    def waiting(self) -> int:
        """Calls that wait for a place now."""
        return len(self._queue)

    async def __aenter__(self) -> None:
        if self.in_use < self._size:
            self.in_use += 1
            return
        loop = asyncio.get_running_loop()
        started = loop.time()
        turn: asyncio.Future[None] = loop.create_future()
        self._queue.append(turn)
        timer = loop.call_later(WAIT_SECONDS, _give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on()
            raise
        finally:
            timer.cancel()
            if turn in self._queue:
                self._queue.remove(turn)
            self._waited(loop.time() - started)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        """A place that is given back goes to who has waited longest, without becoming free in between."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_use -= 1


def _give_up(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(GatewayOverloaded(retry_after_seconds=RETRY_AFTER_SECONDS))
