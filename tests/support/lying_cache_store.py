"""Stands before a real store and gives the replies that a test wants to the commands that it names."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

from tests.support.connections import Connections
from tests.support.valkey import StoreServer

Lie = Callable[[list[bytes]], bytes | None]
"""From a command's words to the bytes that answer it; None: the real store answers."""


class LyingStore:
    """Forwards commands one by one. An empty lie is silence; `flood` is sent again and again after a lie."""

    def __init__(self, server: StoreServer) -> None:
        self._server = server
        self._connections = Connections(self._serve)
        self._listener: asyncio.Server | None = None
        self.lie: Lie = lambda _: None
        self.flood = b""
        self.flooded_bytes = 0
        self.url = ""
        self.port = 0

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._listener = await asyncio.start_server(self._connections.accept, "127.0.0.1", 0, ssl=tls)
        self.port = self._listener.sockets[0].getsockname()[1]
        self.url = f"{'valkeys' if tls else 'valkey'}://127.0.0.1:{self.port}/0"

    async def close(self) -> None:
        assert self._listener is not None
        await self._connections.end(self._listener)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            store_reader, store_writer = await asyncio.open_connection(self._server.host, self._server.port)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            return
        replies = asyncio.create_task(self._forward(store_reader, writer))
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    raw, words = await _command(reader)
                    lie = self.lie(words)
                    if lie is None:
                        store_writer.write(raw)
                        continue
                    writer.write(lie)
                    while self.flood:
                        writer.write(self.flood)
                        await writer.drain()
                        self.flooded_bytes += len(self.flood)
        finally:
            replies.cancel()
            await asyncio.gather(replies, return_exceptions=True)
            for one in (writer, store_writer):
                one.transport.abort()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await one.wait_closed()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()


async def _command(reader: asyncio.StreamReader) -> tuple[bytes, list[bytes]]:
    raw = await reader.readuntil(b"\r\n")
    words = []
    for _ in range(int(raw[1:])):
        header = await reader.readuntil(b"\r\n")
        word = await reader.readexactly(int(header[1:]) + 2)
        raw += header + word
        words.append(word[:-2])
    return raw, words


@contextlib.asynccontextmanager
async def lying_store(server: StoreServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[LyingStore]:
    """A started one, closed at the end. With `tls` it speaks TLS to its clients."""
    store = LyingStore(server)
    await store.start(tls)
    try:
        yield store
    finally:
        await store.close()
