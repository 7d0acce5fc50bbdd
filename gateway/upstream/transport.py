"""An httpx transport of our own on asyncio's connections: the cheapest way to call the vendor by httpx's interface.

`docs/adr/0005-own-http-transport.md` has the figures and the reasons. It speaks HTTP/1.1 to one host, follows no
redirect, keeps no cookie, asks no environment and decompresses nothing. It knows nothing of the vendor's schema.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import httpx

from gateway.upstream.answer import Answer
from gateway.upstream.connection import Connection
from gateway.upstream.form import Pieces
from gateway.upstream.pool import Pool

# A kept connection that dies later than this after a request was sent may have died of that request.
STALE_SECONDS = 1.0


class Body(httpx.AsyncByteStream):
    """An answer's body, raw. Closed before its end it takes the connection with it."""

    def __init__(self, answer: Answer, connection: Connection, pool: Pool) -> None:
        self._answer = answer
        self._connection: Connection | None = connection
        self._pool = pool

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._connection is None:
            raise httpx.StreamClosed
        return self._connection.body(self._answer)

    async def aclose(self) -> None:
        """Gives the connection back if the answer was whole, else cuts it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection)


class OwnTransport(httpx.AsyncBaseTransport):
    """Sends requests to the host of `url` and no other, with `Pieces` of known length as the body.

    Raises `httpx.TransportError`s only, without a text. Time limits are the caller's, who may cancel.
    """

    def __init__(self, url: httpx.URL, pool: Pool) -> None:
        self._host = url.netloc
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The head of the answer to `request`; its body is read from the response's stream, which is to be closed.

        A kept connection that the server had closed before it saw the request is no fault: the request goes out once
        more, on a new connection. It is a POST, which HTTP forbids to repeat blindly; but a search changes nothing, and
        one that the server began to answer, or sat on for `STALE_SECONDS`, is not repeated, so it is not billed twice.
        """
        head = self._head(request)
        body = request.stream
        assert isinstance(body, Pieces)
        connection = self._pool.take_kept()
        if connection is not None:
            loop = asyncio.get_running_loop()
            started = loop.time()
            try:
                return await self._send(head, body, connection)
            except httpx.ReadError:
                if connection.answer_began or loop.time() - started > STALE_SECONDS:
                    raise
        return await self._send(head, body, await self._pool.connect())

    async def aclose(self) -> None:
        """Closes every connection that is not in use, and the others when they are given back."""
        self._pool.close()

    async def _send(self, head: bytes, body: Pieces, connection: Connection) -> httpx.Response:
        try:
            answer = await connection.ask(head, body)
        except BaseException:
            connection.abort()
            raise
        return httpx.Response(answer.code, headers=answer.headers, stream=Body(answer, connection, self._pool))

    def _head(self, request: httpx.Request) -> bytes:
        """The request's line and headers. A line break or NUL in any of them would make it two requests."""
        if request.url.netloc != self._host or request.method in ("HEAD", "CONNECT"):
            raise httpx.UnsupportedProtocol("")
        lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path), b"Host: " + self._host]
        lines += [b"%b: %b" % header for header in request.headers.raw if header[0].lower() != b"host"]
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        line_count = len(lines) + 1
        if head.count(b"\n") != line_count or head.count(b"\r") != line_count or b"\0" in head:
            raise httpx.LocalProtocolError("")
        return head


def open_transport(url: httpx.URL, tls: ssl.SSLContext | None, connect_timeout_seconds: float) -> OwnTransport:
    """A transport to `url`'s host, with connections of its own."""
    port = url.port or (443 if tls is not None else 80)
    return OwnTransport(url, Pool(url.host, port, tls, connect_timeout_seconds))
