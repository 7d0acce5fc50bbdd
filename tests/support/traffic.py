"""Calls to a gateway that go on while a test looks at something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from tests.support.images import jpeg

PAUSE_SECONDS = 0.1
PHOTO = jpeg()


def search(
    stub: Any, mode: pb.CacheMode.ValueType = pb.CACHE_MODE_BYPASS, *, timeout: float = 9, **request: Any
) -> Any:
    """A search that goes to the vendor, unless told otherwise."""
    given = {"face_set": "employees", "image": pb.Image(content=PHOTO), **request}
    message = pb.SearchFaceRequest(cache_control=pb.CacheControl(mode=mode), **given)
    return stub.SearchFace(message, timeout=timeout)


class Traffic:
    """Calls to a gateway that go on until the end; how they end is the gateway's to tell."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self.stub: Any = FaceSearchServiceStub(self._channel)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, call: Callable[[], Awaitable[Any]], *, pause: float = PAUSE_SECONDS, lanes: int = 1) -> None:
        """Makes calls one after the other, in as many lanes."""
        self._tasks |= {asyncio.create_task(self._go_on(call, pause)) for _ in range(lanes)}

    async def _go_on(self, call: Callable[[], Awaitable[Any]], pause: float) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError):
                await call()
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Ends the calls."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._channel.close()


@asynccontextmanager
async def called(gateway: Gateway) -> AsyncIterator[Traffic]:
    """Traffic to a gateway."""
    traffic = Traffic(gateway.address)
    try:
        yield traffic
    finally:
        await traffic.close()
