"""`facegate serve` whose event loop is blocked and whose memory grows, from SIGUSR1 on: a process of its own.

Run as `python -m tests.support.troubled_process serve …`.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import sys
import time

from gateway.cli.main import run
from gateway.telemetry import observed
from gateway.watcher import FileWatcher

# Each turn of the event loop takes so long. A call takes several.
TURN_SECONDS = 0.15
# Above what the alert allows, in a container of this size. The kernel counts each mapping's pages as resident, so one small
# file is mapped often.
LIMIT_BYTES = 512 << 20
PIECE_BYTES, PIECES = 64 << 20, 8

run_watcher = FileWatcher.run
memory: list[mmap.mmap] = []


def block() -> None:
    time.sleep(TURN_SECONDS)
    asyncio.get_running_loop().call_soon(block)


def begin() -> None:
    file = os.memfd_create("memory")
    os.ftruncate(file, PIECE_BYTES)
    memory.extend(mmap.mmap(file, PIECE_BYTES, mmap.MAP_SHARED | mmap.MAP_POPULATE) for _ in range(PIECES))
    block()


async def run_and_wait_for_trouble(self: FileWatcher) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, begin)
    await run_watcher(self)


if __name__ == "__main__":
    vars(observed)["container_limit_bytes"] = lambda: LIMIT_BYTES
    FileWatcher.run = run_and_wait_for_trouble  # type: ignore[method-assign]
    sys.exit(run(sys.argv[1:]))
