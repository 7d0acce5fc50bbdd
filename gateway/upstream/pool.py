"""The connections to the vendor's host: opened when needed, kept for a while, vetted before they are used again."""

from __future__ import annotations

import asyncio
import socket
import ssl

import httpx

from gateway.upstream.connection import Connection

# Servers close idle connections after a minute or so, some after 20 s; ours go first.
KEEP_SECONDS = 15.0

TLS_SHUTDOWN_SECONDS = 1.0


class TlsVerificationError(httpx.ConnectError):
    """The peer is not who it should be."""


class Pool:
    """Connections to `host` and `port`, over TLS if there is a context. How many, is its user's to limit.

    `connect_timeout_seconds` covers name, connection and TLS.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, connect_timeout_seconds: float) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._connect_timeout_seconds = connect_timeout_seconds
        self._kept: list[Connection] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def take_kept(self) -> Connection | None:
        """The connection that was used last, if one can be used again."""
        oldest = asyncio.get_running_loop().time() - KEEP_SECONDS
        while self._kept:
            connection = self._kept.pop()
            if connection.idle_since > oldest and connection.is_clean and connection.is_silent:
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """A new connection. Raises `httpx.ConnectError` or `httpx.ConnectTimeout`, without a text."""
        fault: httpx.TransportError
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                return await self._connect()
        except TimeoutError:
            fault = httpx.ConnectTimeout("")
        except ssl.SSLCertVerificationError:
            fault = TlsVerificationError("")
        except OSError:
            fault = httpx.ConnectError("")
        raise fault

    def give_back(self, connection: Connection) -> None:
        """Keeps a connection that is clean; any other is cut."""
        if self._closed or not connection.is_clean:
            connection.abort()
            return
        connection.rest()
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._kept.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_SECONDS, self._drop_old)

    def close(self) -> None:
        """Cuts what is kept, and whatever is given back from now on."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while self._kept:
            self._kept.pop().abort()

    async def _connect(self) -> Connection:
        """The first of the host's addresses that accepts; each gets its share of the time, so none can take it all."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._connect_timeout_seconds
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = [str(info[4][0]) for info in found]
        for left in range(len(addresses), 1, -1):
            try:
                async with asyncio.timeout((until - loop.time()) / left):
                    return await self._connect_to(addresses[-left])
            except ssl.SSLError:
                raise
            except OSError:
                continue
        return await self._connect_to(addresses[-1])

    async def _connect_to(self, address: str) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection,
            address,
            self._port,
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
            ssl_handshake_timeout=self._connect_timeout_seconds if self._tls else None,
            ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS if self._tls else None,
        )
        return connection

    def _drop_old(self) -> None:
        """Cuts the connections that nobody took for long, and those that the peer ended."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEP_SECONDS
        kept, self._kept = self._kept, []
        for connection in kept:
            if connection.idle_since > oldest and connection.is_clean:
                self._kept.append(connection)
            else:
                connection.abort()
        self._sweep = loop.call_later(KEEP_SECONDS, self._drop_old) if self._kept else None
