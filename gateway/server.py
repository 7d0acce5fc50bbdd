"""The grpc.aio server: its options, its listeners, and its drain.

Below the composition root and above the RPCs: it is handed a dispatcher and a health service, and knows no use case.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import grpc
from grpc_reflection.v1alpha._async import ReflectionServicer
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from gateway.rpc.dispatch import Dispatcher
from gateway.rpc.health import SERVICE as HEALTH
from gateway.rpc.health import Health
from gateway.rpc.interceptors.admit import MAX_BODY_BYTES
from gateway.rpc.tls import ServerTls

MAX_METADATA_BYTES = 16 * 1024
# Longest stream that an ageing connection still lets end: a bulk search may take ten minutes.
_CONNECTION_GRACE_MS = 11 * 60 * 1000

OPTIONS: tuple[tuple[str, int], ...] = (
    # A second server on the same port has to fail, not share it in silence.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_BODY_BYTES),
    # Further calls of a connection wait at the caller. With gRPC's overload protection they are refused without any
    # reason instead, see docs/adr/0006.
    ("grpc.max_concurrent_streams", 64),
    ("grpc.http.overload_protection", 0),
    # Between a soft and a hard limit refusal is random, so they are one.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_connection_age_ms", 300_000),
    ("grpc.max_connection_age_grace_ms", _CONNECTION_GRACE_MS),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
)


class CannotListen(Exception):
    """An address that cannot be bound; the message names it and the remedy."""


class GrpcServer:
    """The gateway's gRPC listener, and an optional plaintext one that serves health alone."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        health: Health,
        services: Sequence[str],
        *,
        tls: ServerTls | None,
        reflection: bool,
    ) -> None:
        self._health = health
        with _patient_threads():
            self._credentials = tls.credentials() if tls is not None else None
            self._server = grpc.aio.server(options=OPTIONS)
            self._probes = grpc.aio.server(options=OPTIONS)
        # In the order in which gRPC asks them about a call, so the calls that matter come first.
        self._server.add_generic_rpc_handlers((dispatcher, health.handlers()))
        self._probes.add_generic_rpc_handlers((health.handlers(),))
        if reflection:
            names = (*services, HEALTH, REFLECTION)
            self._server.add_generic_rpc_handlers(_reflection_handlers(names))

    async def start(self, listen: str, health_listen: str | None) -> str:
        """Binds and serves; the address that was bound. Raises `CannotListen`."""
        with _patient_threads():
            port = _bind(self._server, listen, self._credentials)
            if health_listen is not None:
                _bind(self._probes, health_listen, None)
                await self._probes.start()
            await self._server.start()
        await self._health.serve()
        return f"{listen.rpartition(':')[0]}:{port}"

    async def leave(self, lame_duck_seconds: float) -> None:
        """Not ready from now on; calls are still taken while load balancers notice."""
        await self._health.drain()
        await asyncio.sleep(lame_duck_seconds)

    async def stop(self, grace_seconds: float) -> None:
        """Takes no call any more and gives those in flight `grace_seconds` to end."""
        await self._server.stop(grace_seconds)
        await self._probes.stop(0)


@contextmanager
def _patient_threads() -> Iterator[None]:
    """Threads that start inside the block do not interrupt the event loop's: they wait until it has nothing to do.

    gRPC reads and writes in threads of its own, which the kernel would let in as soon as they have something to do,
    seven times a call. As a batch policy they cost a call a tenth less processor time, see docs/adr/0009. A thread's
    children inherit its policy, so later ones have it too.
    """
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    # A sandbox may forbid it, and whoever chose a policy for the process keeps it.
    with suppress(OSError):
        if policy == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, parameters)
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, policy, parameters)


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        raise CannotListen(f"cannot listen on {address}: it is in use or not an address of this machine")
    return port


def _reflection_handlers(names: Sequence[str]) -> tuple[grpc.GenericRpcHandler, ...]:
    """Reflection under both of its names; the messages are the same, and Python ships only the older one."""
    servicer = ReflectionServicer(names)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=ServerReflectionRequest.FromString,
        response_serializer=ServerReflectionResponse.SerializeToString,
    )
    return tuple(
        grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
        for name in ("grpc.reflection.v1.ServerReflection", REFLECTION)
    )
