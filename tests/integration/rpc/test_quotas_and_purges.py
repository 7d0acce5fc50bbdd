"""Limits, use and purges as callers and operators meet them, over real gRPC."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from facegate.admin.v1 import admin_service_pb2 as admin_pb
from facegate.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from gateway.errors import FaceSetUnusable, GatewayOverloaded, ImageRejected
from tests.support.conditions import eventually
from tests.support.gateway import config_of, refusal, refusal_of, running
from tests.support.images import jpeg
from tests.support.logs import caught_logs
from tests.support.upstream import FakeUpstream

# The rate is so slow that nothing of it comes back during a test.
LIMITS = {"rate": {"per_second": 0.01, "burst": 6}, "concurrency": 3, "upstream_calls": {"per_day": 3}}


def token(name: str) -> dict[str, str]:
    return {"token_sha256": hashlib.sha256(f"token-of-{name}".encode()).hexdigest()}


def login(name: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a caller."""
    return (("authorization", f"Bearer token-of-{name}"),)


TENANTS = [
    {"id": "kyc", "face_sets": {"employees": "prod"}, "principals": [token("kyc")], "limits": LIMITS},
    {"id": "free", "face_sets": {"employees": "prod"}, "principals": [token("free")]},
    {"id": "ops", "role": "operator", "principals": [token("ops")]},
]


def search(seed: int = 1, mode: pb.CacheMode.ValueType = pb.CACHE_MODE_READ_WRITE) -> pb.SearchFaceRequest:
    """A search; each `seed` is another photo."""
    image = pb.Image(content=jpeg(seed=seed))
    return pb.SearchFaceRequest(face_set="employees", image=image, cache_control=pb.CacheControl(mode=mode))


@pytest.fixture
def upstream() -> FakeUpstream:
    return FakeUpstream()


@pytest.fixture
async def gateway(upstream: FakeUpstream) -> AsyncIterator[Gateway]:
    config = config_of(auth={"anonymous_tenant": None}, tenants=TENANTS)
    async with running(config, upstream=upstream) as gateway:
        yield gateway


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return FaceSearchServiceStub(channel)


@pytest.fixture
def admin(channel: grpc.aio.Channel) -> Any:
    return AdminServiceStub(channel)


async def limits_of(stub: Any, name: str = "kyc") -> dict[str, pb.QuotaLimit]:
    answer = await stub.GetQuota(pb.GetQuotaRequest(), metadata=login(name))
    return {limit.id: limit for limit in answer.limits}


async def test_quota_reports_every_limit_and_consumes_nothing(stub: Any) -> None:
    """Asking twice changes nothing; a tenant without limits has none to report."""
    first = await stub.GetQuota(pb.GetQuotaRequest(), metadata=login("kyc"))
    assert (first.tenant, list(first.face_sets), first.degraded) == ("kyc", ["employees"], False)
    left = {limit.id: (limit.limit, limit.used, limit.remaining) for limit in first.limits}
    assert left == {"rate": (6, 0, 6), "concurrency": (3, 0, 3), "upstream_calls_per_day": (3, 0, 3)}
    day = (await limits_of(stub))["upstream_calls_per_day"]
    assert (day.used, day.window.seconds, day.kind) == (0, 86400, pb.QUOTA_LIMIT_KIND_UPSTREAM_CALLS)
    assert day.reset_time.seconds % 86400 == 0
    assert not await limits_of(stub, "free")


async def test_a_miss_costs_an_upstream_call_and_a_hit_costs_none(stub: Any, upstream: FakeUpstream) -> None:
    """The charge is in the answer, in the trailers and in GetQuota; both spend the rate."""
    call = stub.SearchFace(search(), metadata=login("kyc"))
    assert (await call).quota_charge.upstream_calls == 1
    trailers = dict(await call.trailing_metadata())
    assert (trailers["x-cache"], trailers["x-quota-remaining"]) == ("miss", "2")
    call = stub.SearchFace(search(), metadata=login("kyc"))
    assert (await call).quota_charge.upstream_calls == 0
    assert dict(await call.trailing_metadata())["x-cache"] == "hit"
    limits = await limits_of(stub)
    assert limits["upstream_calls_per_day"].used == 1
    assert limits["rate"].used == 2
    assert len(upstream.queries) == 1


async def test_a_window_that_is_used_up_refuses_misses_and_serves_hits(stub: Any, upstream: FakeUpstream) -> None:
    """RetryInfo points to the window's end; what is cached costs nothing, so it is still answered."""
    for seed in range(3):
        await stub.SearchFace(search(seed), metadata=login("kyc"))
    refused = stub.SearchFace(search(9), metadata=login("kyc"))
    error = await refusal(refused)
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TENANT_QUOTA_EXCEEDED")
    assert dict(await refused.trailing_metadata())["x-quota-remaining"] == "0"
    (violation,) = error.details["QuotaFailure"].violations
    assert (violation.subject, violation.description) == ("tenant:kyc", "upstream_calls_per_day")
    assert 0 < error.details["RetryInfo"].retry_delay.seconds <= 86400
    answer = await stub.SearchFace(search(0), metadata=login("kyc"))
    assert answer.cache.status == pb.CACHE_STATUS_HIT
    assert len(upstream.queries) == 3


async def test_a_rate_that_is_used_up_refuses_before_the_body_is_read(stub: Any, channel: grpc.aio.Channel) -> None:
    """Once refused, the next call is refused on its headers; GetQuota is not a search and is still answered."""
    ended = await asyncio.gather(
        *(stub.SearchFace(search(), metadata=login("kyc")) for _ in range(8)), return_exceptions=True
    )
    refused = [error for error in ended if isinstance(error, grpc.aio.AioRpcError)]
    assert refused
    assert {refusal_of(error).reason for error in refused} <= {"TENANT_RATE_LIMITED", "TENANT_CONCURRENCY_EXCEEDED"}
    while (await limits_of(stub))["rate"].remaining:
        await asyncio.gather(stub.SearchFace(search(), metadata=login("kyc")), return_exceptions=True)
    await refusal(stub.SearchFace(search(), metadata=login("kyc")))
    call: Any = channel.stream_unary("/facegate.search.v1.FaceSearchService/SearchFace")(metadata=login("kyc"))
    async with asyncio.timeout(30):
        error = await refusal(call)
    assert error.reason == "TENANT_RATE_LIMITED"
    assert dict(await call.trailing_metadata())["x-quota-remaining"] == "0"
    delay = error.details["RetryInfo"].retry_delay
    assert 0 < delay.seconds + delay.nanos / 1e9 <= 100
    assert (await limits_of(stub))["rate"].remaining == 0


async def test_calls_at_once_are_limited(stub: Any, upstream: FakeUpstream) -> None:
    """The slot comes back with the answer."""
    upstream.hold.clear()
    held = [stub.SearchFace(search(seed), metadata=login("kyc")) for seed in range(3)]
    await eventually(lambda: upstream.in_flight == 3, "three searches are in flight")
    error = await refusal(stub.SearchFace(search(9), metadata=login("kyc")))
    assert error.reason == "TENANT_CONCURRENCY_EXCEEDED"
    assert (await limits_of(stub))["concurrency"].used == 3
    upstream.hold.set()
    await asyncio.gather(*held)
    assert (await limits_of(stub))["concurrency"].used == 0


@pytest.mark.parametrize(
    ("error", "used"), [(FaceSetUnusable("QUERY_FAILED"), 0), (ImageRejected(()), 1), (RuntimeError("a bug"), 0)]
)
async def test_what_the_vendor_does_not_bill_is_given_back(
    stub: Any, upstream: FakeUpstream, error: Exception, used: int
) -> None:
    """The error table's last column."""
    upstream.answer = error
    await refusal(stub.SearchFace(search(), metadata=login("kyc")))
    assert (await limits_of(stub))["upstream_calls_per_day"].used == used


async def test_identical_searches_at_once_make_one_upstream_call(stub: Any, upstream: FakeUpstream) -> None:
    """One is charged, the others are COALESCED and cost nothing, whatever becomes of the first caller."""
    upstream.hold.clear()
    first = stub.SearchFace(search(), metadata=login("free"))
    await eventually(lambda: upstream.in_flight == 1, "the first search is in flight")
    others = [stub.SearchFace(search(), metadata=login("free")) for _ in range(20)]
    first.cancel()
    await eventually(first.done, "the first caller has gone")
    upstream.hold.set()
    answers = await asyncio.gather(*others)
    assert len(upstream.queries) == 1
    assert {answer.cache.status for answer in answers} <= {pb.CACHE_STATUS_COALESCED, pb.CACHE_STATUS_HIT}
    assert {answer.quota_charge.upstream_calls for answer in answers} == {0}


async def test_only_if_cached_never_searches(stub: Any, upstream: FakeUpstream) -> None:
    """CACHE_MISS until an answer is there."""
    only = search(mode=pb.CACHE_MODE_ONLY_IF_CACHED)
    error = await refusal(stub.SearchFace(only, metadata=login("free")))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CACHE_MISS")
    assert error.trailers["x-cache"] == "miss"
    assert not upstream.queries
    await stub.SearchFace(search(), metadata=login("free"))
    assert (await stub.SearchFace(only, metadata=login("free"))).cache.status == pb.CACHE_STATUS_HIT


async def test_tenants_share_no_answers(stub: Any, upstream: FakeUpstream) -> None:
    """The same photo in the same face set of the vendor is another search for another tenant."""
    await stub.SearchFace(search(), metadata=login("kyc"))
    answer = await stub.SearchFace(search(), metadata=login("free"))
    assert answer.cache.status == pb.CACHE_STATUS_MISS
    assert len(upstream.queries) == 2


async def test_usage_is_a_row_a_day(stub: Any, admin: Any, upstream: FakeUpstream) -> None:
    """What a tenant did, for itself and for operators; a search that found no connection free went nowhere."""
    await stub.SearchFace(search(), metadata=login("kyc"))
    await stub.SearchFace(search(), metadata=login("kyc"))
    upstream.answer = FaceSetUnusable("QUERY_FAILED")
    await refusal(stub.SearchFace(search(7), metadata=login("kyc")))
    upstream.answer = GatewayOverloaded()
    await refusal(stub.SearchFace(search(8), metadata=login("kyc")))
    (row,) = (await stub.GetUsage(pb.GetUsageRequest(), metadata=login("kyc"))).days
    assert (row.searches, row.cache_hits, row.failures, row.upstream_calls, row.charged_units) == (4, 1, 2, 2, 1)
    answer = await admin.ListTenantUsage(admin_pb.ListTenantUsageRequest(), metadata=login("ops"))
    assert [usage.tenant for usage in answer.tenants] == ["free", "kyc", "ops"]
    assert answer.tenants[1].searches == 4


async def test_usage_comes_in_pages(admin: Any) -> None:
    """AIP-158: a token continues its own question only; a tenant that does not exist has no entry."""
    request = admin_pb.ListTenantUsageRequest(page_size=2)
    first = await admin.ListTenantUsage(request, metadata=login("ops"))
    assert [usage.tenant for usage in first.tenants] == ["free", "kyc"]
    request.page_token = first.next_page_token
    second = await admin.ListTenantUsage(request, metadata=login("ops"))
    assert ([usage.tenant for usage in second.tenants], second.next_page_token) == (["ops"], "")
    request.tenant = "kyc"
    error = await refusal(admin.ListTenantUsage(request, metadata=login("ops")))
    assert error.details["BadRequest"].field_violations[0].field == "page_token"
    nobody = await admin.ListTenantUsage(admin_pb.ListTenantUsageRequest(tenant="nobody"), metadata=login("ops"))
    assert (list(nobody.tenants), nobody.next_page_token) == ([], "")
    request.start_time.seconds, request.page_size = 2**40, -1
    error = await refusal(admin.ListTenantUsage(request, metadata=login("ops")))
    fields = [violation.field for violation in error.details["BadRequest"].field_violations]
    assert fields == ["start_time", "page_size", "page_token"]


@pytest.mark.parametrize(
    "scope",
    [{"all": True}, {"tenant": "kyc"}, {"face_set": admin_pb.TenantFaceSet(tenant="kyc", face_set="employees")}],
)
async def test_a_purge_kills_the_answers_of_its_scope(
    stub: Any, admin: Any, upstream: FakeUpstream, scope: dict[str, Any]
) -> None:
    """Each scope; the epoch rises."""
    await stub.SearchFace(search(), metadata=login("kyc"))
    first = await admin.PurgeCache(admin_pb.PurgeCacheRequest(**scope), metadata=login("ops"))
    second = await admin.PurgeCache(admin_pb.PurgeCacheRequest(**scope), metadata=login("ops"))
    assert 1 <= first.epoch < second.epoch
    answer = await stub.SearchFace(search(), metadata=login("kyc"))
    assert answer.cache.status == pb.CACHE_STATUS_MISS


@pytest.mark.parametrize(
    ("scope", "field"),
    [
        ({}, "scope"),
        ({"all": False}, "all"),
        ({"tenant": "nobody"}, "tenant"),
        ({"face_set": admin_pb.TenantFaceSet(tenant="kyc", face_set="prod")}, "face_set.face_set"),
        ({"face_set": admin_pb.TenantFaceSet(tenant="nobody", face_set="employees")}, "face_set.tenant"),
    ],
)
async def test_a_purge_of_nothing_is_an_error(admin: Any, scope: dict[str, Any], field: str) -> None:
    """A misspelt scope must not look like a purge."""
    error = await refusal(admin.PurgeCache(admin_pb.PurgeCacheRequest(**scope), metadata=login("ops")))
    assert error.details["BadRequest"].field_violations[0].field == field


@pytest.mark.parametrize(
    ("purge", "told"),
    [
        ({"all": True}, ("all", "", "")),
        ({"tenant": "kyc"}, ("tenant", "kyc", "")),
        (
            {"face_set": admin_pb.TenantFaceSet(tenant="kyc", face_set="employees")},
            ("face_set", "kyc", "employees"),
        ),
    ],
)
async def test_a_purge_is_audited(tmp_path: Path, purge: dict[str, Any], told: tuple[str, str, str]) -> None:
    """Who, by which call, what, and the epoch that is in force; one that was refused leaves a refusal instead."""
    config = config_of(auth={"anonymous_tenant": None}, tenants=TENANTS)
    with caught_logs(tmp_path) as logs:
        async with (
            running(config, upstream=FakeUpstream()) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            purge_cache = AdminServiceStub(channel).PurgeCache
            asked = admin_pb.PurgeCacheRequest(**purge)
            answer = await purge_cache(asked, metadata=(*login("ops"), ("x-request-id", "incident-7")))
            await refusal(purge_cache(asked, metadata=login("kyc")))
            await eventually(lambda: bool(logs.lines("audit.refused")), "the refusal is told")
        (event,) = logs.lines("audit.purge")
        (refused,) = logs.lines("audit.refused")
    assert (event["stream"], event["tenant"]) == ("audit", "ops")
    assert (event["request_id"], event["epoch"]) == ("incident-7", answer.epoch)
    assert (event["scope"], event["of_tenant"], event["face_set"]) == told
    assert (refused["tenant"], refused["reason"]) == ("kyc", "OPERATION_NOT_ALLOWED")


async def test_callers_cannot_operate(admin: Any) -> None:
    """OPERATION_NOT_ALLOWED on headers, for every method of the service."""
    for method, request in (
        ("PurgeCache", admin_pb.PurgeCacheRequest(all=True)),
        ("ListTenantUsage", admin_pb.ListTenantUsageRequest()),
        ("GetStatus", admin_pb.GetStatusRequest()),
    ):
        error = await refusal(getattr(admin, method)(request, metadata=login("kyc")))
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "OPERATION_NOT_ALLOWED")
