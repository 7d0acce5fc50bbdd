"""Room for request bodies: a number of bytes, lent first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """`capacity` bytes. A body that has arrived takes its room at once; one still unread may wait for it."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """Bodies that wait."""
        return len(self._waiting)

    def has(self, size: int) -> bool:
        """Whether `size` bytes could be taken now without overtaking anyone."""
        return not self._waiting and self.taken + size <= self._capacity

    def take(self, size: int) -> None:
        """Takes `size` bytes whether they are free or not: they are in memory already."""
        self.taken += size

    async def wait(self, size: int) -> None:
        """Takes `size` bytes as soon as they are free. A lone body gets in even if it is larger than all the room."""
        if self.has(size) or self.taken == 0:
            self.taken += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size)
            else:
                self._waiting.remove((size, turn))
                self._admit()
            raise

    def give_back(self, size: int) -> None:
        """Returns `size` bytes and lets in who waits for them."""
        self.taken -= size
        if self._waiting:
            self._admit()

    def _admit(self) -> None:
        while self._waiting and (self.taken + self._waiting[0][0] <= self._capacity or self.taken == 0):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.taken += size
                turn.set_result(None)
