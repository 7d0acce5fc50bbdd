"""A time limit that a late event loop does not shorten.

When the loop was busy, the timer and what it waited for are due at once, and uvloop runs timers before it reads sockets:
a vendor's answer that came in time would be thrown away. So a timer that fires late lets the loop look around first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

# A timer that fires later than this was held up by the loop.
LATE_SECONDS = 0.02
# So long the loop has to read what came in meanwhile. Under a steady load of callbacks it needs more than one turn.
LOOK_SECONDS = 0.05


class Timer:
    """Calls `fire` after `seconds`, once; later if the event loop was late for it."""

    __slots__ = ("_due", "_fire", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, fire: Callable[[], None]) -> None:
        self._loop = loop
        self._fire = fire
        self._due = loop.time() + seconds
        self._handle = loop.call_later(seconds, self._is_due)

    def cancel(self) -> None:
        """Calls nothing any more."""
        self._handle.cancel()

    def _is_due(self) -> None:
        if self._loop.time() - self._due > LATE_SECONDS:
            self._handle = self._loop.call_later(LOOK_SECONDS, self._fire)
        else:
            self._fire()


class TimeLimit:
    """What `asyncio.timeout` does, with such a timer: a `with` block that raises `TimeoutError` after `seconds`."""

    __slots__ = ("_cancelling", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = Timer(asyncio.get_running_loop(), max(self._seconds, 0.0), self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # A cancellation that somebody else asked for goes on.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
