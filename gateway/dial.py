"""Connects to one of a host's addresses: the first that accepts, those that failed lately last."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.resolver import resolver

T = TypeVar("T")

MAX_SHARE_SECONDS = 1.5
"""How long one address of several is waited for. TCP and TLS over the longest distances take less than a second."""


class NoAllowedAddress(Exception):
    """The name leads only to addresses that must not be connected to."""


def anywhere(_: str) -> bool:
    """Allows every address."""
    return True


async def dial(
    host: str, connect: Callable[[str], Awaitable[T]], *, seconds: float, allows: Callable[[str], bool] = anywhere
) -> T:
    """What `connect` returns for an IP address of `host`, of those that `allows`.

    What is checked is the address that is connected to, so a name that leads elsewhere a moment later changes nothing.
    Each address gets its share of `seconds`, which the caller enforces: none can take it all, and all but the last have
    `MAX_SHARE_SECONDS` at most. Raises
    `NoAllowedAddress`, or what `connect` raises for the last address; a peer that fails TLS is the last.
    """
    loop, names = asyncio.get_running_loop(), resolver()
    until = loop.time() + seconds
    addresses = [address for address in await names.addresses(host) if allows(address)]
    if not addresses:
        raise NoAllowedAddress
    for left in range(len(addresses), 0, -1):
        address = addresses[-left]
        left_seconds = until - loop.time()
        share = left_seconds if left == 1 else min(left_seconds / left, MAX_SHARE_SECONDS)
        try:
            async with asyncio.timeout(share if left > 1 else None):
                connected = await connect(address)
        except ssl.SSLError:
            names.failed(host, address)
            raise
        except OSError:
            names.failed(host, address)
            if left == 1:
                raise
        except asyncio.CancelledError:
            # By the caller's limit, if its time is up: then the address took it.
            if loop.time() > until - share / 10:
                names.failed(host, address)
            raise
        else:
            names.answered(host, address)
            return connected
    raise AssertionError("unreachable")
