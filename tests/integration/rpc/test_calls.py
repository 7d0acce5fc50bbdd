"""A call's way through the real server: what the caller gets, whatever happens inside."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from gateway.errors import UpstreamRateLimited
from tests.support.conditions import eventually
from tests.support.gateway import Refusal, config_of, refusal, running
from tests.support.images import jpeg
from tests.support.upstream import ANSWER, FakeUpstream

if TYPE_CHECKING:
    from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceAsyncStub

PHOTO = jpeg()
# Past the cache, so that equal requests do not share one upstream call.
NO_CACHE = pb.CacheControl(mode=pb.CACHE_MODE_BYPASS)
REQUEST = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=PHOTO), cache_control=NO_CACHE)


def raw_call(channel: grpc.aio.Channel, method: str, body: bytes) -> Awaitable[bytes]:
    """Sends bytes as they are."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    return call(body)


async def refused_by_the_gateway(call: Callable[[], Awaitable[object]]) -> Refusal:
    """How `call` is refused; again while the client's own clock, on a busy machine, ends it before the answer is here."""
    for _ in range(50):
        error = await refusal(call())
        if error.reason:
            return error
    raise AssertionError("the client's clock was first each time")


@pytest.fixture
def upstream() -> FakeUpstream:
    """What the gateway asks."""
    return FakeUpstream()


@pytest.fixture
async def gateway(upstream: FakeUpstream) -> AsyncIterator[Gateway]:
    """A gateway with the anonymous tenant `demo`."""
    async with running(upstream=upstream) as gateway:
        yield gateway


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    """A client's connection."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> FaceSearchServiceAsyncStub:
    """A client."""
    return FaceSearchServiceStub(channel)


async def test_an_answer_has_what_the_upstream_found(stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream) -> None:
    """Ids beyond 2^53 arrive exactly; defaults are filled in, sent and reported back."""
    answer = await stub.SearchFace(REQUEST)
    (match,) = answer.matches
    assert (match.person_id, match.face_id, match.score) == (1, 435449455488008194, 0.985)
    assert match.create_time.seconds == 1669077702
    assert answer.outcome == pb.SEARCH_OUTCOME_MATCHED
    assert (answer.applied_parameters.threshold, answer.applied_parameters.max_results) == (0.8, 1)
    assert answer.upstream_request_id == ANSWER.request_id
    (query,) = upstream.queries
    assert (query.face_set, query.image.content) == ("employees-prod", PHOTO)
    assert query.parameters.start_time == answer.applied_parameters.start_time.seconds


async def test_base64_is_the_same_image(stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream) -> None:
    """The vendor gets the same bytes whichever form the caller sent."""
    image = pb.Image(base64=base64.b64encode(PHOTO).decode())
    await stub.SearchFace(pb.SearchFaceRequest(face_set="employees", image=image))
    assert upstream.queries[0].image.content == PHOTO


@pytest.mark.parametrize(("sent", "kept"), [("job-7.a_b", True), ("x" * 64, True), ("x" * 65, False), ("a b", False)])
async def test_a_well_formed_request_id_is_kept(stub: FaceSearchServiceAsyncStub, sent: str, kept: bool) -> None:
    """Others are replaced, and the id that counts is in the answer and in the trailers."""
    call = stub.SearchFace(REQUEST, metadata=(("x-request-id", sent),))
    answer = await call
    trailers = dict(await call.trailing_metadata())
    assert (answer.request_id == sent) is kept
    assert trailers["x-request-id"] == answer.request_id
    assert "total;dur=" in trailers["server-timing"]
    assert "upstream;dur=" in trailers["server-timing"]


async def test_no_exceptions_text_leaves(stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream) -> None:
    """A bug answers INTERNAL with a constant text, whatever the exception says."""
    upstream.answer = RuntimeError("api_secret=hunter2")
    error = await refusal(stub.SearchFace(REQUEST))
    assert (error.code, error.reason, error.message) == (
        grpc.StatusCode.INTERNAL,
        "GATEWAY_ERROR",
        "internal error",
    )
    assert "hunter2" not in error.everything
    assert "RuntimeError" not in error.everything
    assert error.trailers["x-request-id"] == error.details["ErrorInfo"].metadata["request_id"]


async def test_a_cancellation_from_inside_is_answered(stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream) -> None:
    """grpc.aio sends no status for a CancelledError that the caller did not cause: the client would hang."""
    upstream.answer = asyncio.CancelledError()  # type: ignore[assignment]
    error = await refusal(stub.SearchFace(REQUEST, timeout=30))
    assert error.reason == "GATEWAY_ERROR"


async def test_an_error_of_the_upstream_has_its_details_and_pushback(
    stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream
) -> None:
    """RetryInfo for people, pushback for stubs."""
    upstream.answer = UpstreamRateLimited("RATE_LIMIT_EXCEEDED", retry_after_seconds=3)
    error = await refusal(stub.SearchFace(REQUEST))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_RATE_LIMITED")
    assert error.details["RetryInfo"].retry_delay.seconds == 3
    assert error.trailers["grpc-retry-pushback-ms"] == "3000"


async def test_junk_is_an_invalid_request(channel: grpc.aio.Channel) -> None:
    """Bytes that are no SearchFaceRequest get the table's answer, not gRPC's."""
    error = await refusal(raw_call(channel, "/facegate.search.v1.FaceSearchService/SearchFace", b"\xff\xff\xff"))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert error.details["BadRequest"].field_violations


@pytest.mark.parametrize(
    "method",
    [
        "/facegate.search.v1.FaceSearchService/BulkSearchFaces",
        "/facegate.search.v1.FaceSearchService/Nonsense",
        "/nobody.knows.This/Method",
    ],
)
async def test_a_method_that_is_not_there_says_so(channel: grpc.aio.Channel, method: str) -> None:
    """With the published reason, for methods of later versions and for misspelt ones."""
    error = await refusal(raw_call(channel, method, b""))
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
    assert "x-request-id" in error.trailers


async def test_a_face_set_outside_the_list_is_refused_before_the_upstream(
    stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream
) -> None:
    """The upstream's own name is no alias either."""
    for alias in ("visitors", "employees-prod"):
        request = pb.SearchFaceRequest(face_set=alias, image=REQUEST.image)
        error = await refusal(stub.SearchFace(request))
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "FACE_SET_NOT_ALLOWED")
        assert alias not in error.message
    assert not upstream.queries


async def test_a_callers_deadline_ends_its_wait_and_not_the_search(
    stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream
) -> None:
    """The caller learns DEADLINE_EXCEEDED just before its deadline; what was sent upstream runs on.

    UPSTREAM_TIMEOUT would invite a retry, which pays twice.
    """
    upstream.hold.clear()
    error = await refused_by_the_gateway(lambda: stub.SearchFace(REQUEST, timeout=0.6))
    assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert "goes on" in error.message
    assert upstream.in_flight >= 1
    upstream.hold.set()
    await eventually(lambda: upstream.in_flight == 0, "the search ends by itself")


async def test_a_deadline_too_short_for_a_search_costs_no_search(
    stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream
) -> None:
    """It is refused before the vendor could bill it."""
    error = await refused_by_the_gateway(lambda: stub.SearchFace(REQUEST, timeout=0.09))
    assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT")
    assert not upstream.queries


async def test_a_callers_cancellation_leaves_the_search_alone(
    stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream
) -> None:
    """A cancelled HTTP call can leak a pool slot, so the search is never cancelled."""
    upstream.hold.clear()
    call = stub.SearchFace(REQUEST)
    await eventually(lambda: upstream.in_flight == 1, "the search is under way")
    call.cancel()
    assert await call.code() == grpc.StatusCode.CANCELLED
    upstream.hold.set()
    await eventually(lambda: upstream.in_flight == 0, "the search ends by itself")


async def test_calls_beyond_the_limit_are_refused_at_once() -> None:
    """GATEWAY_OVERLOADED with pushback, while health still answers; places come back."""
    upstream = FakeUpstream()
    upstream.hold.clear()
    config = config_of(server={"max_concurrent_rpcs": 2})
    async with running(config, upstream=upstream) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
        stub: FaceSearchServiceAsyncStub = FaceSearchServiceStub(channel)
        held = [stub.SearchFace(REQUEST) for _ in range(2)]
        await eventually(lambda: upstream.in_flight == 2, "two calls are in flight")
        error = await refusal(stub.SearchFace(REQUEST))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "GATEWAY_OVERLOADED")
        assert error.trailers["grpc-retry-pushback-ms"] == "1000"
        upstream.hold.set()
        await asyncio.gather(*held)
        await stub.SearchFace(REQUEST)


async def test_bodies_beyond_the_limit_wait_unread_and_none_fails() -> None:
    """Room for one body: a burst is served one after another, and no more than fits is in memory at once."""
    upstream = FakeUpstream()
    config = config_of(server={"max_body_bytes_in_flight": 1})
    async with running(config, upstream=upstream) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
        stub: FaceSearchServiceAsyncStub = FaceSearchServiceStub(channel)
        upstream.hold.clear()
        first = stub.SearchFace(REQUEST)
        await eventually(lambda: upstream.in_flight == 1, "the first is in flight")
        second = stub.SearchFace(REQUEST)
        third = await refusal(stub.SearchFace(REQUEST))
        assert third.reason == "GATEWAY_OVERLOADED"
        assert upstream.in_flight == 1
        upstream.hold.set()
        await asyncio.gather(first, second)


async def test_a_burst_on_one_connection_waits_and_is_served(
    stub: FaceSearchServiceAsyncStub, upstream: FakeUpstream
) -> None:
    """Calls beyond the streams of a connection queue at the caller: none is refused without a reason."""
    for _ in range(3):
        answers = await asyncio.gather(*(stub.SearchFace(REQUEST) for _ in range(250)))
        assert all(answer.matches for answer in answers)
    assert len(upstream.queries) == 750
