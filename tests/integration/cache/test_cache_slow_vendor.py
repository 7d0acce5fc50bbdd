"""A vendor that answers late, through the whole gateway: what callers are served afterwards, and how old they are told it is."""

from __future__ import annotations

import asyncio

import grpc
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from google.protobuf.duration_pb2 import Duration

from gateway.model import Match, Outcome, UpstreamAnswer, UpstreamQuery
from gateway.trip import Trip
from tests.support.clock import ManualClock
from tests.support.conditions import eventually
from tests.support.gateway import running
from tests.support.images import jpeg


class SlowVendor:
    """Decides on the answer when it is asked, and gives it when the test says."""

    def __init__(self) -> None:
        self.person = 1
        self.gates: list[asyncio.Event] = []

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        trip.sending()
        answer = UpstreamAnswer((Match(self.person, 7, 0.9, 1_669_077_702),), Outcome.MATCHED, "TID")
        self.gates.append(asyncio.Event())
        await self.gates[-1].wait()
        return answer


def request(mode: int = pb.CACHE_MODE_READ_WRITE, max_age_seconds: int | None = None) -> pb.SearchFaceRequest:
    max_age = None if max_age_seconds is None else Duration(seconds=max_age_seconds)
    control = pb.CacheControl(mode=mode, max_age=max_age)  # type: ignore[arg-type]
    return pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=jpeg()), cache_control=control)


async def test_a_slow_answer_does_not_undo_a_refresh() -> None:
    """A is asked, the face set changes, REFRESH B is answered, then A lands: the next search is a hit with B's face."""
    vendor = SlowVendor()
    async with running(upstream=vendor) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
        stub = FaceSearchServiceStub(channel)
        slow = asyncio.ensure_future(stub.SearchFace(request(), timeout=20))
        await eventually(lambda: len(vendor.gates) == 1, "A is at the vendor")
        vendor.person = 2
        refresh = asyncio.ensure_future(stub.SearchFace(request(pb.CACHE_MODE_REFRESH), timeout=20))
        await eventually(lambda: len(vendor.gates) == 2, "B is at the vendor")
        vendor.gates[1].set()
        assert (await refresh).matches[0].person_id == 2
        vendor.gates[0].set()
        late = await slow
        assert (late.matches[0].person_id, late.cache.HasField("expire_time")) == (1, False)
        hit = await stub.SearchFace(request(), timeout=20)
        assert (hit.cache.status, hit.matches[0].person_id) == (pb.CACHE_STATUS_HIT, 2)


async def test_the_age_of_a_hit_counts_from_the_question() -> None:
    """The vendor took 4 s: a caller who accepts an age of 1 s gets a new search, another one sees an age of 4 s."""
    vendor, clock = SlowVendor(), ManualClock()
    async with running(upstream=vendor, clock=clock) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
        stub = FaceSearchServiceStub(channel)
        first = asyncio.ensure_future(stub.SearchFace(request(), timeout=20))
        await eventually(lambda: len(vendor.gates) == 1, "it is at the vendor")
        clock.advance(4)
        vendor.gates[0].set()
        assert (await first).cache.expire_time.ToSeconds() == int(clock.now() + 296)
        hit = await stub.SearchFace(request(max_age_seconds=4), timeout=20)
        assert (hit.cache.status, hit.cache.age.ToSeconds()) == (pb.CACHE_STATUS_HIT, 4)
        again = asyncio.ensure_future(stub.SearchFace(request(max_age_seconds=1), timeout=20))
        await eventually(lambda: len(vendor.gates) == 2, "the vendor is asked again")
        vendor.gates[1].set()
        assert (await again).cache.status == pb.CACHE_STATUS_MISS
