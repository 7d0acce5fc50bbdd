"""The grpc.aio server: its options, its listeners, and its drain.

Below the composition root and above the RPCs: it is handed a dispatcher and a health service, and knows no use case.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import grpc

from gateway.crowding import watch_connections
from gateway.listener_bounds import ListenerBounds
from gateway.rpc.bodies import MAX_BODY_BYTES
from gateway.rpc.dispatch import Dispatcher
from gateway.rpc.health import Health
from gateway.rpc.open_door import MAX_MESSAGE_BYTES
from gateway.rpc.reflection import Reflection
from gateway.rpc.tls import GRPC_REFUSES, ServerTls

MAX_METADATA_BYTES = 16 * 1024
# Longest stream that an ageing connection still lets end: a bulk search may take ten minutes.
_CONNECTION_GRACE_MS = 11 * 60 * 1000

_OPTIONS: dict[str, int] = {
    # A second server on the same port has to fail, not share it in silence.
    "grpc.so_reuseport": 0,
    # Only the algorithm "identity": gzip inflates a message 2,000 times before anybody can look at it.
    "grpc.compression_enabled_algorithms_bitset": 1,
    # Between a soft and a hard limit refusal is random, so they are one.
    "grpc.max_metadata_size": MAX_METADATA_BYTES,
    "grpc.absolute_max_metadata_size": MAX_METADATA_BYTES,
    "grpc.max_connection_age_ms": 300_000,
    "grpc.max_connection_age_grace_ms": _CONNECTION_GRACE_MS,
    # An idle connection takes one of a limited number. A caller that has another call to make connects again by itself.
    "grpc.max_connection_idle_ms": 120_000,
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.keepalive_permit_without_calls": 1,
    # Clients commonly ping every 10 s; those of Go and Java allow nothing shorter. After three pings that come faster than
    # this in a row, gRPC ends the connection.
    "grpc.http2.min_ping_interval_without_data_ms": 5_000,
    "grpc.server_handshake_timeout_ms": 10_000,
    # gRPC would measure each connection and take in many megabytes of messages that are meant to wait at their callers.
    "grpc.http2.bdp_probe": 0,
}

CALLER_OPTIONS: dict[str, int] = _OPTIONS | {
    "grpc.max_receive_message_length": MAX_BODY_BYTES,
    # Further calls of a connection wait at the caller. Streams that are opened and reset as fast as they can be are refused by
    # gRPC itself, with a limit that spares a caller's burst of calls, see docs/adr/0006.
    "grpc.max_concurrent_streams": 512,
    "grpc.http.overload_protection": 1,
    # Calls that wait to be looked at. Beyond this number gRPC ends calls of anybody as CANCELLED, at random.
    "grpc.server.max_pending_requests": 8192,
    "grpc.server.max_pending_requests_hard_limit": 16384,
}

PROBE_OPTIONS: dict[str, int] = _OPTIONS | {
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_concurrent_streams": 16,
    "grpc.max_allowed_incoming_connections": 64,
    "grpc.http2.lookahead_bytes": 64 * 1024,
}
"""Of the listener for probes, to which everybody may connect in plaintext: nothing large is meant for it."""

_QUIET_SECONDS = 1.0
"""Long enough for the last answers to leave: they are a few KB each."""
_LOOK_SECONDS = 0.1


class CannotListen(Exception):
    """An address that cannot be bound; the message names it and the remedy."""


class GrpcServer:
    """The gateway's gRPC listener, and an optional plaintext one that serves health alone."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        probes: Dispatcher,
        health: Health,
        reflection: Reflection | None,
        *,
        tls: ServerTls | None,
        bounds: ListenerBounds,
    ) -> None:
        options = CALLER_OPTIONS | {
            "grpc.max_allowed_incoming_connections": bounds.connections,
            "grpc.http2.lookahead_bytes": bounds.ahead_bytes,
        }
        self._bounds = bounds
        self._guard: asyncio.Task[None] | None = None
        self._health = health
        self._reflection = reflection
        with _patient_threads():
            self._credentials = tls.credentials() if tls is not None else None
            self._server = grpc.aio.server(options=tuple(options.items()))
            self._probes = grpc.aio.server(options=tuple(PROBE_OPTIONS.items()))
        self._server.add_generic_rpc_handlers((dispatcher,))
        self._probes.add_generic_rpc_handlers((probes,))

    async def start(self, listen: str, health_listen: str | None) -> str:
        """Binds and serves; the address that was bound. Raises `CannotListen`."""
        with _patient_threads():
            port = _bind(self._server, listen, self._credentials)
            if health_listen is not None:
                _bind(self._probes, health_listen, None)
                await self._probes.start()
            await self._server.start()
        self._guard = asyncio.create_task(watch_connections(port, self._bounds.connections))
        await self._health.serve()
        return f"{listen.rpartition(':')[0]}:{port}"

    async def leave(self, lame_duck_seconds: float) -> None:
        """Not ready from now on; calls are still taken while load balancers notice."""
        await self._health.drain()
        await asyncio.sleep(lame_duck_seconds)

    async def stop(self, grace_seconds: float, idle: Callable[[], bool] = lambda: True) -> None:
        """Takes no call any more and gives those in flight `grace_seconds` to end.

        `idle` says whether no call is in flight. Once it has said so for `_QUIET_SECONDS`, what is left are connections whose
        callers do not close them, and these are cut.
        """
        if self._reflection is not None:
            self._reflection.drain()
        if self._guard is not None:
            self._guard.cancel()
        stopping = asyncio.ensure_future(self._server.stop(grace_seconds))
        quiet_seconds = 0.0
        while not stopping.done() and quiet_seconds < _QUIET_SECONDS:
            await asyncio.wait((stopping,), timeout=_LOOK_SECONDS)
            quiet_seconds = quiet_seconds + _LOOK_SECONDS if idle() else 0.0
        await self._server.stop(0)
        await stopping
        await self._probes.stop(0)


@contextmanager
def _patient_threads() -> Iterator[None]:
    """Threads that start inside the block do not interrupt the event loop's: they wait until it has nothing to do.

    gRPC reads and writes in threads of its own, which the kernel would let in as soon as they have something to do,
    seven times a call. As a batch policy they cost a call a tenth less processor time, see docs/adr/0009. A thread's
    children inherit its policy, so later ones have it too.
    """
    former = None
    # Some C libraries (musl) and kernels have none of these calls, a sandbox may forbid them, and whoever chose a policy for
    # the process keeps it.
    with suppress(OSError, AttributeError):
        parameters = os.sched_getparam(0)
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, parameters)
            former = parameters
    try:
        yield
    finally:
        if former is not None:
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, former)


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError:
        port = 0
    if port == 0 and credentials is not None and _is_free(server, address):
        raise CannotListen(f"cannot listen on {address} with TLS: the certificate {GRPC_REFUSES}")
    if port == 0:
        raise CannotListen(f"cannot listen on {address}: it is in use or not an address of this machine")
    return port


def _is_free(server: grpc.aio.Server, address: str) -> bool:
    """Whether the address itself can be bound. The server must not start any more."""
    with suppress(RuntimeError):
        return server.add_insecure_port(address) != 0
    return False
