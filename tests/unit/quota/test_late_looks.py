"""When a question to the store has waited for too long, on a loop whose every lateness the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.quota import connection
from gateway.quota.store import StoreUnavailable

DUE = 10.0
LATE = 0.5


class HandLoop:
    """A loop that runs the next timer when the test says so, and as late as it says."""

    def __init__(self) -> None:
        self.now = DUE
        self._timers: list[tuple[float, Callable[..., object], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., object], *arguments: Any) -> None:
        self._timers.append((when, callback, arguments))

    def run_next(self, *, late: float = 0.0) -> bool:
        """Runs the next timer; false if there is none."""
        if not self._timers:
            return False
        when, callback, arguments = self._timers.pop(0)
        self.now = when + late
        callback(*arguments)
        return True


def asked(loop: HandLoop) -> asyncio.Future[object]:
    """A question whose time is over at `DUE`."""
    waiting: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    as_loop = cast("asyncio.AbstractEventLoop", loop)
    loop.call_at(DUE, connection.look_again, as_loop, waiting, DUE)
    return waiting


async def test_a_late_event_loop_is_no_time_out() -> None:
    """While each look comes late, the reply may lie unread: the wait goes on, and a reply then counts."""
    loop = HandLoop()
    waiting = asked(loop)
    for _ in range(4):
        assert loop.run_next(late=LATE)
        assert not waiting.done()
    waiting.set_result("reply")
    while loop.run_next(late=LATE):
        pass
    assert waiting.result() == "reply"


async def test_after_a_late_look_the_store_has_some_milliseconds() -> None:
    """Questions that could not be sent while the loop stood still are answered within them."""
    loop = HandLoop()
    waiting = asked(loop)
    loop.run_next(late=LATE)
    looked = loop.now
    loop.run_next()
    assert loop.now - looked >= connection.LATE_SECONDS
    with pytest.raises(StoreUnavailable):
        waiting.result()


async def test_a_silent_store_is_a_time_out_at_the_second_look() -> None:
    """On a loop that is in time, the wait ends two milliseconds after its time."""
    loop = HandLoop()
    waiting = asked(loop)
    loop.run_next()
    assert not waiting.done()
    loop.run_next()
    with pytest.raises(StoreUnavailable):
        waiting.result()
    assert loop.now - DUE < connection.LATE_SECONDS


async def test_a_loop_that_is_always_late_does_not_wait_for_ever() -> None:
    """The number of looks is bounded."""
    loop = HandLoop()
    waiting = asked(loop)
    looks = 0
    while loop.run_next(late=LATE):
        looks += 1
    assert looks < 10
    with pytest.raises(StoreUnavailable):
        waiting.result()
