"""An HTTP/2 connection that does as it is told: many calls at once, bodies that stop anywhere, answers left unread.

`http2.py` is the polite one, for a few calls one after the other. This one checks nothing and costs some microseconds per
call, so that an attacker or a load generator is never what gives way first.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

from tests.support import frames
from tests.support.flow_control import Bodies
from tests.support.frames import Metadata

# The answers' headers are literals, since this side's header table has no room.
_STATUS = re.compile(rb"grpc-status[\x01\x02](\d{1,2})")
_DETAILS = b"grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class End:
    """How a call ended: with a gRPC status, or else with a reset. `explained`: the status came with details."""

    status: int | None
    explained: bool = False
    reset_code: int | None = None

    def __str__(self) -> str:
        if self.status is None:
            return f"reset {self.reset_code}"
        return f"status {self.status}"


class RawConnection(asyncio.Protocol):
    """Made by `open`. `sent` and `received` count bytes, `begun` are the calls with an answer, `ends` how calls ended."""

    def __init__(self, authority: str, scheme: str, *, reads: bool, answers_pings: bool) -> None:
        self._authority = authority
        self._scheme = scheme
        self._reads = reads
        self._answers_pings = answers_pings
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._next_stream = 1
        self._bodies = Bodies()
        self.max_streams = 1 << 31
        self.open_streams: set[int] = set()
        self.ready = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.going_away = False
        self.sent = 0
        self.received = 0
        self.begun: set[int] = set()
        self.ends: dict[int, End] = {}
        self.on_end: Callable[[int, End], None] | None = None

    @classmethod
    async def open(
        cls,
        address: str,
        *,
        tls: ssl.SSLContext | None = None,
        source: str | None = None,
        reads: bool = True,
        answers_pings: bool = True,
    ) -> Self:
        """A connection that has the server's settings. With `reads` false no window is opened for answers."""
        host, _, port = address.rpartition(":")
        scheme = "https" if tls else "http"
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: cls(address, scheme, reads=reads, answers_pings=answers_pings),
            host,
            int(port),
            ssl=tls,
            local_addr=(source, 0) if source else None,
        )
        await asyncio.wait_for(connection.ready, 20)
        return connection

    def call(self, path: str, metadata: Metadata = (), body: bytes = b"", *, end: bool = True) -> int:
        """Opens a stream and sends what the windows let out; the rest follows when they open. Returns its number."""
        return self.call_with(frames.request_headers(path, self._authority, self._scheme, metadata), body, end=end)

    def call_with(self, block: bytes, body: bytes = b"", *, end: bool = True) -> int:
        """The same with a header block that is made already."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self.open_streams.add(stream)
        bare = end and not body
        headers = frames.frame(frames.HEADERS, frames.END_HEADERS | (frames.END_STREAM if bare else 0), stream, block)
        if body:
            self._bodies.add(stream, body, end=end)
            self.write(headers, *self._bodies.parts(stream))
        else:
            self.write(headers)
        return stream

    def more(self, stream: int, body: bytes, *, end: bool) -> None:
        """More of a call's body."""
        self._bodies.add(stream, body, end=end)
        self.write(*self._bodies.parts(stream))

    def reset(self, stream: int) -> None:
        """Gives a call up."""
        self._forget(stream)
        self.write(frames.reset(stream))

    def write(self, *parts: bytes | memoryview) -> None:
        """Sends bytes as they are."""
        if not parts or self._transport is None or self._transport.is_closing():
            return
        self.sent += sum(len(part) for part in parts)
        self._transport.writelines(parts)

    async def drained(self) -> None:
        """Waits until the kernel takes more bytes."""
        await self._writable.wait()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def close(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def unsent(self) -> int:
        """Bytes of bodies that the server's windows hold back."""
        return self._bodies.unsent

    def counted(self) -> Counter[str]:
        """How many calls ended how."""
        return Counter(str(end) for end in self.ends.values())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        window = frames.MAX_WINDOW if self._reads else 0
        values = {frames.HEADER_TABLE_SIZE: 0, frames.INITIAL_WINDOW_SIZE: window}
        self.write(frames.PREFACE, frames.settings(values))
        if self._reads:
            self.write(frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:
        for stream in tuple(self.open_streams):
            self._end(stream, End(None))
        if not self.ready.done():
            self.ready.set_exception(ConnectionResetError("the server closed the connection"))
            self.ready.exception()
        self.gone.set()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        data = self._received + data
        at, length = 0, len(data)
        while length - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if length - at - 9 < size:
                break
            kind, flags = data[at + 3], data[at + 4]
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & frames.MAX_WINDOW
            self._take(kind, flags, stream, data[at + 9 : at + 9 + size])
            at += 9 + size
        self._received = data[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == frames.HEADERS:
            self.begun.add(stream)
            if flags & frames.END_STREAM:
                found = _STATUS.search(payload)
                self._end(stream, End(int(found[1]) if found else None, _DETAILS in payload))
        elif kind == frames.WINDOW_UPDATE:
            self.write(*self._bodies.widen(stream, struct.unpack(">I", payload)[0]))
        elif kind == frames.DATA:
            if self._reads and payload:
                self.write(frames.window_update(0, len(payload)))
        elif kind == frames.RST_STREAM:
            self._end(stream, End(None, reset_code=struct.unpack(">I", payload)[0]))
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self._set(payload)
        elif kind == frames.PING and not flags & frames.ACK and self._answers_pings:
            self.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.GOAWAY:
            self.going_away = True

    def _set(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._bodies.start_with(value)
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            elif name == frames.MAX_FRAME_SIZE:
                self._bodies.frame_size = min(value, 65_536)
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0), *self._bodies.all_parts())
        if not self.ready.done():
            self.ready.set_result(None)

    def _forget(self, stream: int) -> None:
        self.open_streams.discard(stream)
        self._bodies.forget(stream)

    def _end(self, stream: int, end: End) -> None:
        if stream not in self.open_streams:
            return
        self._forget(stream)
        self.ends[stream] = end
        if self.on_end is not None:
            self.on_end(stream, end)
