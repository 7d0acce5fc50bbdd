"""Watches how late the event loop wakes up: the first sign that something blocks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.clock import Clock
from gateway.telemetry import catalogue
from gateway.telemetry.instruments import Histogram

TICK_SECONDS = 0.25


async def watch_lag(lag: Histogram, clock: Clock, each_second: Callable[[], None]) -> None:
    """Records the lag until it is cancelled, and calls `each_second` about once a second."""
    ticks = 0
    while True:
        before = clock.monotonic()
        await asyncio.sleep(TICK_SECONDS)
        lag.record((), max(0.0, clock.monotonic() - before - TICK_SECONDS))
        ticks += 1
        if ticks % 4 == 0:
            each_second()


def lag_histogram() -> Histogram:
    """An empty one."""
    return Histogram(catalogue.LOOP_LAG)
