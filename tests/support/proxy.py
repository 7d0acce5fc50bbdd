"""An HTTP proxy that lets through what CONNECT asks for, as companies have them, with a log of what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.connections import Connections


@dataclass
class ConnectProxy:
    """Use as `async with`. `answer`, if set, is sent in place of a tunnel; `places` leads names to ports here.

    `asked` holds the heads of requests; `carried` all bytes that callers sent through tunnels.
    """

    tls: ssl.SSLContext | None = None
    answer: bytes = b""
    places: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    carried: bytearray = field(default_factory=bytearray)
    port: int = 0

    def __post_init__(self) -> None:
        self._connections = Connections(self._serve)

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connections.accept, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.end(self._server)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
            self.asked.append(head)
            if self.answer:
                writer.write(self.answer)
                await reader.read()
                return
            method, place, _ = head.split(" ", 2)
            assert method == "CONNECT"
            host, _, port = place.rpartition(":")
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.places.get(host, int(port)))
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
            try:
                await asyncio.gather(self._carry(reader, inner_writer, keep=True), self._carry(inner_reader, writer))
            finally:
                inner_writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool = False) -> None:
        while data := await reader.read(65536):
            if keep:
                self.carried += data
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()
