"""Room for request bodies: bytes that tenants share. A body that does not fit waits unread.

Bodies wait in a queue per tenant; the queues take turns, so a tenant with many waiting bodies delays only itself. Within a
queue the order is that of arrival.
"""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.rpc.places import Places


class Room:
    """`capacity` bytes, and a reserve of at least `largest` bytes for tenants that hold few (see `Places`)."""

    def __init__(self, capacity: int, largest: int) -> None:
        """`largest` is the size of the largest body in bytes: what a body counts for until it has arrived."""
        self._places = Places(capacity, reserve=max(largest, capacity // 8))
        self._queues: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}
        self.waiting = 0
        """Bodies that wait."""

    @property
    def capacity(self) -> int:
        """Bytes in all, without the reserve."""
        return self._places.size

    @property
    def taken(self) -> int:
        """Bytes that are taken now."""
        return self._places.taken

    def has(self, tenant: str, size: int) -> bool:
        """Whether `size` bytes could be taken now without overtaking a body of the same tenant."""
        return tenant not in self._queues and self._fits(tenant, size)

    def take(self, tenant: str, size: int) -> None:
        """Takes `size` bytes whether they are free or not."""
        self._places.take(tenant, size)

    async def wait(self, tenant: str, size: int) -> None:
        """Takes `size` bytes as soon as they are free."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append((size, turn))
        self.waiting += 1
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(tenant, size)
            else:
                self._leave(tenant, (size, turn))
                self._let_in()
            raise

    def give_back(self, tenant: str, size: int) -> None:
        """Returns `size` bytes and lets in bodies that wait for them."""
        self._places.give_back(tenant, size)
        if self._queues:
            self._let_in()

    def _fits(self, tenant: str, size: int) -> bool:
        # A body that is larger than all the room gets in alone; it would wait for ever otherwise.
        return self._places.has(tenant, size) or not self._places.taken

    def _let_in(self) -> None:
        """Lets in the first body of each tenant that fits, in turns, until none fits."""
        progress = True
        while progress:
            progress = False
            for tenant in list(self._queues):
                size, turn = self._queues[tenant][0]
                if not self._fits(tenant, size):
                    continue
                self._leave(tenant, (size, turn))
                if not turn.done():
                    self._places.take(tenant, size)
                    turn.set_result(None)
                progress = True

    def _leave(self, tenant: str, entry: tuple[int, asyncio.Future[None]]) -> None:
        queue = self._queues[tenant]
        queue.remove(entry)
        self.waiting -= 1
        # The tenant goes to the end of the turns.
        del self._queues[tenant]
        if queue:
            self._queues[tenant] = queue
