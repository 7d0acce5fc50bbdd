"""A late event loop is no time-out: what the vendor sent in time counts, though the gateway read it late."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from gateway.model import Outcome
from gateway.upstream.timer import LATE_SECONDS, LOOK_SECONDS, Timer
from tests.support.vendor import OK
from tests.support.vendor_client import client, query, trip

TIMEOUT_SECONDS = 1.0


async def test_an_answer_that_came_in_time_counts_though_the_loop_was_late() -> None:
    """The vendor answers at once, while the gateway's event loop stands still until after the time-out."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30.0)
    arrived, stands_still, answered = threading.Event(), threading.Event(), threading.Event()

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            while b"--\r\n" not in peer.recv(65536):
                pass
            arrived.set()
            assert stands_still.wait(30.0)
            peer.sendall(OK)
            answered.set()
            peer.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    async with client(
        f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=TIMEOUT_SECONDS, keep_alive=False
    ) as upstream:
        started = time.monotonic()
        search = asyncio.create_task(upstream.search(query(), trip()))
        while not arrived.is_set():
            await asyncio.sleep(0)
        # From here on in one step, so that the loop does not look at the socket before it is late.
        stands_still.set()
        assert answered.wait(30.0)
        while time.monotonic() - started < TIMEOUT_SECONDS + 2 * LATE_SECONDS:
            time.sleep(0.01)  # noqa: ASYNC251 - the loop stands still
        assert (await search).outcome is Outcome.MATCHED
    await asyncio.to_thread(thread.join)
    listener.close()


@pytest.mark.parametrize("late", [False, True])
async def test_a_timer_looks_around_first_only_if_the_loop_was_late(late: bool) -> None:
    """On time it fires at once; otherwise what came in meanwhile is seen first."""
    loop = asyncio.get_running_loop()
    fired: asyncio.Future[float] = loop.create_future()
    Timer(loop, 0.05, lambda: fired.set_result(loop.time()))
    started = loop.time()
    if late:
        await asyncio.sleep(0)
        time.sleep(0.05 + 2 * LATE_SECONDS)  # noqa: ASYNC251 - the loop stands still
        released = time.monotonic()
        await fired
        assert time.monotonic() - released >= LOOK_SECONDS * 0.9
    else:
        assert await fired - started >= 0.045


async def test_a_cancelled_timer_does_not_fire() -> None:
    """Neither before it is due, nor while it looks around."""
    loop, fired = asyncio.get_running_loop(), list[int]()
    for number in range(2):
        timer = Timer(loop, 0.01, lambda: fired.append(0))
        if number:
            time.sleep(0.01 + 2 * LATE_SECONDS)  # noqa: ASYNC251 - the loop stands still
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        timer.cancel()
    await asyncio.sleep(0.01 + 2 * LOOK_SECONDS)
    assert not fired
