"""Connections that do nothing, and connections that will not end."""

from __future__ import annotations

import asyncio

from tests.support import frames
from tests.support.attack_process import Attack


async def idle(attack: Attack) -> None:
    """`connections` that greet and then say nothing; from the address `source`, if one is given."""
    options = attack.options
    for _ in range(options["connections"]):
        try:
            await attack.connect(source=options.get("source"))
        except (OSError, TimeoutError):
            attack.notes["refused"] = attack.notes.get("refused", 0) + 1
    attack.is_on()
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
