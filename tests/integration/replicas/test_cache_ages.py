"""Age and expiry as callers see them, under every mode and maximum age, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from google.protobuf.duration_pb2 import Duration

from gateway.model import Outcome, UpstreamAnswer
from tests.support.clock import ManualClock
from tests.support.gateway import config_of, refusal, running
from tests.support.replicas import login, photo, tenant
from tests.support.upstream import ANSWER, FakeUpstream

TTL, NO_MATCH_TTL, NO_RESULT_TTL = 300, 60, 10
NO_MATCH = UpstreamAnswer((), Outcome.NO_MATCH, "TIDno-match")
NO_RESULT = UpstreamAnswer((), Outcome.NO_RESULT_REPORTED, "TIDno-result")
READ_WRITE, REFRESH, BYPASS, ONLY = (
    pb.CACHE_MODE_READ_WRITE,
    pb.CACHE_MODE_REFRESH,
    pb.CACHE_MODE_BYPASS,
    pb.CACHE_MODE_ONLY_IF_CACHED,
)
HIT, MISS, BYPASSED = pb.CACHE_STATUS_HIT, pb.CACHE_STATUS_MISS, pb.CACHE_STATUS_BYPASS
NOTHING = "CACHE_MISS"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def upstream() -> FakeUpstream:
    return FakeUpstream()


@pytest.fixture
async def stub(clock: ManualClock, upstream: FakeUpstream) -> AsyncIterator[Any]:
    config = config_of(auth={"anonymous_tenant": None}, tenants=[tenant("kyc")])
    async with (
        running(config, upstream=upstream, clock=clock) as gateway,
        grpc.aio.insecure_channel(gateway.address) as channel,
    ):
        yield FaceSearchServiceStub(channel)


def asked(mode: pb.CacheMode.ValueType, max_age: float | None) -> pb.SearchFaceRequest:
    control = pb.CacheControl(mode=mode)
    if max_age is not None:
        control.max_age.CopyFrom(Duration(seconds=int(max_age), nanos=round(max_age % 1 * 1e9)))
    return pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=photo()), cache_control=control)


async def search(stub: Any, mode: pb.CacheMode.ValueType = READ_WRITE, max_age: float | None = None) -> Any:
    return await stub.SearchFace(asked(mode, max_age), metadata=login("kyc"))


def told(answer: Any) -> tuple[Any, float, float | None]:
    """The status, the age, and when the answer stops being served (None: not kept)."""
    cache = answer.cache
    expires = cache.expire_time.ToNanoseconds() / 1e9 if cache.HasField("expire_time") else None
    return cache.status, cache.age.ToNanoseconds() / 1e9, expires


@pytest.mark.parametrize(
    ("answer", "ttl"),
    [(ANSWER, TTL), (NO_MATCH, NO_MATCH_TTL), (NO_RESULT, NO_RESULT_TTL)],
    ids=["matches", "no match", "no result"],
)
async def test_age_and_expiry_are_right_to_the_second(
    stub: Any, clock: ManualClock, upstream: FakeUpstream, answer: UpstreamAnswer, ttl: int
) -> None:
    """The expiry never moves, the age counts, and the last moment of an answer's life is the last that serves it."""
    upstream.answer = answer
    began = clock.now()
    assert told(await search(stub)) == (MISS, 0, began + ttl)
    for age in (1, ttl // 2, ttl - 1):
        clock.advance(began + age - clock.now())
        status, shown, expires = told(await search(stub))
        assert (status, expires) == (HIT, began + ttl)
        assert shown == pytest.approx(age, abs=1e-6)
    clock.advance(began + ttl - 0.25 - clock.now())
    assert told(await search(stub))[0] == HIT
    clock.advance(1.25)
    assert (await refusal(stub.SearchFace(asked(ONLY, None), metadata=login("kyc")))).reason == NOTHING
    assert told(await search(stub)) == (MISS, 0, clock.now() + ttl)
    assert len(upstream.queries) == 2


# An answer is 100 s old when it is asked for in this way. None: the answer is not kept, so none expires.
CASES = [
    (READ_WRITE, None, HIT),
    (READ_WRITE, 0, MISS),
    (READ_WRITE, 99.999, MISS),
    (READ_WRITE, 100, HIT),
    (READ_WRITE, 100.001, HIT),
    (READ_WRITE, 86400, HIT),
    (REFRESH, None, MISS),
    (REFRESH, 86400, MISS),
    (BYPASS, None, BYPASSED),
    (BYPASS, 86400, BYPASSED),
    (ONLY, None, HIT),
    (ONLY, 0, NOTHING),
    (ONLY, 99.999, NOTHING),
    (ONLY, 100, HIT),
    (ONLY, 86400, HIT),
]


@pytest.mark.parametrize(("mode", "max_age", "expected"), CASES)
async def test_every_mode_and_maximum_age(
    stub: Any,
    clock: ManualClock,
    upstream: FakeUpstream,
    mode: pb.CacheMode.ValueType,
    max_age: float | None,
    expected: Any,
) -> None:
    """What an answer that is 100 s old is good for, what it is said to be, and what is found by the next call."""
    began = clock.now()
    await search(stub)
    clock.advance(100)
    old = began + TTL
    if expected == NOTHING:
        assert (await refusal(stub.SearchFace(asked(mode, max_age), metadata=login("kyc")))).reason == NOTHING
    else:
        answer = await search(stub, mode, max_age)
        shown = {HIT: (HIT, 100, old), MISS: (MISS, 0, clock.now() + TTL), BYPASSED: (BYPASSED, 0, None)}
        assert told(answer) == shown[expected]
        assert answer.quota_charge.upstream_calls == (expected != HIT)
    assert len(upstream.queries) == 1 + (expected in {MISS, BYPASSED})
    # A new search takes the old answer's place; a bypass leaves it as it is.
    clock.advance(1)
    assert told(await search(stub)) == ((HIT, 1, clock.now() + TTL - 1) if expected == MISS else (HIT, 101, old))
