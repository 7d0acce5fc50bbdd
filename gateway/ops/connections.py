"""Bounds every connection of the operators' listener, before aiohttp sees any of it.

aiohttp has no time limit for a head that never ends, none for a reader that never reads, no limit of connections, and
it answers pipelined requests one after the other without end. So each connection brings one request: its head is
collected here, handed over whole, and nothing is read after it. A new connection is always taken, since it may be the
kubelet's probe; if there are too many, an old one ends.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

_WITHOUT_REST = struct.pack("ii", 1, 0)
_END_OF_HEAD = b"\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 31\r\n\r\nthe request's head is too large"
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may take, and how many there may be.

    A head has `head_seconds` to arrive, from the connection's first moment on; then the answer has `answer_seconds` to
    be made and read.
    """

    max_connections: int = 64
    max_head_bytes: int = 16_384
    head_seconds: float = 5.0
    answer_seconds: float = 20.0


class BoundedConnections:
    """Makes the protocol of each connection. `serve` makes aiohttp's, once there is a request for it."""

    def __init__(self, serve: Callable[[], asyncio.Protocol], bounds: Bounds) -> None:
        self.bounds = bounds
        self.serve = serve
        # Both oldest first.
        self._waiting: dict[_OneRequest, None] = {}
        self._answering: dict[_OneRequest, None] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._answering)

    def accept(self) -> _OneRequest:
        """The protocol of a new connection."""
        return _OneRequest(self)

    def opened(self, connection: _OneRequest) -> None:
        """Takes it in. If there are too many, the oldest without a request ends, or else the oldest of all."""
        if len(self) >= self.bounds.max_connections:
            next(iter(self._waiting or self._answering)).end()
        self._waiting[connection] = None

    def request_complete(self, connection: _OneRequest) -> None:
        """Moves it to those that are being answered."""
        self._waiting.pop(connection, None)
        self._answering[connection] = None

    def closed(self, connection: _OneRequest) -> None:
        """Forgets it."""
        self._waiting.pop(connection, None)
        self._answering.pop(connection, None)

    def end(self) -> None:
        """Ends all that are still open."""
        for connection in (*self._waiting, *self._answering):
            connection.end()


class _OneRequest(asyncio.Protocol):
    """A connection: collects one head, then only passes events on."""

    def __init__(self, connections: BoundedConnections) -> None:
        self._connections = connections
        self._head = b""
        self._inner: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is not of the class, but of the shape.
        self._transport = cast("asyncio.Transport", transport)
        self._connections.opened(self)
        self._limit(self._connections.bounds.head_seconds)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None or self._transport.is_closing():
            return
        self._head += data
        end = self._head.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        if (end if end >= len(_END_OF_HEAD) else len(self._head)) > self._connections.bounds.max_head_bytes:
            self._transport.write(_TOO_LARGE)
            self._transport.close()
        elif end >= len(_END_OF_HEAD):
            self._answer(self._head[:end])

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connections.closed(self)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def end(self) -> None:
        """Ends it at once, and what is still unread with it: also that which the kernel keeps."""
        self._connections.closed(self)
        opened = self._transport.get_extra_info("socket")
        if opened is not None:
            with suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _WITHOUT_REST)
        self._transport.abort()

    def _answer(self, head: bytes) -> None:
        # What follows stays with the caller: a body, another request, or the end of its side, after which it still reads.
        self._transport.pause_reading()
        self._head = b""
        self._connections.request_complete(self)
        self._timer.cancel()
        self._limit(self._connections.bounds.answer_seconds)
        self._inner = self._connections.serve()
        self._inner.connection_made(self._transport)
        self._inner.data_received(head)

    def _limit(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)
