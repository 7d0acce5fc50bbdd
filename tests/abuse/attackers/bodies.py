"""Bodies that do not arrive: announced and stopped just before their end, or never begun."""

from __future__ import annotations

import asyncio

from tests.abuse.attackers import tls
from tests.support import frames
from tests.support.attack_process import Attack

_ALMOST = 7 * 1024 * 1024


async def stalled(attack: Attack) -> None:
    """`streams` calls of `path` on each of `connections`, whose bodies stop one byte before their end.

    Options: `metadata`, `bytes` of each body.
    """
    options = attack.options
    length = int(options.get("bytes", _ALMOST))
    body = frames.unfinished(length, length - 1)
    context = tls.context(options)
    opened = [await attack.connect(tls=context) for _ in range(options["connections"])]
    attack.is_on()
    for connection in opened:
        for _ in range(options["streams"]):
            connection.call(options["path"], options.get("metadata", ()), body, end=False)
            await asyncio.sleep(0)
    await asyncio.gather(*(one.gone.wait() for one in opened))


async def headers_only(attack: Attack) -> None:
    """`streams` calls on each of `connections` whose bodies never begin. What the server ends is opened again.

    Options: `path`, `metadata`, `tls`, and `per_second`, the most calls that are opened in a second.
    """
    options = attack.options
    context = tls.context(options)
    opened = [await attack.connect(tls=context) for _ in range(options["connections"])]
    metadata, pause = options.get("metadata", ()), 1 / options.get("per_second", 200)
    on = False
    while True:
        for connection in opened:
            if len(connection.open_streams) < options["streams"] and not connection.gone.is_set():
                connection.call(options["path"], metadata, end=False)
        if not on and all(len(one.open_streams) >= options["streams"] or one.ends for one in opened):
            on = True
            attack.is_on()
        await asyncio.sleep(pause * len(opened) if on else 0)
