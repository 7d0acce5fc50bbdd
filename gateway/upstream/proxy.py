"""The way to the vendor through an HTTP proxy, as networks without a way out of their own have it: CONNECT, then TLS.

TLS is the vendor's from end to end: the proxy learns its host and port, and no secret and no image. Which address the
vendor's name leads to is the proxy's decision, so it is not checked here.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httpx

from gateway.dial import dial
from gateway.resolver import verified_name
from gateway.secret import Secret
from gateway.upstream.connection import Connection
from gateway.upstream.route import TLS_SHUTDOWN_SECONDS

MAX_HEAD_BYTES = 16 * 1024
_END_OF_HEAD = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")
_LOGIN_REQUIRED = 407


class ProxyFailed(httpx.ConnectError):
    """The proxy cannot be reached, or does not speak HTTP."""


class ProxyUnverified(httpx.ConnectError):
    """The proxy is not who it should be."""


class ProxyRefused(httpx.ConnectError):
    """The proxy does not let us to the vendor."""


class ProxyLoginRefused(ProxyRefused):
    """The proxy wants credentials, or others."""


def no_login() -> Secret | None:
    """A proxy that wants no credentials."""
    return None


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy listens. It is spoken to over `tls`, if there is a context. `login` gives `user:password` or None."""

    host: str
    port: int
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    login: Callable[[], Secret | None] = field(default=no_login, repr=False)


class Tunnel:
    """A `Route` to `host` and `port` through a proxy; over TLS of the host's own if there is a context."""

    def __init__(self, proxy: Proxy, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._proxy = proxy
        self._host = verified_name(host)
        self._port = port
        self._tls = tls

    async def connect(self, seconds: float) -> Connection:
        """See `Route.connect`."""
        asking = await self._reach_proxy(seconds)
        try:
            await asking.ask(self._request())
            return await self._through(asking.transport, seconds)
        except BaseException:
            asking.transport.abort()
            raise

    async def _reach_proxy(self, seconds: float) -> _Asking:
        proxy, loop = self._proxy, asyncio.get_running_loop()

        async def connect_to(address: str) -> _Asking:
            _, asking = await loop.create_connection(
                _Asking,
                address,
                proxy.port,
                ssl=proxy.tls,
                server_hostname=verified_name(proxy.host) if proxy.tls else None,
                ssl_handshake_timeout=seconds if proxy.tls else None,
                ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS if proxy.tls else None,
            )
            return asking

        fault: httpx.ConnectError
        try:
            return await dial(proxy.host, connect_to, seconds=seconds)
        except TimeoutError:
            raise
        except ssl.SSLCertVerificationError:
            fault = ProxyUnverified("")
        except OSError:
            fault = ProxyFailed("")
        raise fault

    def _request(self) -> bytes:
        host = f"[{self._host}]" if ":" in self._host else self._host
        place = f"{host}:{self._port}".encode("ascii")
        lines = [b"CONNECT %b HTTP/1.1" % place, b"Host: " + place, b"User-Agent: facegate"]
        login = self._proxy.login()
        if login is not None:
            lines.append(b"Proxy-Authorization: Basic " + base64.b64encode(login.reveal().encode("utf-8")))
        return b"\r\n".join(lines) + _END_OF_HEAD

    async def _through(self, transport: asyncio.Transport, seconds: float) -> Connection:
        """The connection behind the proxy."""
        connection = Connection()
        if self._tls is None:
            transport.set_protocol(connection)
            connection.connection_made(transport)
            return connection
        inner = await asyncio.get_running_loop().start_tls(
            transport,
            connection,
            self._tls,
            server_hostname=self._host,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS,
        )
        if inner is None:
            raise ConnectionResetError
        connection.connection_made(inner)
        return connection


class _Asking(asyncio.Protocol):
    """A connection to the proxy until it has answered CONNECT."""

    def __init__(self) -> None:
        self._head = b""
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    async def ask(self, request: bytes) -> None:
        """Returns once the proxy lets us through. Raises `httpx.ConnectError`."""
        self.transport.write(request)
        await self._answered
        status = _STATUS.match(self._head)
        head, _, rest = self._head.partition(_END_OF_HEAD)
        # The vendor speaks second: what comes before is not from it.
        if status is None or rest or len(head) > MAX_HEAD_BYTES:
            raise ProxyFailed("")
        code = int(status[1])
        if code == _LOGIN_REQUIRED:
            raise ProxyLoginRefused("")
        if code >= 500:
            # It tried, and found the vendor unreachable.
            raise httpx.ConnectError("")
        if not 200 <= code <= 299:
            raise ProxyRefused("")

    def data_received(self, data: bytes) -> None:
        self._head += data
        if _END_OF_HEAD in self._head or len(self._head) > MAX_HEAD_BYTES:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self._answered.done():
            self._answered.set_result(None)
