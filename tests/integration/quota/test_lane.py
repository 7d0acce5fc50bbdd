"""The connection to a store, given up at every moment."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.quota.lane import Address, Lane, pack
from gateway.quota.store import StoreUnavailable
from tests.support.conditions import eventually
from tests.support.quota import PATIENCE
from tests.support.valkey import StoreServer

PING = pack("PING")


async def test_a_connection_given_up_while_it_is_made_is_closed(server: StoreServer) -> None:
    """At whichever turn of the event loop: the next command has a new one, and the old one is not left open."""
    lane = Lane(Address(server.host, server.port, database=1))
    loop = asyncio.get_running_loop()
    for turns in range(60):
        first = asyncio.create_task(lane.call(PING, loop.time() + PATIENCE))
        for _ in range(turns):
            await asyncio.sleep(0)
        lane.disconnect()
        assert await lane.call(PING, loop.time() + PATIENCE) == b"PONG"
        with contextlib.suppress(StoreUnavailable):
            await first
        lane.disconnect()
    with server.client() as client:
        await eventually(lambda: client.info("clients")["connected_clients"] == 1, "all but this one are closed")
