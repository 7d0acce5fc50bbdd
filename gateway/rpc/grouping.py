"""While the gateway is busy, calls that come close together go on together.

Between two calls gRPC moves an image through the processor's caches, and whatever runs next finds them cold: alone, a
call's code takes some four times as long as right behind another call's. So while the process is busy calls wait for
those right behind them, three milliseconds at most, as network drivers moderate interrupts; together they are answered,
and then the answers are sent. Where there is processor time to spare, or each call comes only after the last one's
answer, none waits. What it brings is in docs/adr/0010.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

BUSY_SHARE = 0.5
"""Of one processor: a process that used less lately lets every call go on by itself."""
MEASURED_CALLS = 32
"""How often that is measured."""
WAIT_SECONDS = 0.003
"""How long the first of a group waits for others at most."""
MOST_TOGETHER = 16
MOST_BYTES = 4 << 20
"""So many go on at once, with so many bytes, so that nothing else on the event loop waits long for them."""
GROUPS_REMEMBERED = 16
"""A group goes on as soon as it is as large as the largest of so many before it: more were not to be had."""
TRY_SECONDS = 0.25
"""So often one waits all the same, since there may be more callers now."""


class Bursts:
    """Holds back calls of a busy process until some are here. `processor_seconds` is what the process has used so far."""

    def __init__(self, processor_seconds: Callable[[], float] = time.process_time) -> None:
        self._processor_seconds = processor_seconds
        self._busy = False
        self._measured_at = float("-inf")
        self._used = 0.0
        self._unmeasured = 0
        self._sizes = deque([0], GROUPS_REMEMBERED)
        self._expected = 0
        self._next_try = float("-inf")
        self._waiting: list[asyncio.Future[None]] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def join(self, now: float, size: int) -> asyncio.Future[None] | None:
        """What a call that is here `now` (monotonic) has to await before it goes on; None: nothing.

        `size` is that of its body in bytes, as far as it is here.
        """
        self._unmeasured += 1
        if self._unmeasured == MEASURED_CALLS:
            self._measure(now)
        if not self._busy:
            return None
        if now >= self._next_try:
            self._next_try = now + TRY_SECONDS
            self._expected = MOST_TOGETHER
        elif self._expected < 2:
            return None
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        self._bytes += size
        if len(self._waiting) >= self._expected or self._bytes >= MOST_BYTES:
            self._go_on()
        elif self._timer is None:
            self._timer = loop.call_later(WAIT_SECONDS, self._go_on)
        return turn

    def _measure(self, now: float) -> None:
        used = self._processor_seconds()
        self._busy = used - self._used >= BUSY_SHARE * (now - self._measured_at)
        self._used, self._measured_at, self._unmeasured = used, now, 0

    def _go_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        self._sizes.append(len(waiting))
        self._expected = max(self._sizes)
        for turn in waiting:
            # One whose caller gave up is cancelled.
            if not turn.done():
                turn.set_result(None)
