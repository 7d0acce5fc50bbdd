"""Makes room for new callers when connections get scarce, by closing those that have been idle for longest.

gRPC bounds the connections of all callers together, and not of one address. Without this, whoever opens them all keeps
every new caller out. gRPC has no call that closes a connection either, so this shuts the socket down below it: gRPC sees that
the peer has gone. A caller that closed nothing itself connects again with its next call.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

CHECK_SECONDS = 1.0
IDLE_SECONDS = 5.0
"""Connections that sent nothing for less than this are left alone."""
_DESCRIPTORS = Path("/proc/self/fd")
_CROWDED, _ROOMY = 7 / 8, 3 / 4
# Of the kernel's `struct tcp_info`: `tcpi_last_data_recv`, milliseconds since the peer sent something.
_LAST_RECEIVED = struct.Struct("52xI")

log = structlog.get_logger(__name__)


class Idle(NamedTuple):
    """An open connection: its descriptor, its peer's address and port, and how long the peer has sent nothing."""

    descriptor: int
    host: str
    port: int
    seconds: float


async def watch_connections(port: int, limit: int) -> None:
    """Closes idle connections to `port` whenever nearly `limit` are open. Runs until it is cancelled."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        if _open_descriptors() >= limit * _CROWDED:
            closed = await asyncio.to_thread(close_idle, port, limit)
            if closed:
                log.warning("server.idle_connections_closed", connections=closed)


def close_idle(port: int, limit: int) -> int:
    """Closes idle connections until three quarters of `limit` are left; returns how many it closed.

    The peer address with the most connections gives way first, and of its connections those that were idle for longest.
    """
    connections = list(_connections(port))
    if len(connections) < limit * _CROWDED:
        return 0
    crowd = Counter(one.host for one in connections)
    excess = len(connections) - int(limit * _ROOMY)
    idle = [one for one in connections if one.seconds >= IDLE_SECONDS]
    idle.sort(key=lambda one: (crowd[one.host], one.seconds), reverse=True)
    return sum(_close(one, port) for one in idle[:excess])


def _open_descriptors() -> int:
    try:
        return sum(1 for _ in _DESCRIPTORS.iterdir())
    except OSError:
        # No such folder, or no descriptor left to look into it. The first look below tells.
        return 1 << 30


def _connections(port: int) -> Iterator[Idle]:
    """The connections of this process to its own `port`."""
    try:
        descriptors = [int(entry.name) for entry in _DESCRIPTORS.iterdir()]
    except OSError:
        return
    for descriptor in descriptors:
        found = _look(descriptor, port)
        if found is not None:
            yield found


@contextmanager
def _socket(descriptor: int) -> Iterator[socket.socket]:
    """A socket of its own for a descriptor, which may be closed or another's at any time. Raises `OSError`."""
    copy = os.dup(descriptor)
    try:
        connection = socket.socket(fileno=copy)
    except OSError:
        # Not a socket.
        os.close(copy)
        raise
    with connection:
        yield connection


def _look(descriptor: int, port: int) -> Idle | None:
    """What a descriptor is a connection to; None if it is none of ours."""
    try:
        with _socket(descriptor) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.getsockname()[1] != port:
                return None
            host, peer_port, *_ = connection.getpeername()
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            return Idle(descriptor, host, peer_port, _LAST_RECEIVED.unpack_from(info)[0] / 1000)
    except (OSError, AttributeError, struct.error):
        # Gone, no socket, or a system that does not count: without a time nothing is closed.
        return None


def _close(one: Idle, port: int) -> bool:
    """Shuts a connection down, if the descriptor is still its own."""
    try:
        with _socket(one.descriptor) as connection:
            if connection.getsockname()[1] != port or connection.getpeername()[:2] != (one.host, one.port):
                return False
            connection.shutdown(socket.SHUT_RDWR)
            return True
    except OSError:
        return False
