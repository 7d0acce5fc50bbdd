"""A gRPC call frame by frame, for what no gRPC client would send: headers with a body that never ends."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

Headers = Sequence[tuple[str, str]]


@dataclass
class Answer:
    """What came back on a call's stream so far. `sent` counts the bytes of the body that the server's window let out."""

    headers: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    seconds: float = 0.0

    @property
    def status(self) -> str | None:
        """`grpc-status`; None as long as the server waits."""
        return self.headers.get("grpc-status")


class Http2Client:
    """One connection. Calls on it run one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, scheme: str) -> None:
        self._reader = reader
        self._writer = writer
        self._authority = authority
        self._scheme = scheme
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))

    async def begin(self) -> None:
        """Exchanges settings, so that no call's time has the connection's start in it."""
        self._h2.initiate_connection()
        self._flush()
        await asyncio.wait_for(self._events(), 10)
        self._flush()

    async def call(self, path: str, metadata: Headers, body: bytes = b"", *, wait_seconds: float = 10.0) -> Answer:
        """Sends headers and as much of `body` as the server takes, never ends the request, and returns what came back.

        Waits for the answer's end, at most `wait_seconds` after the server took the last of the body.
        """
        stream = self._h2.get_next_available_stream_id()
        answer = Answer()
        started = time.perf_counter()
        self._h2.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", self._scheme),
                (":path", path),
                (":authority", self._authority),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                *metadata,
            ],
        )
        self._send(stream, body, answer)
        try:
            async with asyncio.timeout(wait_seconds) as limit:
                ended = False
                while not ended:
                    for event in await self._events():
                        ended = _take(event, stream, answer) or ended
                    before = answer.sent
                    self._send(stream, b"" if ended else body, answer)
                    if answer.sent > before:
                        limit.reschedule(asyncio.get_running_loop().time() + wait_seconds)
        except TimeoutError:
            pass
        answer.seconds = time.perf_counter() - started
        return answer

    def _send(self, stream: int, body: bytes, answer: Answer) -> None:
        """Sends what is pending, and of `body` what the window has room for."""
        while answer.sent < len(body) and (room := self._h2.local_flow_control_window(stream)) > 0:
            part = body[answer.sent :][: min(room, self._h2.max_outbound_frame_size)]
            self._h2.send_data(stream, part)
            answer.sent += len(part)
        self._flush()

    async def _events(self) -> list[Event]:
        received = await self._reader.read(65536)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        return self._h2.receive_data(received)

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())


def _take(event: Event, stream: int, answer: Answer) -> bool:
    """Notes an event of a stream; true if it was its last."""
    if getattr(event, "stream_id", None) != stream:
        return False
    if isinstance(event, ResponseReceived | TrailersReceived):
        answer.headers |= {str(name): str(value) for name, value in event.headers}
    return isinstance(event, StreamEnded | StreamReset)


@asynccontextmanager
async def http2_client(address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Http2Client]:
    """A connection to `address`, HOST:PORT, that is ready for calls; in plaintext without `tls`."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        client = Http2Client(reader, writer, address, "https" if tls else "http")
        await client.begin()
        yield client
    finally:
        writer.close()
