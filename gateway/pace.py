"""Long work in a thread that leaves the event loop its turns.

Python runs one thread at a time. A thread that computes without a pause makes the event loop wait 5 ms each time that it
wants to go on, and where a container has half a core, it uses up the processor time that calls need. Work that calls a
`Pause` often enough does neither.
"""

from __future__ import annotations

import _thread
import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

SLICE_SECONDS = 0.001
REST = 3.0
LONGEST_REST_SECONDS = 0.02

Pause = Callable[[], None]
Result = TypeVar("Result")


def without_pause() -> None:
    """For work that nothing else waits for, as at the start and on the command line."""


class PaceStopped(Exception):
    """Nobody waits for this work any more."""


class Pace:
    """Rests after every millisecond of work for three times as long; so the work takes a quarter of one core at most.

    Only the thread that works calls it. Any thread may call `stop`.
    """

    def __init__(self) -> None:
        self._resumed_at: float | None = None
        self._stopped = False

    def stop(self) -> None:
        """Has the next pause raise `PaceStopped`."""
        self._stopped = True

    def __call__(self) -> None:
        """Rests, if a millisecond of processor time was used since the last rest."""
        now = time.thread_time()
        if self._resumed_at is None:
            self._resumed_at = now
        worked = now - self._resumed_at
        if worked < SLICE_SECONDS:
            return
        if self._stopped:
            raise PaceStopped
        time.sleep(min(worked * REST, LONGEST_REST_SECONDS))
        self._resumed_at = time.thread_time()


async def off_loop(work: Callable[[], Result]) -> Result:
    """Runs `work` in a thread of its own.

    Not in the event loop's pool: a few files on a network volume that is gone would take all of its threads, and the
    file that revokes a token would wait for them. Nor does such a thread hold up the end of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def finish(result: Result | None, error: BaseException | None) -> None:
        if done.done():  # cancelled: nobody waits any more
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]  # without an error there is a result
        else:
            done.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - it is raised where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, result, error)

    # `Thread.start` would block the event loop until the new thread has had its first turn.
    _thread.start_new_thread(run, ())
    return await done
