"""`[::]` is every address of the machine, of both kinds, for the operators' listener as for gRPC's."""

from __future__ import annotations

import errno
import socket
from typing import Any

import aiohttp
import pytest

from gateway.clock import SystemClock
from gateway.ops.listener import Readiness, serve_ops

HAS_IPV6 = socket.has_dualstack_ipv6()


async def answered(host: str, port: str) -> bool:
    """Whether `/livez` answers there."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/livez") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectorError:
        return False


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
async def test_both_kinds_of_addresses_are_served() -> None:
    """A kubelet or Prometheus of an IPv4 cluster reaches a listener at `[::]` too."""
    async with serve_ops("[::]:0", lambda: Readiness(ready=True), clock=SystemClock()) as address:
        assert address.startswith("[::]:")
        port = address.rpartition(":")[2]
        assert await answered("127.0.0.1", port)
        assert await answered("[::1]", port)


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
async def test_one_address_is_one_address() -> None:
    """`[::1]` and `127.0.0.1` are served alone."""
    async with serve_ops("[::1]:0", lambda: Readiness(ready=True), clock=SystemClock()) as address:
        port = address.rpartition(":")[2]
        assert await answered("[::1]", port)
        assert not await answered("127.0.0.1", port)


async def test_a_system_without_ipv6_serves_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gRPC does: the same configuration fits every cluster."""
    create = socket.create_server

    def without_ipv6(address: Any, **named: Any) -> socket.socket:
        if named.get("family") == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return create(address, **named)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    async with serve_ops("[::]:0", lambda: Readiness(ready=True), clock=SystemClock()) as address:
        assert await answered("127.0.0.1", address.rpartition(":")[2])


async def test_a_taken_port_is_refused() -> None:
    """Not shared in silence."""
    async with serve_ops("[::]:0", lambda: Readiness(ready=True), clock=SystemClock()) as address:
        with pytest.raises(OSError, match="in use"):
            async with serve_ops(address, lambda: Readiness(ready=True), clock=SystemClock()):
                pass
