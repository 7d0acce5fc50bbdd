"""An event loop in which waiting takes no time: hours of queues in seconds, and the same figures on every machine.

For tests of queues and timers that touch no socket, file or thread.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Skipping(selectors.DefaultSelector):
    """Instead of waiting it moves the time."""

    now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("the loop would wait for ever")
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualClock:
    """The time of such a loop, as the gateway reads it."""

    def __init__(self) -> None:
        self.now = self.monotonic = asyncio.get_running_loop().time


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """What `asyncio.run` does, without waiting."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(main)
