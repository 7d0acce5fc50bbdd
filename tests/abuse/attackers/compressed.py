"""Messages that are a few kilobytes on the wire and seven megabytes in memory."""

from __future__ import annotations

import asyncio
import gzip

from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from tests.support import frames
from tests.support.attack_process import Attack
from tests.support.raw_connection import RawConnection

# Just under the limit of one message.
_NAME = "x" * (7 * 1024 * 1024 - 64)
_GZIP = (("grpc-encoding", "gzip"),)
HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


async def health_watches(attack: Attack) -> None:
    """`calls` watches of a service whose name is as long as a message may be, on one connection."""
    body = _compressed(HealthCheckRequest(service=_NAME).SerializeToString())
    connection = await attack.connect()
    for _ in range(attack.options["calls"]):
        connection.call(HEALTH + "Watch", _GZIP, body)
    attack.is_on()
    await connection.gone.wait()


async def health_checks(attack: Attack) -> None:
    """Checks with such a name, `per_second` of them, at most six at a time."""
    body = _compressed(HealthCheckRequest(service=_NAME).SerializeToString())
    connection, pause = await attack.connect(), 1 / attack.options["per_second"]
    attack.is_on()
    while not connection.gone.is_set():
        if len(connection.open_streams) < 6:
            connection.call(HEALTH + "Check", _GZIP, body)
        await asyncio.sleep(pause)


async def unread_reflection(attack: Attack) -> None:
    """Questions that their answers repeat, on `calls` streams over `connections`, and no answer is read."""
    body = _compressed(ServerReflectionRequest(file_containing_symbol=_NAME).SerializeToString())
    calls, connections = attack.options["calls"], attack.options["connections"]
    opened: list[RawConnection] = [await attack.connect(reads=False) for _ in range(connections)]
    for number in range(calls):
        opened[number % connections].call(REFLECTION, _GZIP, body, end=False)
    attack.is_on()
    await asyncio.gather(*(one.gone.wait() for one in opened))


def _compressed(message: bytes) -> bytes:
    return frames.message(gzip.compress(message, 9), compressed=True)
