"""The way to the vendor's host: which address is connected to, and what TLS asks of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

import httpx

from gateway.dial import dial
from gateway.resolver import verified_name
from gateway.upstream.connection import Connection
from gateway.upstream.endpoint import is_public

TLS_SHUTDOWN_SECONDS = 1.0


class TlsVerificationError(httpx.ConnectError):
    """The peer is not who it should be."""


class AddressRefused(httpx.ConnectError):
    """The host's name leads only to addresses that secrets must not go to."""


class Route(Protocol):
    """A way to the vendor's host."""

    async def connect(self, seconds: float) -> Connection:
        """A new connection, TLS included, within `seconds`, which the caller enforces.

        Raises `OSError`, `NoAllowedAddress` or `httpx.TransportError`.
        """
        ...


class Direct:
    """Straight to `host` and `port`, over TLS if there is a context. `allows` says whether an IP address is good."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, *, allows: Callable[[str], bool] = is_public
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._allows = allows

    async def connect(self, seconds: float) -> Connection:
        """See `Route.connect`."""

        async def connect_to(address: str) -> Connection:
            return await self._connect_to(address, seconds)

        return await dial(self._host, connect_to, seconds=seconds, allows=self._allows)

    async def _connect_to(self, address: str, seconds: float) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection,
            address,
            self._port,
            ssl=self._tls,
            server_hostname=verified_name(self._host) if self._tls else None,
            ssl_handshake_timeout=seconds if self._tls else None,
            ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS if self._tls else None,
        )
        return connection
