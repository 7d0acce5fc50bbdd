"""Calls that come thick and fast go on together, some at a time.

Between two calls gRPC moves an image through the processor's caches, and whatever runs next finds them cold: alone, a
call's code takes some four times as long as right behind another call's. So in a burst calls wait for those right
behind them, three milliseconds at most, as network drivers moderate interrupts; together they are answered, and then the
answers are sent. Where fewer than one comes in a millisecond, or each only after the last one's answer, none waits. What
it brings is in docs/adr/0010.
"""

from __future__ import annotations

import asyncio
from collections import deque

BURST_CALLS = 32
BURST_SECONDS = 0.032
"""So many calls within this time, or more, are a burst."""
WAIT_SECONDS = 0.003
"""How long the first of a group waits for others at most."""
MOST_TOGETHER = 16
"""So many go on at once, so that nothing else on the event loop waits long for them."""
GROUPS_REMEMBERED = 16
"""A group goes on as soon as it is as large as the largest of so many before it: more were not to be had."""
TRY_SECONDS = 0.25
"""So often one waits all the same, since there may be more callers now."""


class Bursts:
    """Holds back the calls of a burst until some are here."""

    def __init__(self) -> None:
        self._starts = deque([float("-inf")] * BURST_CALLS, BURST_CALLS)
        self._sizes = deque([0], GROUPS_REMEMBERED)
        self._expected = 0
        self._next_try = float("-inf")
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def join(self, started: float) -> asyncio.Future[None] | None:
        """What a call that began at `started` (monotonic) has to await before it goes on; None: nothing."""
        starts = self._starts
        burst = started - starts[0] < BURST_SECONDS
        starts.append(started)
        if not burst:
            return None
        if started >= self._next_try:
            self._next_try = started + TRY_SECONDS
            self._expected = MOST_TOGETHER
        elif self._expected < 2:
            return None
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) >= self._expected:
            self._go_on()
        elif self._timer is None:
            self._timer = loop.call_later(WAIT_SECONDS, self._go_on)
        return turn

    def _go_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        self._sizes.append(len(waiting))
        self._expected = max(self._sizes)
        for turn in waiting:
            # One whose caller gave up is cancelled.
            if not turn.done():
                turn.set_result(None)
