"""Callers that cancel or time out leave nothing behind: no task, no connection, no place in any pool, no charge."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import grpc
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.clock import SystemClock
from gateway.sandbox.server import SANDBOX_API_ID, SANDBOX_API_SECRET
from gateway.secret import Secret
from gateway.upstream.credentials import Credential, CredentialSource
from tests.support.conditions import eventually
from tests.support.gateway import config_of, refusal_of, running
from tests.support.images import jpeg
from tests.support.sandbox_process import sandbox_process
from tests.support.vendor_client import client

if TYPE_CHECKING:
    from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceAsyncStub

CALLS, GOOD_CALLS, AT_ONCE = 2000, 200, 40
CONNECTIONS = 4
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
MAX_CONNECTIONS = 512
UPSTREAM_SECONDS = 0.02
PHOTOS = [jpeg(128, 128, seed=seed) for seed in range(8)]
LIMITS = {"upstream_calls": {"per_day": 1_000_000}, "concurrency": 1000, "rate": {"per_second": 1e6, "burst": 10**6}}


def connections_to(port: int) -> Counter[str]:
    """This machine's TCP connections to a loopback port by state, as the kernel counts them (01 is established)."""
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    columns = [line.split() for line in lines]
    return Counter(column[3] for column in columns if int(column[2].rpartition(":")[2], 16) == port)


async def give_up_or_not(stub: FaceSearchServiceAsyncStub, dice: random.Random) -> str:
    """One call. Half are cancelled or come with a deadline about as long as the search; what became of it."""
    mode = dice.choice((pb.CACHE_MODE_READ_WRITE, pb.CACHE_MODE_REFRESH, pb.CACHE_MODE_BYPASS))
    request = pb.SearchFaceRequest(
        face_set="staff", image=pb.Image(content=dice.choice(PHOTOS)), cache_control=pb.CacheControl(mode=mode)
    )
    fate = dice.choices(("wait", "cancel", "deadline"), (2, 1, 1))[0]
    call = stub.SearchFace(request, timeout=dice.uniform(0.1, 0.16) if fate == "deadline" else 30)
    if fate == "cancel":
        await asyncio.sleep(dice.uniform(0, 2 * UPSTREAM_SECONDS))
        call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        return f"{fate} CANCELLED"
    except grpc.aio.AioRpcError as error:
        refused = refusal_of(error)
        return f"{fate} {refused.reason or refused.code.name}"
    return f"{fate} OK"


async def in_parallel(calls: int, stubs: list[FaceSearchServiceAsyncStub], dice: random.Random) -> Counter[str]:
    """So many calls, some at once, over all connections."""
    ended: Counter[str] = Counter()
    numbers = iter(range(calls))

    async def caller(stub: FaceSearchServiceAsyncStub) -> None:
        for _ in numbers:
            ended[await give_up_or_not(stub, dice)] += 1

    await asyncio.gather(*(caller(stubs[n % len(stubs)]) for n in range(AT_ONCE)))
    return ended


def tasks() -> Counter[str]:
    """The tasks of this process, by what they run. gRPC takes each call in a task, and then begins a new one."""
    return Counter(getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())


async def used(stub: FaceSearchServiceAsyncStub) -> dict[str, int]:
    """What the tenant has used of each limit."""
    return {limit.id: limit.used for limit in (await stub.GetQuota(pb.GetQuotaRequest())).limits}


async def good_call(stub: FaceSearchServiceAsyncStub) -> None:
    """A search that has to go upstream, and find something."""
    request = pb.SearchFaceRequest(
        face_set="staff",
        image=pb.Image(content=PHOTOS[0]),
        cache_control=pb.CacheControl(mode=pb.CACHE_MODE_BYPASS),
    )
    assert (await stub.SearchFace(request, timeout=30)).outcome == pb.SEARCH_OUTCOME_MATCHED


async def test_nothing_is_left_of_callers_that_give_up(tmp_path: Path) -> None:
    """2,000 calls, half of them given up at random, then 200 good ones: all counters are back where they were.

    Every search that the vendor saw is charged, no other one; no caller that waited suffered from one that did not.
    """
    (tmp_path / "staff").mkdir()
    (tmp_path / "staff" / "someone.jpg").write_bytes(PHOTOS[0])
    pair = Credential("primary", Secret(SANDBOX_API_ID), Secret(SANDBOX_API_SECRET))
    config = config_of(tenants=[{"id": "demo", "face_sets": {"staff": "staff"}, "limits": LIMITS}])
    async with (
        sandbox_process(tmp_path) as vendor,
        client(
            vendor.url,
            credentials=CredentialSource(pair, lambda: pair),
            clock=SystemClock(),
            max_connections=MAX_CONNECTIONS,
            timeout_seconds=10.0,
        ) as upstream,
        running(config, upstream=upstream) as gateway,
        AsyncExitStack() as stack,
    ):
        port = urlsplit(vendor.url).port or 0
        # A connection takes 64 streams, and for a moment those of cancelled calls count too.
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(gateway.address, OWN_CONNECTION))
            for _ in range(CONNECTIONS)
        ]
        stubs: list[FaceSearchServiceAsyncStub] = [FaceSearchServiceStub(channel) for channel in channels]
        await vendor.fault(kind="latency", latency_seconds=UPSTREAM_SECONDS)
        await asyncio.gather(*(good_call(stub) for stub in stubs))
        before = tasks()

        ended = await in_parallel(CALLS, stubs, random.Random(20))
        assert sum(ended.values()) == CALLS
        assert not [end for end in ended if end.startswith("wait") and end != "wait OK"], ended
        assert ended["wait OK"] > CALLS * 0.4
        assert ended["cancel CANCELLED"] > CALLS * 0.1
        assert sum(count for end, count in ended.items() if end.startswith("deadline") and end != "deadline OK")

        await eventually(lambda: len(gateway._flights) == 0, "no search is in flight")
        await asyncio.gather(*(good_call(stubs[n % CONNECTIONS]) for n in range(GOOD_CALLS)))

        await eventually(lambda: len(gateway._flights) == 0, "no search is in flight")
        chain = gateway._chain
        assert (chain.frame.open_calls, chain.capacity.calls, chain.room.taken) == (0, 0, 0)
        assert upstream._slots.in_use == 0
        await eventually(lambda: tasks() == before, "the tasks have ended")
        stats = await vendor.stats()
        assert stats["in_flight"] == 0
        assert set(stats["statuses"]) == {"latency"}, "no search was cut off half-way"
        limits = await used(stubs[0])
        assert limits["concurrency"] == 0
        assert limits["upstream_calls_per_day"] == stats["calls"]
        # What is left are kept connections, fit for the next call: none is half closed, and no more than may be.
        open_now = connections_to(port)
        assert 1 <= open_now["01"] <= MAX_CONNECTIONS + 1, open_now  # and the test's own
        assert set(open_now) <= {"01", "06"}, open_now  # 06: those that ended long ago, kept by the kernel for a minute
