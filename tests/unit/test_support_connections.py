"""A test's server ends with every connection that it has accepted, and leaves no socket for a later test to trip over."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from tests.support.connections import Connections


async def never_ends(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("turns", range(7))
async def test_a_connection_of_the_last_moment_is_closed(turns: int) -> None:
    """Whether the loop has accepted it, has made its transport, or serves it already."""
    connections = Connections(never_ends)
    listener = await asyncio.start_server(connections.accept, "127.0.0.1", 0)
    with socket.create_connection(listener.sockets[0].getsockname()[:2]) as client:
        client.settimeout(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        await connections.end(listener)
        # No turn of the loop follows: it would be over with the test.
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
