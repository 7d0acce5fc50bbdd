"""Fetches an issuer's key set over HTTP.

The URL is the configured one, always: no redirect is followed, no proxy taken from the environment. Knows no keys and
no tokens of callers.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.auth.jwks import MAX_DOCUMENT_BYTES
from gateway.auth.key_sources import Fetch
from gateway.resolver import resolver
from gateway.tls import client_context

TIMEOUT_SECONDS = 5.0


class FetchFailed(Exception):
    """The answer cannot be used. The message is constant."""


class _Names(AbstractResolver):
    """Looks names up as all connections of the gateway do: one that hangs holds up no other issuer."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses as aiohttp wants them. Raises `OSError`."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await resolver().addresses(host)
        ]

    async def close(self) -> None:
        """Holds nothing."""


@asynccontextmanager
async def open_session(ca_file: Path | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for key sets; `ca_file` replaces the system's certificate authorities."""
    async with aiohttp.ClientSession(
        # A fetch every few minutes gains nothing from a connection that may have died meanwhile.
        connector=aiohttp.TCPConnector(ssl=client_context(ca_file), force_close=True, resolver=_Names()),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "facegate"},
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield session


def fetch_from(session: aiohttp.ClientSession, url: str) -> Fetch:
    """A call that fetches `url`. Raises ValueError if it is neither https nor on a loopback host."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        raise ValueError("a key set is fetched over https, or from a loopback host")

    async def fetch() -> bytes:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200 or response.headers.get("content-encoding", "identity") != "identity":
                raise FetchFailed("not a plain answer of status 200")
            document = bytearray()
            async for chunk in response.content.iter_any():
                document += chunk
                if len(document) > MAX_DOCUMENT_BYTES:
                    raise FetchFailed("the answer is too large")
            return bytes(document)

    return fetch


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
