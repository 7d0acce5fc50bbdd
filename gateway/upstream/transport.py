"""An httpx transport over aiohttp's connections: the cheapest way to call the vendor through httpx's interface.

`docs/adr/0002-how-httpx-is-called.md` has the figures. It speaks HTTP/1.1 to one host, follows no redirect, keeps no
cookie, asks no environment and decompresses nothing. It knows the vendor neither by name nor by schema.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

from gateway.upstream.connector import Trip, VettingConnector, current_trip

# A kept connection that dies later than this after a request was sent may have died of that request.
STALE_SECONDS = 1.0


class TlsVerificationError(httpx.ConnectError):
    """The peer is not who it should be."""


class Body(httpx.AsyncByteStream):
    """An answer's body, raw. Closed before its end it takes the connection with it."""

    def __init__(self, response: aiohttp.ClientResponse, trip: Trip) -> None:
        self._response = response
        self._trip = trip
        if trip.line is not None:
            trip.line.answer = response.content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        fault: httpx.TransportError
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
            return
        except aiohttp.ClientError as error:
            fault = httpx_error(error)
        raise fault

    async def aclose(self) -> None:
        """Gives the connection back if the body was read to its end, else cuts it."""
        if not self._response.content.at_eof():
            self._trip.abort()
        if self._trip.line is not None:
            self._trip.line.answer = None
        self._response.release()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over `session`, which it closes in the end.

    `connect_timeout_seconds` covers name, connection and TLS; every other limit is the caller's, who may cancel.
    Raises `httpx.TransportError`s only.
    """

    def __init__(self, session: aiohttp.ClientSession, connect_timeout_seconds: float) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_seconds)
        self._urls: dict[httpx.URL, URL] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The head of the answer to `request`; its body is read from the response's stream.

        A kept connection that the server had closed before it saw the request is no fault: the request goes out once
        more, on a new connection. It is a POST, which HTTP forbids to repeat blindly; but a search changes nothing, and
        one that the server began to answer, or sat on for `STALE_SECONDS`, is not repeated, so it is not billed twice.
        """
        loop = asyncio.get_running_loop()
        fault: httpx.TransportError
        for attempt in (0, 1):
            trip = Trip(fresh_only=attempt > 0)
            current_trip.set(trip)
            started = loop.time()
            try:
                return await self._send(request, trip)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                fault = httpx_error(error)
                if not trip.reused or loop.time() - started > STALE_SECONDS:
                    break
            except aiohttp.ClientError as error:
                fault = httpx_error(error)
                break
        raise fault

    async def _send(self, request: httpx.Request, trip: Trip) -> httpx.Response:
        try:
            response = await self._session.request(
                request.method,
                self._url(request.url),
                headers=CIMultiDict(
                    [(name.decode("ascii"), value.decode("ascii")) for name, value in request.headers.raw]
                ),
                data=request.stream,
                allow_redirects=False,
                auto_decompress=False,
                timeout=self._timeout,
            )
        except BaseException:
            trip.abort()
            raise
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=Body(response, trip), request=request
        )

    def _url(self, url: httpx.URL) -> URL:
        parsed = self._urls.get(url)
        if parsed is None:
            parsed = self._urls[url] = URL(str(url), encoded=True)
        return parsed

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._session.close()


def open_transport(tls: ssl.SSLContext | None, connect_timeout_seconds: float) -> AiohttpTransport:
    """A transport with connections of its own; needs a running loop. How many there may be is its user's to limit."""
    session = aiohttp.ClientSession(
        connector=VettingConnector(ssl=tls if tls is not None else True, limit=0, keepalive_timeout=15.0),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
    return AiohttpTransport(session, connect_timeout_seconds)


def httpx_error(error: Exception) -> httpx.TransportError:
    """The fault by httpx's name, without a text: aiohttp's texts name hosts, and its errors carry request headers."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return TlsVerificationError("")
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout("")
        case aiohttp.ServerTimeoutError():
            return httpx.ReadTimeout("")
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError("")
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError():
            return httpx.ReadError("")
        case _:
            return httpx.RemoteProtocolError("")
