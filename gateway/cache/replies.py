"""Reads a store's replies, each bounded in size: the reader of a connection, in place of redis-py's.

redis-py's own readers keep whatever a server sends, and make room for as many elements as a header of a few bytes
announces. This one refuses by the header, before anything is kept for it. Knows RESP 2, which is all that is used here.
"""

from __future__ import annotations

from asyncio import StreamReader
from typing import Any

from redis._parsers.base import AsyncBaseParser
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.exceptions import InvalidResponse

MAX_REPLY_BYTES = 2 << 20
"""Maximum size of a reply. The largest is that of the epochs: 46 bytes for each scope that was ever purged."""
_MAX_LINE_BYTES = 4096
_MAX_DEPTH = 12
_MAX_DIGITS = 18


_TEXT, _STATUS, _INTEGER, _ERROR, _ARRAY = b"$+:-*"
_OPENED = object()


class OversizeReply(InvalidResponse):
    """The server sends more than any reply that is expected here."""


class _Incomplete(Exception):
    """The rest of the reply has not arrived yet."""


class BoundedParser(AsyncBaseParser):
    """A connection's reader, as redis-py calls it. For a single server: none of its replies here is an array."""

    max_elements = 16
    """Maximum number of elements of a reply, over all its arrays."""

    __slots__ = ("_at", "_buffer", "_connected", "_elements", "_open")

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self._stream: StreamReader | None = None
        self._buffer = bytearray()
        self._connected = False
        self._forget()

    def _forget(self) -> None:
        self._at = 0
        """Where the next part of the reply begins in the buffer."""
        self._open: list[tuple[list[object], int]] = []
        """Arrays of which elements are missing, the outermost first, each with its number of elements."""
        self._elements = 0

    def on_connect(self, connection: Any) -> None:
        """Begins with a new connection."""
        self._stream = connection._reader  # noqa: SLF001 - the interface between redis-py's connections and readers
        self._buffer.clear()
        self._forget()
        self._connected = True

    def on_disconnect(self) -> None:
        """Ends the reading."""
        self._connected = False

    async def can_read_destructive(self) -> bool:
        """The same as `can_read`."""
        return await self.can_read()

    async def can_read(self) -> bool:
        """Whether there is anything to read, the connection's end included."""
        if not self._connected or self._stream is None:
            raise OSError("the connection is closed")
        unread = self._stream._buffer  # type: ignore[attr-defined]  # noqa: SLF001 - as redis-py does: no public way
        return bool(self._buffer or unread or self._stream.at_eof())

    async def read_response(self, disable_decoding: bool = False) -> Any:  # noqa: FBT001, FBT002 - redis-py's signature
        """The next reply; an error reply is returned as an exception. Raises `InvalidResponse` for anything else."""
        if not self._connected or self._stream is None:
            raise StoreConnectionError("the connection is closed")
        while True:
            if len(self._buffer) > self._at:
                try:
                    reply = self._reply()
                except _Incomplete:
                    if len(self._buffer) > MAX_REPLY_BYTES:
                        raise OversizeReply from None
                else:
                    del self._buffer[: self._at]
                    self._forget()
                    if isinstance(reply, StoreConnectionError):
                        raise reply
                    return reply
            data = await self._stream.read(self._read_size)
            if not data:
                raise StoreConnectionError("the store closed the connection")
            self._buffer += data

    def _reply(self) -> object:
        while True:
            value = self._part()
            if value is _OPENED:
                continue
            while self._open:
                array, count = self._open[-1]
                array.append(value)
                if len(array) < count:
                    break
                value = array
                self._open.pop()
            else:
                return value

    def _part(self) -> object:
        buffer, start = self._buffer, self._at
        end = buffer.find(b"\r\n", start, start + _MAX_LINE_BYTES)
        if end < 0:
            if len(buffer) - start >= _MAX_LINE_BYTES:
                raise OversizeReply
            raise _Incomplete
        kind, line = buffer[start], bytes(buffer[start + 1 : end])
        if kind == _TEXT:
            return self._text(_number(line), end + 2)
        self._at = end + 2
        if kind == _STATUS:
            return line
        if kind == _INTEGER:
            return _number(line)
        if kind == _ERROR:
            return self.parse_error(line.decode("utf-8", errors="replace"))  # type: ignore[no-untyped-call]
        if kind == _ARRAY:
            return self._array(_number(line))
        raise InvalidResponse("not a reply of this protocol")

    def _text(self, length: int, start: int) -> bytes | None:
        if length == -1:
            self._at = start
            return None
        if not 0 <= length <= MAX_REPLY_BYTES:
            raise OversizeReply
        end = start + length
        if len(self._buffer) < end + 2:
            raise _Incomplete
        if not self._buffer.startswith(b"\r\n", end):
            raise InvalidResponse("a text without its end")
        self._at = end + 2
        return bytes(self._buffer[start:end])

    def _array(self, count: int) -> object:
        if count == -1:
            return None
        self._elements += count
        if count < 0 or self._elements > self.max_elements or len(self._open) >= _MAX_DEPTH:
            raise OversizeReply
        if count == 0:
            return []
        self._open.append(([], count))
        return _OPENED


class ClusterParser(BoundedParser):
    """The same for a cluster, of which redis-py asks the list of commands: 12,500 elements in Valkey 9.1."""

    max_elements = 50_000


def _number(line: bytes) -> int:
    if len(line) <= _MAX_DIGITS and (line.isdigit() or (line[:1] == b"-" and line[1:].isdigit())):
        return int(line)
    raise InvalidResponse("not a number")
