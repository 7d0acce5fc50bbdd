"""Identical searches over real gRPC: one upstream call, whoever started it; and never anything of another tenant's."""

from __future__ import annotations

import asyncio
import base64
import itertools
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from gateway.clock import Clock
from gateway.upstream.port import Upstream
from tests.support.conditions import eventually
from tests.support.flaky_proxy import flaky_proxy
from tests.support.gateway import config_of, running
from tests.support.images import jpeg
from tests.support.logs import CaughtLogs, caught_logs
from tests.support.replicas import (
    channels_to,
    end_of,
    key_file,
    login,
    photo,
    request,
    tenant,
    vendor_name,
)
from tests.support.upstream import FakeUpstream
from tests.support.valkey import running_store

CROWDS = {"answered": 1000}
FEW = 200
"""How many search at once: as many as promised where nothing goes wrong, and a fifth of that where it does."""
CHANNELS = 17  # one carries 64 calls at once
TENANTS = [tenant("kyc"), tenant("other")]
SERVER = {"listen": "127.0.0.1:0", "max_concurrent_rpcs": 2 * CROWDS["answered"], "drain_seconds": 5}
ENDS = {
    "answered": {"OK"},
    "cancelled": {"CANCELLED"},
    "timed out": {"DEADLINE_EXCEEDED"},
    "connection lost": {"UNAVAILABLE"},
    "crashed": {"GATEWAY_ERROR"},
}
"""How the call ends that started the search, by what becomes of it."""
ONLY_IF_CACHED = pb.CACHE_MODE_ONLY_IF_CACHED


class FailingClock:
    """The machine's clocks, which fail once in one task: a bug in the middle of a call."""

    def __init__(self) -> None:
        self.fails_in: asyncio.Task[Any] | None = None

    now = staticmethod(time.time)

    def monotonic(self) -> float:
        if self.fails_in is not None and asyncio.current_task() is self.fails_in:
            self.fails_in = None
            raise RuntimeError("a bug")
        return time.monotonic()


class SlowUpstream(FakeUpstream):
    """Takes 8 ms for an answer, so that one that is not asked for is seen by a caller with a watch."""

    async def search(self, query: Any, trip: Any) -> Any:
        await asyncio.sleep(0.008)
        return await super().search(query, trip)


@pytest.fixture(autouse=True)
def logs(tmp_path: Path) -> Iterator[CaughtLogs]:
    """As a gateway writes them: what would print them for people takes most of such a test's time."""
    with caught_logs(tmp_path) as logs:
        yield logs


@asynccontextmanager
async def serving(upstream: Upstream, *, clock: Clock | None = None, **sections: Any) -> AsyncIterator[Gateway]:
    sections = {"server": SERVER, "auth": {"anonymous_tenant": None}, "tenants": TENANTS, **sections}
    async with running(config_of(**sections), upstream=upstream, clock=clock) as gateway:
        yield gateway


@asynccontextmanager
async def caller(address: str, channels: int = 1) -> AsyncIterator[Callable[..., Any]]:
    """Makes searches, over several connections in turn."""
    async with channels_to(address, channels) as opened:
        stubs = itertools.cycle([FaceSearchServiceStub(channel) for channel in opened])

        def search(asked: pb.SearchFaceRequest, who: str = "kyc", *, timeout: float = 40) -> Any:
            return next(stubs).SearchFace(asked, metadata=login(who), timeout=timeout)

        yield search


def handlers() -> set[asyncio.Task[Any]]:
    """The tasks in which the server handles calls."""
    return {task for task in asyncio.all_tasks() if task.get_name().startswith("HandleExceptions[")}


@pytest.mark.parametrize("fate", ENDS)
async def test_a_thousand_identical_searches_make_one_upstream_call(fate: str) -> None:
    """Whatever becomes of the one that started it, the others get the same good answer and are charged nothing."""
    upstream, clock, count = FakeUpstream(), FailingClock(), CROWDS.get(fate, FEW)
    upstream.hold.clear()
    asked = request(photo(), threshold=0.7, max_results=3)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(serving(upstream, clock=clock))
        proxy = await stack.enter_async_context(flaky_proxy(int(gateway.address.rpartition(":")[2])))
        first = await stack.enter_async_context(caller(f"127.0.0.1:{proxy.port}"))
        crowd = await stack.enter_async_context(caller(gateway.address, CHANNELS))
        leader = first(asked, timeout=2.0 if fate == "timed out" else 40)
        ended = asyncio.ensure_future(end_of(leader))
        await eventually(lambda: upstream.in_flight == 1, "the first search is in flight")
        (handler,) = handlers()
        others = [crowd(asked) for _ in range(count - 1)]
        await eventually(lambda: len(handlers()) == count - (fate == "timed out" and ended.done()), "all wait", 40)
        match fate:
            case "cancelled":
                leader.cancel()
            case "connection lost":
                proxy.reset()
            case "crashed":
                clock.fails_in = handler
        if fate not in {"answered", "crashed"}:
            await eventually(handler.done, "the gateway knows that the first caller has gone")
        upstream.hold.set()
        answers = await asyncio.gather(*others)
        end = "CANCELLED" if leader.cancelled() else await ended
    print(f"{fate}: the first ended {end}, the others {Counter(a.cache.status for a in answers)}")  # noqa: T201
    assert end in ENDS[fate]
    assert len(upstream.queries) == 1
    assert {answer.cache.status for answer in answers} <= {pb.CACHE_STATUS_COALESCED, pb.CACHE_STATUS_HIT}
    assert {answer.quota_charge.upstream_calls for answer in answers} == {0}
    assert len({answer.matches[0].SerializeToString() for answer in answers}) == 1
    assert answers[0].matches[0].face_id == 435449455488008194


async def test_another_tenants_photo_is_a_miss_and_an_upstream_call_of_its_own() -> None:
    """Also while the other tenant's identical search is in flight."""
    upstream = FakeUpstream()
    async with serving(upstream) as gateway, caller(gateway.address) as search:
        assert (await search(request(photo()), "kyc")).cache.status == pb.CACHE_STATUS_MISS
        assert await end_of(search(request(photo(), ONLY_IF_CACHED), "other")) == "CACHE_MISS"
        answer = await search(request(photo()), "other")
        assert (answer.cache.status, answer.quota_charge.upstream_calls) == (pb.CACHE_STATUS_MISS, 1)
        assert len(upstream.queries) == 2
        upstream.hold.clear()
        both = [asyncio.ensure_future(one_answer(search, who)) for who in ("kyc", "other")]
        await eventually(lambda: upstream.in_flight == 2, "each has a search of its own in flight")
        upstream.hold.set()
        assert {answer.cache.status for answer in await asyncio.gather(*both)} == {pb.CACHE_STATUS_MISS}
        in_order, at_once = upstream.queries[:2], upstream.queries[2:]
        assert [query.face_set for query in in_order] == [vendor_name("kyc"), vendor_name("other")]
        assert {query.face_set for query in at_once} == {vendor_name("kyc"), vendor_name("other")}
        assert len(at_once) == 2


async def one_answer(search: Callable[..., Any], who: str) -> Any:
    return await search(request(photo("in flight")), who)


@pytest.mark.parametrize("store", ["memory", "valkey"])
@pytest.mark.parametrize("mode", [pb.CACHE_MODE_READ_WRITE, ONLY_IF_CACHED], ids=["search", "lookup"])
@pytest.mark.timed
async def test_time_does_not_tell_what_another_tenant_searched(
    tmp_path: Path, store: str, mode: pb.CacheMode.ValueType
) -> None:
    """Photos that another tenant has answers to take as long as photos that nobody has: medians of pairs, in turns.

    An answer that came from the other tenant's entry would be 8 ms faster, a flight that was joined likewise.
    """
    known, unknown = [[photo(f"{kind} {n}") for n in range(120)] for kind in ("known", "unknown")]
    with running_store() if store == "valkey" else nullcontext() as server:
        stores = {"cache": server.url, "key_file": key_file(tmp_path)} if server else {}
        async with serving(SlowUpstream(), stores=stores) as gateway, caller(gateway.address) as search:
            for start in range(0, len(known), 20):
                await asyncio.gather(*(search(request(content), "kyc") for content in known[start : start + 20]))

            async def seconds(content: bytes) -> float:
                began = time.perf_counter()
                end = await end_of(search(request(content, mode), "other"))
                assert end == ("CACHE_MISS" if mode == ONLY_IF_CACHED else "OK")
                return time.perf_counter() - began

            took: dict[bool, list[float]] = {True: [], False: []}
            for pair, contents in enumerate(zip(known, unknown, strict=True)):
                for is_known in (True, False) if pair % 2 else (False, True):
                    took[is_known].append(await seconds(contents[not is_known]))
    difference = statistics.median(a - b for a, b in zip(took[True], took[False], strict=True))
    usual = statistics.median(took[False])
    print(f"{store}: {usual * 1000:.2f} ms, difference of pairs {difference * 1e6:.0f} µs")  # noqa: T201
    assert abs(difference) < max(0.0004, 0.1 * usual)


async def test_the_same_photo_is_one_entry_however_it_is_sent_and_one_bit_makes_another() -> None:
    """As `content` and as `base64` the photo has one entry; with one bit flipped, another."""
    upstream, content = FakeUpstream(), jpeg()
    flipped = bytearray(content)
    flipped[-20] ^= 1
    async with serving(upstream) as gateway, caller(gateway.address) as search:
        assert (await search(request(content))).cache.status == pb.CACHE_STATUS_MISS
        as_text = request(b"")
        as_text.image.CopyFrom(pb.Image(base64=base64.b64encode(content).decode()))
        assert (await search(as_text)).cache.status == pb.CACHE_STATUS_HIT
        assert (await search(request(bytes(flipped)))).cache.status == pb.CACHE_STATUS_MISS
        as_text.image.base64 = base64.b64encode(flipped).decode()
        assert (await search(as_text)).cache.status == pb.CACHE_STATUS_HIT
    assert len(upstream.queries) == 2
