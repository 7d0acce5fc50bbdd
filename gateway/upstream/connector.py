"""The pool of connections to the vendor, and what is known about the one that a call got.

A kept connection is vetted before it is used again: bytes that came while it was idle would be read as the answer to
the next search, so that one tenant saw what another found.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import httpx


class Line:
    """One connection. `answer` is the body that is read from it now."""

    __slots__ = ("answer",)

    def __init__(self, closed: asyncio.Future[None] | None) -> None:
        self.answer: aiohttp.StreamReader | None = None
        if closed is not None:
            closed.add_done_callback(self._lost)

    def _lost(self, closed: asyncio.Future[None]) -> None:
        """Ends a body that nobody else ends: after bad chunked framing aiohttp closes and lets the reader wait."""
        if not closed.cancelled():
            closed.exception()
        if self.answer is not None and not self.answer.is_eof() and self.answer.exception() is None:
            self.answer.set_exception(httpx.RemoteProtocolError(""))


class Trip:
    """One sending of one request. `fresh_only` forbids a kept connection; `reused` says that it got one."""

    __slots__ = ("_transport", "fresh_only", "line", "reused")

    def __init__(self, *, fresh_only: bool = False) -> None:
        self.fresh_only = fresh_only
        self.reused = False
        self.line: Line | None = None
        self._transport: asyncio.Transport | None = None

    def took(self, line: Line, transport: asyncio.Transport | None, *, reused: bool) -> None:
        """Notes the connection that the request goes out on."""
        self.line, self._transport, self.reused = line, transport, reused

    def abort(self) -> None:
        """Cuts the connection at once. A close would wait for the peer to read what is still to be sent."""
        if self._transport is not None:
            self._transport.abort()


# The connector runs in the task of the call, so this is how the two meet: aiohttp hands nothing through.
current_trip: ContextVar[Trip] = ContextVar("current_trip")


class VettingConnector(aiohttp.TCPConnector):
    """A connector that tells the current `Trip` what it got, and gives out no kept connection that is not clean."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lines: WeakKeyDictionary[object, Line] = WeakKeyDictionary()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """A connection for `req`, new or kept."""
        trip = current_trip.get()
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert protocol is not None
            line = self._lines.get(protocol)
            if line is None:
                line = self._lines[protocol] = Line(protocol.closed)
                trip.took(line, connection.transport, reused=False)
                return connection
            if not trip.fresh_only and not protocol.should_close:
                trip.took(line, connection.transport, reused=True)
                return connection
            connection.close()
