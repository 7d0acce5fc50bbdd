"""A TCP proxy that misbehaves on demand, between a client and a real store.

Faults may be changed while connections are open: `delay_seconds` before each reply, `blackhole` (bytes are swallowed both
ways), `refuse` (new connections are reset), `drop_reply` (asked for every chunk of replies after the command ran), and
`answer`, which takes a reply's place. `reset()` breaks what is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable

from tests.support.connections import Connections


class FlakyProxy:
    """Listens on a free port of the loopback and forwards to `port`."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._host = host
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections = Connections(self._serve)
        self.port = 0
        self.delay_seconds = 0.0
        self.blackhole = False
        self.refuse = False
        self.drop_reply: Callable[[], bool] | None = None
        self.answer: bytes | None = None
        self.dropped = 0
        self.connections = 0

    @property
    def address(self) -> str:
        return f"{self._host}:{self.port}"

    @property
    def url(self) -> str:
        return f"valkey://{self.address}/0"

    @property
    def open_connections(self) -> int:
        """Of clients, as far as the proxy knows."""
        return len(self._connections)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connections.accept, self._host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            _reset(writer)
            return
        try:
            store_reader, store_writer = await asyncio.open_connection(self._host, self._target)
        except OSError:
            _reset(writer)
            return
        self._writers |= {writer, store_writer}
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._forward(reader, store_writer, replies=False))
                    group.create_task(self._forward(store_reader, writer, replies=True))
        except* OSError:
            pass
        finally:
            for one in (writer, store_writer):
                self._writers.discard(one)
                one.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        while data := await reader.read(65536):
            if self.blackhole:
                continue
            if replies:
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if self.drop_reply is not None and self.drop_reply():
                    self.dropped += 1
                    continue
                if self.answer is not None:
                    data = self.answer
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # One side closed: the other goes too.

    def reset(self) -> None:
        """Breaks every open connection with a RST."""
        for writer in list(self._writers):
            _reset(writer)

    async def close(self) -> None:
        if self._server is not None:
            await self._connections.end(self._server)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def flaky_proxy(port: int) -> AsyncIterator[FlakyProxy]:
    """A started proxy, closed at the end."""
    proxy = FlakyProxy(port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
