"""Connections that do nothing, and connections that will not end."""

from __future__ import annotations

import asyncio

from tests.support import frames
from tests.support.attack_process import Attack


async def idle(attack: Attack) -> None:
    """`connections` that greet and then say nothing; from the address `source`, if one is given."""
    options = attack.options
    opening = [asyncio.create_task(attack.connect(source=options.get("source"))) for _ in range(options["connections"])]
    # The server greets no more once it has no descriptors left.
    _, waiting = await asyncio.wait(opening, timeout=3)
    attack.is_on()
    attack.notes["not greeted"] = len(waiting)
    await asyncio.gather(*opening, return_exceptions=True)
    await asyncio.Event().wait()


async def stubborn(attack: Attack) -> None:
    """A connection that has no call, ignores GOAWAY and answers no ping."""
    await attack.connect(answers_pings=False)
    attack.is_on()
    await asyncio.Event().wait()


async def unfinished_headers(attack: Attack) -> None:
    """A header block without its end. Notes how many seconds the server kept the connection."""
    connection = await attack.connect()
    block = frames.request_headers("/grpc.health.v1.Health/Check", attack.address)
    connection.write(frames.frame(frames.HEADERS, 0, 1, block))
    attack.is_on()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await connection.gone.wait()
    attack.notes["seconds"] = loop.time() - began
