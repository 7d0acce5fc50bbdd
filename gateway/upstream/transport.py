"""An httpx transport of our own on asyncio's connections: the cheapest way to call the vendor by httpx's interface.

`docs/adr/0005-own-http-transport.md` has the figures and the reasons. It speaks HTTP/1.1 to one host, follows no
redirect, keeps no cookie, asks no environment and decompresses nothing. It knows nothing of the vendor's schema.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable

import httpx

from gateway.dial import anywhere
from gateway.resolver import verified_name
from gateway.upstream.answer import Answer
from gateway.upstream.connection import Connection
from gateway.upstream.endpoint import is_public, names_an_address
from gateway.upstream.form import Pieces
from gateway.upstream.pool import Pool
from gateway.upstream.proxy import Proxy, Tunnel
from gateway.upstream.route import Direct


class RequestUnread(httpx.ReadError):
    """A kept connection ended before the peer can have read the whole request, so it has not acted on it."""


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

    Two extensions of a request are known. `sending` is called right before the first byte of the request is written; what
    it raises stops the request, and leaves the connection unused. `fresh`, if true, takes no kept connection.

    Raises `httpx.TransportError`s only, without a text, and what `sending` raises. Time limits are the caller's, who may
    cancel.
    """

    def __init__(self, url: httpx.URL, pool: Pool) -> None:
        self._netloc = url.netloc
        # Servers know themselves without the dot that a complete name may end with.
        self._host = url.copy_with(host=verified_name(url.host)).netloc
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The head of the answer to `request`; its body is read from the response's stream, which is to be closed.

        Each request goes out once. Most servers close connections that were idle for a while; one that is seen to be
        closed is not used. If the peer's end crosses the request on its way, the request certainly went unread, and
        `RequestUnread` says that it may be repeated. Otherwise a peer that hangs up without an answer may have worked on
        the request, and bills it.
        """
        head = self._head(request)
        body = request.stream
        assert isinstance(body, Pieces)
        sending: Callable[[], None] | None = request.extensions.get("sending")
        connection = None if request.extensions.get("fresh") else self._pool.take_kept()
        kept = connection is not None
        if connection is None:
            connection = await self._pool.connect()
        if sending is not None:
            try:
                sending()
            except BaseException:
                self._pool.give_back(connection)
                raise
        try:
            answer = await connection.ask(head, body)
        except httpx.ReadError:
            unread = kept and connection.has_unread_request
            connection.abort()
            if not unread:
                raise
        except BaseException:
            connection.abort()
            raise
        else:
            return httpx.Response(answer.code, headers=answer.headers, stream=Body(answer, connection, self._pool))
        raise RequestUnread("")

    async def aclose(self) -> None:
        """Closes every connection that is not in use, and the others when they are given back."""
        self._pool.close()

    def _head(self, request: httpx.Request) -> bytes:
        """The request's line and headers. A line break or NUL in any of them would make it two requests."""
        if request.url.netloc != self._netloc or request.method in ("HEAD", "CONNECT"):
            raise httpx.UnsupportedProtocol("")
        lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path), b"Host: " + self._host]
        lines += [b"%b: %b" % header for header in request.headers.raw if header[0].lower() != b"host"]
        if not self._pool.keep_alive:
            lines.append(b"Connection: close")
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        line_count = len(lines) + 1
        if head.count(b"\n") != line_count or head.count(b"\r") != line_count or b"\0" in head:
            raise httpx.LocalProtocolError("")
        return head


def open_transport(
    url: httpx.URL,
    tls: ssl.SSLContext | None,
    connect_timeout_seconds: float,
    *,
    keep_alive: bool = True,
    allow_private_addresses: bool = False,
    proxy: Proxy | None = None,
) -> OwnTransport:
    """A transport to `url`'s host, with connections of its own, through `proxy` if there is one.

    `allow_private_addresses` lets the host's name lead to addresses that are not public. A host that is an address, or
    `localhost`, needs no such permission; behind a proxy it is the proxy that looks the name up.
    """
    port = url.port or (443 if tls is not None else 80)
    allows = anywhere if allow_private_addresses or names_an_address(url.host) else is_public
    route = Tunnel(proxy, url.host, port, tls) if proxy is not None else Direct(url.host, port, tls, allows=allows)
    return OwnTransport(url, Pool(route, connect_timeout_seconds, keep_alive=keep_alive))
