"""A connection to the vendor: one request and its answer at a time.

Written and read at once, since a peer may answer, and hang up, before it has read the whole request. Bytes that come
while nothing was asked end the connection: they would be read as the answer to the next search, so that one tenant saw
what another found.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncGenerator, Iterable
from typing import cast

import httpx

from gateway.upstream.answer import Answer
from gateway.upstream.tcp import acknowledged_bytes

# Unsent bytes above which writing waits: a small image goes out in one go, of a large one a few pieces are in flight.
WRITE_AHEAD_BYTES = 256 * 1024

# Unread bytes of a body above which reading waits.
READ_AHEAD_BYTES = 64 * 1024


class Connection(asyncio.Protocol):
    """`ask`, then `body`, then `is_clean` says whether to `ask` again or to `abort`.

    Both raise `httpx.ReadError` when the connection ends too early and `httpx.RemoteProtocolError` for bytes that are
    no answer; neither has a text. A cancelled one leaves the connection unclean. `idle_since` is the pool's.
    """

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._open = False
        self._can_write = True
        self._joins = False
        self._sent = True
        self._used = False
        self._request_unread = False
        self._descriptor = -1
        self._acked: int | None = None
        self._answer: Answer | None = None
        self._unread = 0
        self._reading = True
        self._progress: asyncio.Future[None] | None = None

    @property
    def is_clean(self) -> bool:
        """Whether another request may go out: the last one and its answer are whole, and nothing else came."""
        if self._transport is None or not (self._open and self._sent):
            return False
        # An answer before the end of the request: a peer that is done with it might take the rest for another.
        if self._transport.get_write_buffer_size() > 0:
            return False
        return self._answer is None or self._answer.leaves_connection_clean

    @property
    def is_odd(self) -> bool:
        """Whether the last answer was unusual enough that the peer may have more to say after it."""
        return self._answer is not None and self._answer.is_odd

    @property
    def has_unread_request(self) -> bool:
        """Whether the peer certainly has not read the last request whole, so that it cannot have acted on it.

        So it is if a part of the request never left, or if the peer had ended its side before its kernel had a byte of
        it. Of any other request nothing is certain: its peer may have read it before it hung up.
        """
        return self._request_unread and self._answer is not None and not self._answer.began

    @property
    def is_silent(self) -> bool:
        """Whether nothing, not even the peer's end, waits in the socket to be read: it is of no exchange."""
        return not self._poll.poll(0)

    async def ask(self, head: bytes, body: Iterable[bytes]) -> Answer:
        """Sends a request. The answer has its head; sending stops where it comes early."""
        if self._used:
            self._acked = acknowledged_bytes(self._descriptor)
        answer = self._answer = Answer()
        self._sent = False
        self._used = self._request_unread = True
        # Small pieces go out together with large ones: each write may be a system call and a packet.
        batch, size = [head], len(head)
        for piece in body:
            if size + len(piece) > WRITE_AHEAD_BYTES:
                await self._write(batch, answer)
                batch, size = [], 0
                if self._settled(answer):
                    break
            batch.append(piece)
            size += len(piece)
        else:
            self._sent = await self._write(batch, answer)
            self._request_unread = not self._sent
        while not self._settled(answer):
            await self._any_progress()
        if not answer.has_head:
            raise self._fault(answer)
        return answer

    async def body(self, answer: Answer) -> AsyncGenerator[bytes, None]:
        """The body of `answer`, raw, as it comes in."""
        while True:
            if answer.chunks:
                piece = b"".join(answer.chunks)
                answer.chunks.clear()
                yield piece
                self._read_on()
            elif answer.complete and not answer.refused:
                return
            elif answer.refused or not self._open:
                raise self._fault(answer)
            else:
                await self._any_progress()

    def rest(self) -> None:
        """Forgets the exchange: from now on the peer has nothing to say."""
        if self._answer is not None:
            self._answer.drop()
        self._answer = None

    def abort(self) -> None:
        """Cuts the connection at once. A close would wait for the peer to read what is still to be sent."""
        self._open = False
        if self._transport is not None:
            self._transport.abort()
        self.rest()

    # --- what the event loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected, TLS included."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        # asyncio's own `writelines` does not say when enough is unsent, in Python 3.12 and 3.13 before they mended
        # CVE-2024-12254. Then nothing would tell how much of a request has left. uvloop's does, and copies nothing.
        self._joins = isinstance(transport, asyncio.Transport)
        self._transport.set_write_buffer_limits(high=WRITE_AHEAD_BYTES)
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._poll.register(self._descriptor, select.POLLIN)
        self._open = True

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer, or of none."""
        answer = self._answer
        if answer is None:
            self.abort()
            return
        answer.feed(data)
        self._unread += len(data)
        if self._unread > READ_AHEAD_BYTES and self._reading and not answer.complete and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        if self._settled(answer):
            self._wake()

    def eof_received(self) -> None:
        """The peer sends no more; the transport closes by itself."""
        self._open = False
        if self._transport is not None and self._transport.get_write_buffer_size() > 0:
            # A close would first send the rest of the request, to a peer that may still read.
            self._request_unread = True
            self._transport.abort()
        elif self._acked and self._acked == acknowledged_bytes(self._descriptor):
            # The peer's end says what its kernel had received by then: nothing of this request. (A kernel that does not
            # count, and so says 0 after a whole exchange, proves nothing.)
            self._request_unread = True
        if self._answer is not None:
            self._answer.end()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever made it."""
        self._open = False
        self._wake()

    def pause_writing(self) -> None:
        """Enough is unsent."""
        self._can_write = False

    def resume_writing(self) -> None:
        """Little is unsent."""
        self._can_write = True
        self._wake()

    async def _write(self, batch: list[bytes], answer: Answer) -> bool:
        """Writes once little is unsent; false if there is no use in it any more."""
        while not self._can_write and not self._settled(answer):
            await self._any_progress()
        if self._settled(answer) or self._transport is None:
            return False
        if self._joins:
            self._transport.write(b"".join(batch))
        else:
            self._transport.writelines(batch)
        return True

    def _settled(self, answer: Answer) -> bool:
        return answer.has_head or answer.refused or not self._open

    def _fault(self, answer: Answer) -> httpx.TransportError:
        return httpx.RemoteProtocolError("") if answer.refused else httpx.ReadError("")

    def _read_on(self) -> None:
        self._unread = 0
        if not self._reading and self._open and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    async def _any_progress(self) -> None:
        self._progress = self._loop.create_future()
        try:
            await self._progress
        finally:
            self._progress = None

    def _wake(self) -> None:
        if self._progress is not None and not self._progress.done():
            self._progress.set_result(None)
