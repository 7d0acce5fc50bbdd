"""gRPC reflection, by which grpcurl and its like learn the schema. Open to everyone, and bounded for that reason.

grpcio's own servicer reads requests of any size, computes each answer again, and keeps streams open for ever. Here requests
are small (`open_door.py`), a file is serialized once, a stream ends when it is idle, and all of them end with the drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError
from grpc import StatusCode
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as V1ALPHA
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from gateway.rpc.dispatch import Route
from gateway.rpc.open_door import OpenDoor, OpenStreams, Refused, Stream
from gateway.rpc.schema import Schema, add_reflection_v1
from gateway.telemetry.refusal_kinds import RefusalKind

V1 = add_reflection_v1()

MAX_STREAMS = 32
MAX_STREAMS_PER_CONNECTION = 4
MAX_REQUESTS_PER_STREAM = 512
IDLE_SECONDS = 10.0
WRITE_SECONDS = 5.0
ANSWERS_PER_SECOND = 200
ANSWERS_AT_ONCE = 200
"""On all streams together; a tool needs some ten."""


class Reflection:
    """Serves the schema of `services`, under both names of the protocol."""

    def __init__(self, services: Sequence[str]) -> None:
        self._schema = Schema((*services, V1, V1ALPHA))
        self._streams = OpenStreams(MAX_STREAMS, MAX_STREAMS_PER_CONNECTION, RefusalKind.REFLECTION_LIMIT)
        self._open: set[asyncio.Task[object]] = set()
        self._draining = False
        self._due = 0.0

    def routes(self, door: OpenDoor) -> Mapping[str, Route]:
        """The service's RPC by both of its full paths, for the listener of `door`."""

        async def info(_: object, context: Stream) -> None:
            await self._serve(door, context)

        route = Route(info, None, streams_answers=True)
        return {f"/{name}/ServerReflectionInfo": route for name in (V1, V1ALPHA)}

    def drain(self) -> None:
        """Ends all streams now: an idle one would hold up the drain."""
        self._draining = True
        for task in self._open:
            task.cancel()

    async def _serve(self, door: OpenDoor, context: Stream) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        door.opened("reflection")
        try:
            with self._streams.one(context):
                await self._answer_all(door, context)
        except Refused as refusal:
            await door.refuse(context, refusal)
        except asyncio.CancelledError:
            # A cancellation that did not come from the caller must not get past here: the call would have no status.
            if not self._draining or task.uncancel():
                raise
        finally:
            self._open.discard(task)

    async def _answer_all(self, door: OpenDoor, context: Stream) -> None:
        for _ in range(MAX_REQUESTS_PER_STREAM):
            raw = await door.read(context, seconds=IDLE_SECONDS)
            if raw is None:
                return
            await self._turn(asyncio.get_running_loop().time())
            try:
                answer = self._schema.answer(ServerReflectionRequest.FromString(raw))
            except DecodeError:
                raise Refused(
                    StatusCode.INVALID_ARGUMENT, "the request cannot be decoded", RefusalKind.INVALID_REQUEST
                ) from None
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await context.write(answer.SerializeToString())
            except TimeoutError:
                raise Refused(
                    StatusCode.DEADLINE_EXCEEDED, "the answers are not read", RefusalKind.REFLECTION_LIMIT
                ) from None

    async def _turn(self, now: float) -> None:
        """Waits until the next answer is due. A stream has one question at a time here, so all streams take turns."""
        self._due = max(self._due, now - ANSWERS_AT_ONCE / ANSWERS_PER_SECOND) + 1 / ANSWERS_PER_SECOND
        if self._due > now:
            await asyncio.sleep(self._due - now)
