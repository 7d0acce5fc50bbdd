"""The ledger adds up: every search is counted once, and in exactly one of answered, rejected and failed."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.errors import (
    FaceSetUnusable,
    GatewayOverloaded,
    ImageRejected,
    UpstreamAccessMisconfigured,
    UpstreamBadResponse,
    UpstreamInternalError,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.support.conditions import eventually
from tests.support.gateway import config_of, refusal, running
from tests.support.images import jpeg
from tests.support.upstream import ANSWER, FakeUpstream

# The rate is so slow that nothing of it comes back during a test.
LIMITS = {
    "free": {},
    "slow": {"rate": {"per_second": 0.001, "burst": 1}},
    "narrow": {"concurrency": 1},
    "poor": {"upstream_calls": {"per_day": 1}},
}
VENDOR = (
    FaceSetUnusable("QUERY_FAILED"),
    GatewayOverloaded(),
    ImageRejected(()),
    UpstreamAccessMisconfigured("NO_PERMISSION"),
    UpstreamBadResponse("none"),
    UpstreamInternalError("INTERNAL_ERROR"),
    UpstreamQuotaExhausted("OUT_OF_QUOTA"),
    UpstreamRateLimited("RATE_LIMIT_EXCEEDED"),
    UpstreamTimeout("none"),
    UpstreamUnavailable("none"),
    RuntimeError("a bug"),
)
SEARCH = "/facegate.search.v1.FaceSearchService/SearchFace"


def login(name: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer token-of-{name}"),)


def principal(name: str) -> dict[str, str]:
    return {"token_sha256": hashlib.sha256(f"token-of-{name}".encode()).hexdigest()}


def search(seed: int, **fields: Any) -> pb.SearchFaceRequest:
    return pb.SearchFaceRequest(**{"face_set": "staff", "image": pb.Image(content=jpeg(seed=seed)), **fields})


class World:
    """A gateway with the tenants of `LIMITS`; each seed is another photo."""

    def __init__(self, channel: grpc.aio.Channel, upstream: FakeUpstream) -> None:
        self.channel, self.upstream = channel, upstream
        self.stub: Any = FaceSearchServiceStub(channel)

    def send(self, name: str, seed: int, **fields: Any) -> Any:
        return self.stub.SearchFace(search(seed, **fields), metadata=login(name))

    async def row(self, name: str) -> tuple[int, int, int, int, int]:
        """Searches, answered ones, rejections, failures, cache hits."""
        (day,) = (await self.stub.GetUsage(pb.GetUsageRequest(), metadata=login(name))).days
        answered = day.searches - day.quota_rejections - day.failures
        return day.searches, answered, day.quota_rejections, day.failures, day.cache_hits

    async def answered(self) -> None:
        """A miss, a hit, and one that shares an upstream call."""
        await self.send("free", 1)
        await self.send("free", 1)
        self.upstream.hold.clear()
        first = self.send("free", 2)
        await eventually(lambda: self.upstream.in_flight == 1, "the search is in flight")
        second = self.send("free", 2)
        await asyncio.sleep(0)
        self.upstream.hold.set()
        await asyncio.gather(first, second)

    async def failed(self) -> int:
        """Every fault of the vendor, each fault of a request, a miss that may not search, a caller that gives up."""
        for seed, error in enumerate(VENDOR, start=10):
            self.upstream.answer = error
            await refusal(self.send("free", seed))
        self.upstream.answer = ANSWER
        only = pb.CacheControl(mode=pb.CACHE_MODE_ONLY_IF_CACHED)
        undecodable: Any = self.channel.unary_unary(SEARCH)
        requests = [
            self.send("free", 1, face_set="none"),
            self.send("free", 1, image=pb.Image(content=b"no image")),
            self.send("free", 1, image=pb.Image()),
            self.send("free", 1, max_results=99),
            self.send("free", 90, cache_control=only),
            undecodable(b"\xff\xff", metadata=login("free")),
            self.stub.SearchFace(search(91), metadata=login("free"), timeout=0.05),
        ]
        for request in requests[:-1]:
            await refusal(request)
        # Whether this one is refused as hopeless or runs out of time, it failed.
        self.upstream.hold.clear()
        await refusal(self.stub.SearchFace(search(92), metadata=login("free"), timeout=0.2))
        given_up = self.send("free", 93)
        await eventually(lambda: self.upstream.queries[-1].image.content == jpeg(seed=93), "the search is in flight")
        given_up.cancel()  # The vendor stays silent, so that no answer comes before the gateway hears of it.
        await asyncio.gather(requests[-1], return_exceptions=True)
        return len(VENDOR) + len(requests) + 2


@pytest.fixture
async def world() -> Any:
    tenants = [
        {"id": name, "face_sets": {"staff": "prod"}, "principals": [principal(name)], "limits": limits}
        for name, limits in LIMITS.items()
    ]
    upstream = FakeUpstream()
    config = config_of(auth={"anonymous_tenant": None}, tenants=tenants)
    async with (
        running(config, upstream=upstream) as gateway,
        grpc.aio.insecure_channel(gateway.address) as channel,
    ):
        yield World(channel, upstream)


async def test_every_search_is_in_exactly_one_column(world: World) -> None:
    """Answered, rejected by a limit, or failed; a rejected image and a caller that gave up are failures."""
    await world.answered()
    failures = await world.failed()
    expected = (4 + failures, 4, 0, failures, 2)
    found = await world.row("free")
    for _ in range(200):
        if found == expected:
            break
        await asyncio.sleep(0.05)  # Nothing else tells a caller that has gone when the gateway heard of it.
        found = await world.row("free")
    world.upstream.hold.set()
    assert found == expected


async def test_each_limit_rejects_once(world: World) -> None:
    """Also a rate that refuses on a call's headers, without asking the store."""
    await world.send("slow", 1)
    for _ in range(3):
        await refusal(world.send("slow", 1))
    await world.send("poor", 1)
    await refusal(world.send("poor", 2))
    world.upstream.hold.clear()
    held = world.send("narrow", 1)
    await eventually(lambda: world.upstream.in_flight == 1, "the search is in flight")
    await refusal(world.send("narrow", 2))
    world.upstream.hold.set()
    await held
    assert await world.row("slow") == (4, 1, 3, 0, 0)
    assert await world.row("poor") == (2, 1, 1, 0, 0)
    assert await world.row("narrow") == (2, 1, 1, 0, 0)


async def test_what_proves_no_tenant_is_nobodys_search(world: World) -> None:
    """A call without good credentials counts for nobody."""
    await refusal(world.stub.SearchFace(search(1), metadata=login("nobody")))
    for name in LIMITS:
        assert not (await world.stub.GetUsage(pb.GetUsageRequest(), metadata=login(name))).days
