"""A quota store that answers what a test says: bytes, endless bytes, or nothing. It keeps nothing and checks nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import hiredis

from tests.support.connections import Connections

Answer = Callable[[list[bytes]], bytes]
"""What to send for a command."""


def echo_of(command: list[bytes]) -> bytes:
    """What a script's answer begins with: its first argument."""
    return command[3 + int(command[2])]


def packed(*parts: Any) -> bytes:
    """A list of bytes, whole numbers and lists, as the protocol writes it."""
    texts = []
    for part in parts:
        if isinstance(part, list):
            texts.append(packed(*part))
        elif isinstance(part, int):
            texts.append(b":%d\r\n" % part)
        else:
            texts.append(b"$%d\r\n%s\r\n" % (len(part), part))
    return b"*%d\r\n" % len(parts) + b"".join(texts)


def with_echo(*rest: Any) -> Answer:
    """A list with the right echo and then `rest`."""
    return lambda command: packed(echo_of(command), *rest)


class LyingStore:
    """Listens on a free port of the loopback. PING is answered honestly, the rest by `answer`.

    After an answer it goes on sending `endless`, if that is not empty, as fast as it is read.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.endless = b""
        self.connections = 0
        self.sent_bytes = 0
        self.port = 0
        self._served = Connections(self._serve)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        commands = hiredis.Reader(notEnoughData=None)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                commands.feed(data)
                while (command := commands.gets()) is not None:
                    await self._send(writer, b"+PONG\r\n" if command[0] == b"PING" else self.answer(command))
                    while self.endless and command[0] != b"PING":
                        await self._send(writer, self.endless)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        self.sent_bytes += len(data)
        await writer.drain()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._served.accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        await self._served.end(self._server)


@contextlib.asynccontextmanager
async def lying_store(answer: Answer) -> AsyncIterator[LyingStore]:
    """A started one, closed at the end."""
    store = LyingStore(answer)
    await store.start()
    try:
        yield store
    finally:
        await store.close()
