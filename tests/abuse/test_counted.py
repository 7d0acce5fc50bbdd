"""Whatever reaches the door is counted: by `/metrics` an operator sees an attack that no log line shows."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path

from grpc_health.v1.health_pb2 import HealthCheckRequest

from tests.support import frames
from tests.support.abuse_stage import AbuseStage, abuse_stage
from tests.support.open_loop import SEARCH
from tests.support.raw_connection import RawConnection

HEALTH = "/grpc.health.v1.Health/"
COUNT = 37
_EMPTY = frames.message(b"")
_GZIP = frames.message(gzip.compress(HealthCheckRequest(service="x").SerializeToString()), compressed=True)
_LARGE = 8 * 1024 * 1024

KINDS: dict[str, Callable[[RawConnection, AbuseStage], int]] = {
    "a search without credentials": lambda to, _: to.call(SEARCH, end=False),
    "health Check": lambda to, _: to.call(HEALTH + "Check", body=_EMPTY),
    "health Watch": lambda to, _: to.call(HEALTH + "Watch", body=_EMPTY),
    "unknown method of health": lambda to, _: to.call(HEALTH + "Nothing", body=_EMPTY),
    "unknown method of reflection": lambda to, _: to.call("/grpc.reflection.v1.ServerReflection/Nothing", body=_EMPTY),
    "reset before the body": lambda to, stage: to.call(SEARCH, stage.bearer, end=False),
    "too large a body": lambda to, stage: to.call(SEARCH, stage.bearer, frames.unfinished(_LARGE, 1000), end=False),
    "an unknown encoding": lambda to, stage: to.call(
        SEARCH, [*stage.bearer, ("grpc-encoding", "made-up")], frames.message(b"x", compressed=True)
    ),
    "a compressed body": lambda to, _: to.call(HEALTH + "Check", [("grpc-encoding", "gzip")], _GZIP),
    "a compressed body without an encoding": lambda to, stage: to.call(SEARCH, stage.bearer, _GZIP),
}


# How long the gateway may take to count a call that has ended.
SETTLED_SECONDS = 15


async def test_each_kind_of_call_is_counted(tmp_path: Path) -> None:
    """37 of a kind raise some counter by 37, whatever else the process counts."""
    async with abuse_stage(tmp_path) as stage:
        uncounted = [kind for kind in KINDS if not await counted(stage, kind)]
        stage.keep("calls without any line or metric", None, None, f"not counted: {', '.join(uncounted) or 'none'}")

    assert not uncounted


async def counted(stage: AbuseStage, kind: str) -> bool:
    """Whether some counter rises by as many calls of a kind as are made."""
    before = await stage.metrics()
    connection = await RawConnection.open(stage.gateway.address)
    streams = [KINDS[kind](connection, stage) for _ in range(COUNT)]
    if kind in {"health Watch", "reset before the body"}:
        # gRPC takes up a call only a moment after its headers, and forgets one that is reset before.
        await asyncio.sleep(0.2)
        for stream in streams:
            connection.reset(stream)
    try:
        async with asyncio.timeout(SETTLED_SECONDS):
            while True:
                now = await stage.metrics()
                counters = [name for name in now if not name.startswith(("process_", "python_"))]
                if COUNT in {now[name] - before.get(name, 0) for name in counters}:
                    return True
                await asyncio.sleep(0.1)
    except TimeoutError:
        return False
    finally:
        connection.close()
