"""How many connections callers may have, and how much of a message may arrive unread: by what the process may use."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from gateway.memory_limit import container_limit_bytes

MAX_CONNECTIONS = 1024
_OTHER_DESCRIPTORS = 192
"""Kept for connections to the vendor and the stores, for files, the operators' listener and gRPC's own."""
_CONNECTION_BYTES = 1024 * 1024
"""What one connection may take of the container's memory, on average."""
_LEAST_AHEAD_BYTES, _MOST_AHEAD_BYTES = 64 * 1024, 1024 * 1024
_UNLIMITED = 1 << 30
_STREAMS_AHEAD = 16384
"""Streams whose messages may be on their way at the same time, unread: some dozens of busy connections."""


@dataclass(frozen=True, slots=True)
class ListenerBounds:
    """`connections` of callers at the same time; further ones are closed at once.

    `ahead_bytes` is how much of a message may arrive before it is read. More lets a message arrive in fewer round trips, and
    takes less processor time per message. But it is held in memory for every open stream, also for those that nobody has
    looked at yet.
    """

    connections: int
    ahead_bytes: int


def bounds_of(max_connections: int | None) -> ListenerBounds:
    """The bounds of this process. `max_connections` is the configured number, None if there is none."""
    return bounds_for(max_connections, _descriptor_limit(), container_limit_bytes())


def _descriptor_limit() -> int:
    """How many descriptors the process may have; a number that bounds nothing if there is no limit or it cannot be read."""
    try:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:
        return _UNLIMITED
    # "No limit" is -1 here.
    return _UNLIMITED if descriptors == resource.RLIM_INFINITY else descriptors


def bounds_for(max_connections: int | None, descriptors: int, memory_bytes: int | None) -> ListenerBounds:
    """The bounds of a process with `descriptors` and `memory_bytes` (None: no limit)."""
    connections, ahead_bytes = min(MAX_CONNECTIONS, descriptors - _OTHER_DESCRIPTORS), _MOST_AHEAD_BYTES
    if memory_bytes is not None:
        connections = min(connections, memory_bytes // _CONNECTION_BYTES)
        ahead_bytes = min(max(memory_bytes // _STREAMS_AHEAD, _LEAST_AHEAD_BYTES), _MOST_AHEAD_BYTES)
    return ListenerBounds(max(1, connections) if max_connections is None else max_connections, ahead_bytes)
