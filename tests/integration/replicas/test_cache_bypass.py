"""A search that began while the cache's store was out, and ends when it is back: a bypass whose answer may be kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from facegate.admin.v1 import admin_service_pb2 as admin_pb
from facegate.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.model import UpstreamAnswer, UpstreamQuery
from gateway.trip import Trip
from tests.support.conditions import eventually
from tests.support.flaky_proxy import FlakyProxy, flaky_proxy
from tests.support.gateway import config_of, running
from tests.support.replicas import key_file, login, photo, request, tenant
from tests.support.upstream import ANSWER, FakeUpstream
from tests.support.valkey import running_store

TENANTS = [tenant("kyc"), tenant("ops", role="operator")]
HELD = photo("held")


class HoldingUpstream(FakeUpstream):
    """Lets one photo's searches wait for `hold`, all others pass."""

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        if query.image.content == HELD:
            return await super().search(query, trip)
        trip.sending()
        return ANSWER


@dataclass
class Replicas:
    """Two gateways on one store, of which the first sees it through `proxy`; the second's operators."""

    proxy: FlakyProxy
    upstream: HoldingUpstream
    stub: Any
    admin: Any

    async def search(self, content: bytes) -> Any:
        return await self.stub.SearchFace(request(content), metadata=login("kyc"), timeout=20)

    async def sees_the_store(self, *, out: bool) -> None:
        """Waits until the first gateway's searches are bypasses, or are none any more."""
        async with asyncio.timeout(30):
            while ((await self.search(photo("other"))).cache.status == pb.CACHE_STATUS_BYPASS) != out:
                await asyncio.sleep(0.02)

    async def began_in_an_outage(self) -> asyncio.Task[Any]:
        """A search that waits for the vendor and has found the store out."""
        self.upstream.hold.clear()
        self.proxy.blackhole = True
        # The tier in front still answers for what it holds, until the epochs are too old.
        await self.sees_the_store(out=True)
        held = asyncio.ensure_future(self.search(HELD))
        await eventually(lambda: self.upstream.in_flight == 1, "the search is in flight")
        return held


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        store = stack.enter_context(running_store())
        proxy = await stack.enter_async_context(flaky_proxy(store.port))
        upstream, key, channels = HoldingUpstream(), key_file(tmp_path), []
        for url in (proxy.url, store.url):
            stores = {"cache": url, "key_file": key}
            config = config_of(auth={"anonymous_tenant": None}, tenants=TENANTS, stores=stores)
            gateway = await stack.enter_async_context(running(config, upstream=upstream))
            channels.append(await stack.enter_async_context(grpc.aio.insecure_channel(gateway.address)))
        yield Replicas(proxy, upstream, FaceSearchServiceStub(channels[0]), AdminServiceStub(channels[1]))


async def test_the_answer_is_kept_if_the_store_is_back_when_it_comes(replicas: Replicas) -> None:
    """Searched without the cache, so a BYPASS; the vendor was paid for it, so the next call is a hit."""
    # Again where the machine is so busy that the store seems out once more.
    async with asyncio.timeout(30):
        again = None
        while again is None or again.cache.status != pb.CACHE_STATUS_HIT:
            held = await replicas.began_in_an_outage()
            replicas.proxy.blackhole = False
            await replicas.sees_the_store(out=False)
            replicas.upstream.hold.set()
            answer = await held
            assert (answer.cache.status, answer.quota_charge.upstream_calls) == (pb.CACHE_STATUS_BYPASS, 1)
            if answer.cache.HasField("expire_time"):
                again = await replicas.search(HELD)
    kept_for = again.cache.expire_time.ToDatetime() - answer.cache.expire_time.ToDatetime()
    # By the store's clock, as well as it is known.
    assert abs(kept_for.total_seconds()) < 0.1


async def test_the_answer_is_not_kept_if_there_was_a_purge_meanwhile(replicas: Replicas) -> None:
    """By another replica, which this one could not see when the search began."""
    held = await replicas.began_in_an_outage()
    await replicas.admin.PurgeCache(admin_pb.PurgeCacheRequest(tenant="kyc"), metadata=login("ops"), timeout=20)
    replicas.proxy.blackhole = False
    await replicas.sees_the_store(out=False)
    replicas.upstream.hold.set()
    answer = await held
    assert answer.cache.status == pb.CACHE_STATUS_BYPASS
    assert not answer.cache.HasField("expire_time")
    assert (await replicas.search(HELD)).cache.status != pb.CACHE_STATUS_HIT


async def test_the_answer_is_not_kept_while_the_store_is_out(replicas: Replicas) -> None:
    """It says so: no expiry."""
    held = await replicas.began_in_an_outage()
    replicas.upstream.hold.set()
    answer = await held
    assert answer.cache.status == pb.CACHE_STATUS_BYPASS
    assert not answer.cache.HasField("expire_time")
