"""The connection to a store, given up at every moment."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway.quota.lane import Address, Lane, pack
from gateway.quota.store import OutageCause, StoreUnavailable
from tests.support.conditions import eventually
from tests.support.lying_store import lying_store, packed
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


@pytest.mark.parametrize("host", ["two..dots", "a" * 300, "-.-", "nul\x00"])
async def test_a_name_that_cannot_be_is_an_outage(host: str) -> None:
    """Whatever the resolver makes of it."""
    with pytest.raises(StoreUnavailable):
        await Lane(Address(host, 6379)).call(PING, asyncio.get_running_loop().time() + PATIENCE)


async def test_a_greeting_that_is_not_accepted_ends_the_connection() -> None:
    """Anything but OK: no command is sent to who does not take the password."""
    seen = []

    def answer(command: list[bytes]) -> bytes:
        seen.append(command[0])
        return packed(b"OK")

    async with lying_store(answer) as store:
        lane = Lane(Address("127.0.0.1", store.port, password=lambda: "secret"))
        with pytest.raises(StoreUnavailable) as failure:
            await lane.call(PING, asyncio.get_running_loop().time() + PATIENCE)
    assert failure.value.cause is OutageCause.REFUSED
    assert seen == [b"AUTH"]
