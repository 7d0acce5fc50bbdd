"""`facegate serve` with bugs in it, as a process of its own: run as `python -m tests.support.canary_process serve …`.

A search whose image is `OTHER_PHOTO` meets a bug; others are searched. Beside the calls things crash that belong to none,
and at the end the process does.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from typing import Any

from gateway.app import Gateway
from gateway.cli.main import run
from gateway.upstream.attempt import Attempt
from gateway.watcher import FileWatcher
from tests.support.canaries import OTHER_PHOTO
from tests.support.canary_bugs import careless, crash, crash_in_a_finalizer, crash_later, known

ask, run_watcher, wait_closed = Attempt._ask, FileWatcher.run, Gateway.wait_closed


async def ask_or_crash(self: Attempt, query: Any, credential: Any, trip: Any) -> Any:
    if query.image.content == OTHER_PHOTO:
        careless(self, query, credential)
    return await ask(self, query, credential, trip)


async def crash_beside_the_calls(self: FileWatcher) -> None:
    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
    task = asyncio.create_task(crash_later())
    await asyncio.wait([task])
    del task
    crash_in_a_finalizer()
    asyncio.get_running_loop().call_soon(crash)
    logging.getLogger("chatty").error("%s", known())
    warnings.warn(known(), stacklevel=1)
    await run_watcher(self)


async def crash_at_the_end(self: Gateway) -> None:
    await wait_closed(self)
    crash()


if __name__ == "__main__":
    # A library that has set itself up before the gateway does.
    logging.getLogger("chatty").addHandler(logging.StreamHandler())
    Attempt._ask = ask_or_crash  # type: ignore[method-assign]
    FileWatcher.run = crash_beside_the_calls  # type: ignore[method-assign]
    Gateway.wait_closed = crash_at_the_end  # type: ignore[method-assign]
    sys.exit(run(sys.argv[1:]))
