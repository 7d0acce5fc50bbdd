"""The connections to the vendor's host: opened when needed, kept for a while, vetted before they are used again.

HTTP/1.1 numbers nothing: bytes that a peer sends too late are taken for the answer to whatever was asked last. So a
connection is used again only after an exchange that was plain to its end, and only while its socket is silent. After an
odd answer it first rests for `QUIET_SECONDS`; any byte in that time cuts it. What remains: a peer that answers a plain
search twice, and whose second answer comes after the next search was sent. `upstream.keep_alive: false` is the remedy.
"""

from __future__ import annotations

import asyncio
import ssl

import httpx

from gateway.dial import NoAllowedAddress
from gateway.upstream.connection import Connection
from gateway.upstream.route import AddressRefused, Route, TlsVerificationError
from gateway.upstream.timer import TimeLimit

# Servers close idle connections after a minute or so, some after 20 s; ours go first.
KEEP_SECONDS = 15.0

# A second answer to a request comes, if at all, about one retry of a proxy later.
QUIET_SECONDS = 1.0
# Connections that rest at once. A vendor that refuses everything would otherwise have one for each refusal.
MAX_RESTING = 32


class Pool:
    """Connections over `route`. How many, is its user's to limit.

    `connect_timeout_seconds` covers name, connection and TLS. `keep_alive` False cuts each connection after one request.
    """

    def __init__(self, route: Route, connect_timeout_seconds: float, *, keep_alive: bool = True) -> None:
        self._route = route
        self._connect_timeout_seconds = connect_timeout_seconds
        self.keep_alive = keep_alive
        self._kept: list[Connection] = []
        self._resting: set[Connection] = set()
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
            with TimeLimit(self._connect_timeout_seconds):
                return await self._route.connect(self._connect_timeout_seconds)
        except TimeoutError:
            fault = httpx.ConnectTimeout("")
        except NoAllowedAddress:
            fault = AddressRefused("")
        except httpx.TransportError as error:
            fault = error.with_traceback(None)
        except ssl.SSLCertVerificationError:
            fault = TlsVerificationError("")
        except OSError:
            fault = httpx.ConnectError("")
        raise fault

    def give_back(self, connection: Connection) -> None:
        """Keeps a connection that is clean, after a rest if its answer was odd; any other is cut."""
        odd = connection.is_odd
        if self._closed or not (self.keep_alive and connection.is_clean) or (odd and len(self._resting) >= MAX_RESTING):
            connection.abort()
            return
        connection.rest()
        if odd:
            self._resting.add(connection)
            asyncio.get_running_loop().call_later(QUIET_SECONDS, self._rested, connection)
        else:
            self._keep(connection)

    def close(self) -> None:
        """Cuts what is kept, and whatever is given back from now on."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in (*self._kept, *self._resting):
            connection.abort()
        self._kept.clear()
        self._resting.clear()

    def _keep(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._kept.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_SECONDS, self._drop_old)

    def _rested(self, connection: Connection) -> None:
        """The time of quiet is over. A connection on which anything came meanwhile has cut itself."""
        if connection in self._resting:
            self._resting.remove(connection)
            if connection.is_clean:
                self._keep(connection)
            else:
                connection.abort()

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
