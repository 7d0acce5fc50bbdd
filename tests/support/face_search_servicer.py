"""A small stand-in for a gateway's gRPC side, over a real socket, for tests of its callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from facegate.admin.v1 import admin_service_pb2 as admin
from facegate.admin.v1.admin_service_pb2_grpc import AdminServiceServicer, add_AdminServiceServicer_to_server
from facegate.search.v1 import face_search_service_pb2 as search
from facegate.search.v1.face_search_service_pb2_grpc import (
    FaceSearchServiceServicer,
    add_FaceSearchServiceServicer_to_server,
)
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthServicer, add_HealthServicer_to_server


@dataclass
class FakeGateway(FaceSearchServiceServicer, AdminServiceServicer):
    """Answers searches by `answer`, which may abort; keeps what it was asked."""

    answer: Callable[[FakeGateway, Any, Any], Any]
    requests: list[Any] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def SearchFace(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.answer(self, request, context)
        finally:
            self.in_flight -= 1

    async def GetQuota(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        reply = search.GetQuotaResponse(tenant="kyc", face_sets=["employees"])
        limit = reply.limits.add(id="upstream_calls_per_day", limit=1000, used=250, remaining=750)
        limit.reset_time.seconds = 1_800_000_000
        return reply

    async def GetUsage(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        reply = search.GetUsageResponse()
        reply.days.add(searches=12, cache_hits=5, upstream_calls=7, charged_units=7).day.seconds = 1_800_000_000
        return reply

    async def ListTenantUsage(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        if request.page_token:
            return admin.ListTenantUsageResponse(tenants=[admin.TenantUsage(tenant="b", searches=2)])
        return admin.ListTenantUsageResponse(
            tenants=[admin.TenantUsage(tenant="a", searches=1)], next_page_token="second"
        )

    async def PurgeCache(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        return admin.PurgeCacheResponse(epoch=7)

    def BulkSearchFaces(self, request_iterator: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetStatus(self, request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")

    def _note(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        metadata = dict(context.invocation_metadata())
        self.tokens.append(metadata.get("authorization", ""))


async def one_match(_: FakeGateway, request: Any, context: Any) -> Any:
    """An answer with one match whose ids exceed 2^53."""
    reply = search.SearchFaceResponse(outcome=search.SEARCH_OUTCOME_MATCHED, request_id="r-1")
    match = reply.matches.add(person_id=1, face_id=435449455488008194, score=0.985)
    match.create_time.seconds = 1_669_077_702
    reply.cache.status = search.CACHE_STATUS_MISS
    return reply


async def rejected(_: FakeGateway, request: Any, context: Any) -> Any:
    """An error with every detail that a caller should see."""
    details = [
        ErrorInfo(reason="IMAGE_REJECTED", domain="facegate", metadata={"request_id": "r-2"}),
        BadRequest(field_violations=[{"field": "image", "description": "must be a JPEG or PNG file"}]),
        RetryInfo(retry_delay={"seconds": 3}),
    ]
    status = Status(code=3, message="the image cannot be searched")
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    await context.abort(
        grpc.StatusCode.INVALID_ARGUMENT,
        status.message,
        (("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", "r-2")),
    )


class _Health(HealthServicer):
    async def Check(self, request: Any, context: Any) -> Any:
        if request.service == "draining":
            return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def fake_gateway(
    answer: Callable[[FakeGateway, Any, Any], Any] = one_match,
    *,
    credentials: grpc.ServerCredentials | None = None,
    kind: type[FakeGateway] = FakeGateway,
    health: HealthServicer | None = None,
) -> AsyncIterator[tuple[FakeGateway, str]]:
    """The stand-in and its address; `kind` and `health` answer otherwise than it does."""
    fake = kind(answer)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 7_340_032)))
    add_FaceSearchServiceServicer_to_server(fake, server)
    add_AdminServiceServicer_to_server(fake, server)
    add_HealthServicer_to_server(health or _Health(), server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield fake, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
