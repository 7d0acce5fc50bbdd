"""Long work in a thread rests, ends when nobody waits for it, and does not depend on other work."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from gateway.pace import REST, SLICE_SECONDS, Pace, PaceStopped, off_loop


def work(seconds: float) -> None:
    """Uses the processor for a time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_work_takes_a_quarter_of_a_core_at_most() -> None:
    """However long it takes: what it rests is three times what it worked."""
    pace, started = Pace(), time.monotonic()
    pace()
    for _ in range(20):
        work(2 * SLICE_SECONDS)
        pace()
    assert time.monotonic() - started >= 20 * 2 * SLICE_SECONDS * (1 + REST)


def test_short_steps_do_not_rest() -> None:
    """A rest takes at least 60 µs, so a rest per step would take most of the time."""
    pace = Pace()
    pace()
    started = time.thread_time()
    while time.thread_time() - started < SLICE_SECONDS / 2:
        before = time.thread_time()
        pace()
        assert time.thread_time() - before < SLICE_SECONDS / 2


def test_stopped_work_ends_at_its_next_rest() -> None:
    """Whoever waited for it has given up."""
    pace = Pace()
    pace()
    pace.stop()
    work(2 * SLICE_SECONDS)
    with pytest.raises(PaceStopped):
        pace()


async def test_the_result_or_the_error_comes_back() -> None:
    """As from a call."""
    assert await off_loop(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await off_loop(lambda: 1 // 0)


async def test_work_that_hangs_holds_up_no_other_work() -> None:
    """As on files of a network volume that is gone: the event loop's own pool would have no thread left."""
    gone = threading.Event()
    hanging = [asyncio.create_task(off_loop(gone.wait)) for _ in range(64)]
    try:
        async with asyncio.timeout(30):
            assert await off_loop(lambda: "read") == "read"
    finally:
        gone.set()
        await asyncio.gather(*hanging)


async def test_whoever_stops_waiting_is_not_told_the_result() -> None:
    """The thread goes on to its end, and nothing is left behind."""
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go_on.wait()

    waiting = asyncio.create_task(off_loop(wait))
    while not begun.is_set():
        await asyncio.sleep(0)
    waiting.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
