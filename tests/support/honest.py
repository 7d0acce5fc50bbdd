"""Honest callers: real gRPC clients that call at a steady pace while something else goes on, and what they were answered."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from tests.support.gateway import refusal_of
from tests.support.images import jpeg

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
# Longer than any right answer takes here, shorter than a caller's patience; three times that beside other work, as long as
# nobody asked for figures.
DEADLINE_SECONDS = 2.0 if os.environ.get("ABUSE") == "long" else 6.0


@dataclass
class Outcomes:
    """How calls ended and how long the good ones took."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def all_ok(self) -> bool:
        """Whether every call was answered, and there were some."""
        return set(self.counts) == {"OK"}

    def percentile(self, percent: int) -> float:
        """Seconds within which so many of the good calls were answered; infinite if none was."""
        if len(self.seconds) < 2:
            return self.seconds[0] if self.seconds else float("inf")
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[percent - 1]

    async def of(self, call: Awaitable[Any]) -> None:
        """Makes one call and counts it."""
        started = time.perf_counter()
        try:
            await call
        except grpc.aio.AioRpcError as error:
            self.counts[name_of(error)] += 1
        else:
            self.counts["OK"] += 1
            self.seconds.append(time.perf_counter() - started)

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.counts.most_common())


def name_of(error: grpc.aio.AioRpcError) -> str:
    """The code, and the published reason if there is one."""
    reason = refusal_of(error).reason
    return f"{error.code().name} {reason}" if reason else error.code().name


class Honest:
    """Searches of one tenant over one connection."""

    def __init__(self, channel: grpc.aio.Channel, token: str | None, mode: str) -> None:
        self.channel = channel
        self.stub: Any = FaceSearchServiceStub(channel)
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()
        cache = pb.CacheControl(mode=pb.CacheMode.Value(mode))
        self.request = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=jpeg()), cache_control=cache)

    def search(self, timeout: float = DEADLINE_SECONDS) -> Awaitable[Any]:
        """One search."""
        answer: Awaitable[Any] = self.stub.SearchFace(self.request, metadata=self.metadata, timeout=timeout)
        return answer

    async def search_for(self, seconds: float, per_second: float = 20.0) -> Outcomes:
        """Searches at this pace, whether or not earlier ones were answered."""
        return await at_pace(self.search, seconds, per_second)

    async def at_once(self, count: int, timeout: float = 10.0) -> Outcomes:
        """So many searches at the same moment."""
        outcomes = Outcomes()
        await asyncio.gather(*(outcomes.of(self.search(timeout)) for _ in range(count)))
        return outcomes


async def at_pace(call: Callable[[], Awaitable[Any]], seconds: float, per_second: float) -> Outcomes:
    """Makes calls at a steady pace for a time, and waits for the last answer."""
    outcomes, loop = Outcomes(), asyncio.get_running_loop()
    began, running = loop.time(), set()
    for number in range(max(1, round(seconds * per_second))):
        await asyncio.sleep(began + number / per_second - loop.time())
        running.add(asyncio.create_task(outcomes.of(call())))
    await asyncio.gather(*running)
    return outcomes


@asynccontextmanager
async def honest(
    address: str,
    token: str | None,
    *,
    mode: str = "CACHE_MODE_BYPASS",
    credentials: grpc.ChannelCredentials | None = None,
) -> AsyncIterator[Honest]:
    """A caller whose connection is warm."""
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, OWN_CONNECTION)
    else:
        channel = grpc.aio.secure_channel(f"localhost:{address.rpartition(':')[2]}", credentials, OWN_CONNECTION)
    async with channel:
        caller = Honest(channel, token, mode)
        await caller.search(timeout=10)
        yield caller
