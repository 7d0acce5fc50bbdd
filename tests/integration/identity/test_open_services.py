"""What needs no credentials: health for probes, reflection for grpcurl, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from facegate.admin.v1 import admin_service_pb2
from facegate.search.v1 import face_search_service_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from gateway.auth.tokens import new_token
from tests.support.callers import holder_of, tenant
from tests.support.gateway import config_of, refusal, running
from tests.support.upstream import FakeUpstream

REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
OURS = {
    f"/{service.full_name}/{method.name}"
    for file in (face_search_service_pb2, admin_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Opens a gateway without an anonymous tenant, and a channel to it without credentials."""
    async with AsyncExitStack() as stack:

        async def connect(**server: Any) -> grpc.aio.Channel:
            config = config_of(
                auth={"anonymous_tenant": None}, server=server, tenants=[tenant("kyc", holder_of(new_token()))]
            )
            gateway = await stack.enter_async_context(running(config, upstream=FakeUpstream()))
            return await stack.enter_async_context(grpc.aio.insecure_channel(gateway.address))

        yield connect


async def listed(channel: grpc.aio.Channel, service: str) -> set[str]:
    """The services that reflection lists."""
    call: Any = channel.unary_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    answer = await call(ServerReflectionRequest(list_services=""), timeout=10).read()
    return {found.name for found in answer.list_services_response.service}


async def test_probes_need_no_credentials(connect: Callable[..., Any]) -> None:
    """Neither to ask once nor to watch."""
    health: Any = health_pb2_grpc.HealthStub(await connect())
    assert (await health.Check(HealthCheckRequest())).status == HealthCheckResponse.SERVING
    watch = health.Watch(HealthCheckRequest(service="liveness"))
    assert (await watch.read()).status == HealthCheckResponse.SERVING
    watch.cancel()


@pytest.mark.parametrize("service", REFLECTION)
async def test_reflection_needs_no_credentials(connect: Callable[..., Any], service: str) -> None:
    """Under both of its names; what it tells is published anyway."""
    names = await listed(await connect(), service)
    assert {path.split("/")[1] for path in OURS} <= names


@pytest.mark.parametrize("service", REFLECTION)
async def test_reflection_can_be_switched_off(connect: Callable[..., Any], service: str) -> None:
    """Under both of its names."""
    channel = await connect(reflection=False)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await listed(channel, service)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", sorted(OURS))
async def test_everything_else_needs_credentials(connect: Callable[..., Any], path: str) -> None:
    """Every method of the contract, as its descriptors list them."""
    channel = await connect()
    call: Any = channel.unary_unary(path)
    assert (await refusal(call(b"", timeout=30))).reason == "CREDENTIALS_INVALID"


@pytest.mark.parametrize(
    "path",
    [
        "/facegate.search.v1.FaceSearchService/searchface",
        "/facegate.search.v1.FaceSearchService//SearchFace",
        "/facegate.search.v1.FaceSearchService/SearchFace/",
        "/grpc.health.v1.Health/../../facegate.search.v1.FaceSearchService/SearchFace",
        "/grpc.health.v1.Health/SearchFace",
        "/grpc.reflection.v1.FaceSearchService/SearchFace",
        "/grpc.channelz.v1.Channelz/GetServers",
    ],
)
async def test_a_path_that_is_nearly_one_opens_nothing(connect: Callable[..., Any], path: str) -> None:
    """What looks like an open service's path reaches no method behind it."""
    channel = await connect()
    call: Any = channel.unary_unary(path)
    assert (await refusal(call(b"", timeout=30))).code is grpc.StatusCode.UNIMPLEMENTED
