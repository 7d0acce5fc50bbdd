"""The chain that every call passes, one line per guard with the reason for its place."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.auth.authenticator import Authenticator
from gateway.clock import Clock
from gateway.config.server import ServerConfig
from gateway.memory_limit import container_limit_bytes
from gateway.quota.build import Quota
from gateway.rpc.bodies import MAX_BODY_BYTES, Bodies
from gateway.rpc.errors import AnswerErrors
from gateway.rpc.frame import Frame
from gateway.rpc.grouping import Bursts
from gateway.rpc.guards.authenticate import Authenticate
from gateway.rpc.guards.capacity import Capacity
from gateway.rpc.guards.limit import Limit
from gateway.rpc.room import Room
from gateway.telemetry.calls import Calls

DEFAULT_BODY_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chain:
    """What stands around every call. `capacity` and `room` count what calls hold."""

    frame: Frame
    capacity: Capacity
    room: Room


def build_chain(
    config: ServerConfig, *, authenticator: Authenticator, quota: Quota, calls: Calls, clock: Clock
) -> Chain:
    """The chain that the settings describe."""
    room = Room(max_body_bytes(config.max_body_bytes_in_flight, container_limit_bytes()), MAX_BODY_BYTES)
    capacity = Capacity(config.max_concurrent_rpcs, room)
    guards = (
        # A stranger costs nothing more.
        Authenticate(authenticator, clock, certificates=config.tls.client_ca_file is not None),
        # Nor does a tenant that is over its limits.
        Limit(quota.gate, quota.usage, clock),
        # Only calls that may go on take a place; messages are read from here on.
        capacity,
    )
    frame = Frame(
        guards,
        Bodies(room, clock),
        AnswerErrors(clock),
        Bursts(),
        calls,
        clock=clock,
        default_deadline_seconds=config.default_deadline_seconds,
    )
    return Chain(frame, capacity, room)


def max_body_bytes(configured: int | None, container_bytes: int | None) -> int:
    """Bytes of bodies in flight: as configured, or what the container's memory allows.

    A byte of a body takes up to four of resident memory while its call goes on: in gRPC's buffers, as the message, as the
    image and as the form for the vendor. As much again is in messages that nobody has read yet, and in memory that the
    allocator keeps. With an eighth of 1 GiB, 2 MB images at 640 per second ended in a kill in seven of ten runs; with a
    sixteenth the process reached 780 to 909 MiB in eight runs, and was not killed.
    """
    if configured is not None:
        return configured
    return DEFAULT_BODY_BYTES if container_bytes is None else min(DEFAULT_BODY_BYTES, container_bytes // 16)
