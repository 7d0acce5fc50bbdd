"""Calls a gateway as any caller would: the only file of the command line that knows gRPC and the stubs."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from facegate.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gateway.cli.call_failure import CallFailure
from gateway.cli.diagnosis import diagnose
from gateway.cli.options import Target

# UNAVAILABLE alone is worth a retry: gRPC's core also says RESOURCE_EXHAUSTED, for a message that is too large.
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "facegate.search.v1.FaceSearchService"}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # The default of 256 KiB silently turns retries off for a real image.
    ("grpc.per_rpc_retry_buffer_size", 16 * 1024 * 1024),
    ("grpc.primary_user_agent", "facegate-cli"),
    # Ten times what the longest answer takes, a page of tenants. The target may be anybody.
    ("grpc.max_receive_message_length", 1024 * 1024),
)


MAX_MATCHES = 100
"""Matches that an answer may hold: ten times what can be asked for today."""


class Client:
    """A connection to a gateway. Every call raises CallFailure and nothing else."""

    def __init__(self, channel: grpc.aio.Channel, target: Target) -> None:
        self._target = target
        self._diagnosis: asyncio.Task[str] | None = None
        self._metadata = (("authorization", f"Bearer {target.token}"),) if target.token else ()
        self._search = FaceSearchServiceStub(channel)
        self._admin = AdminServiceStub(channel)
        # The published stub class has no types.
        self._health = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )

    async def search(self, request: Any, timeout_seconds: float) -> Any:
        """SearchFace."""
        reply = await self._call(self._search.SearchFace, request, timeout_seconds)
        if len(reply.matches) > MAX_MATCHES:
            raise CallFailure("BAD_ANSWER", f"the answer holds {len(reply.matches)} matches")
        return reply

    async def quota(self, request: Any, timeout_seconds: float) -> Any:
        """GetQuota."""
        return await self._call(self._search.GetQuota, request, timeout_seconds)

    async def usage(self, request: Any, timeout_seconds: float) -> Any:
        """GetUsage."""
        return await self._call(self._search.GetUsage, request, timeout_seconds)

    async def tenant_usage(self, request: Any, timeout_seconds: float) -> Any:
        """ListTenantUsage, one page."""
        return await self._call(self._admin.ListTenantUsage, request, timeout_seconds)

    async def purge(self, request: Any, timeout_seconds: float) -> Any:
        """PurgeCache."""
        return await self._call(self._admin.PurgeCache, request, timeout_seconds)

    async def health(self, service: str, timeout_seconds: float) -> str:
        """The health of `service`: `SERVING`, `NOT_SERVING` ..."""
        reply = await self._call(self._health, HealthCheckRequest(service=service), timeout_seconds)
        try:
            return HealthCheckResponse.ServingStatus.Name(reply.status)
        except ValueError:
            return str(reply.status)

    async def _call(self, method: Any, request: Any, timeout_seconds: float) -> Any:
        try:
            return await method(request, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            failure = decode(error)
            if _met_nobody(error, failure):
                failure.message = await self._why() or failure.message
            raise failure from None
        except grpc.aio.UsageError as error:
            raise CallFailure("UNKNOWN", str(error)) from None

    async def _why(self) -> str:
        """Why nobody answers; found out once for all calls."""
        if self._diagnosis is None:
            self._diagnosis = asyncio.create_task(asyncio.to_thread(diagnose, self._target))
        return await asyncio.shield(self._diagnosis)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    """A client of `target`; nothing is sent before the first call."""
    options = _OPTIONS
    if _is_this_machine(target.address):
        # gRPC would ask a proxy of the environment for it: a probe inside a container would reach the proxy's machine.
        options = (*_OPTIONS, ("grpc.enable_http_proxy", 0))
    if target.tls is None:
        channel = grpc.aio.insecure_channel(target.address, options=options)
    else:
        tls = target.tls
        credentials = grpc.ssl_channel_credentials(tls.authorities, tls.client_key, tls.client_cert)
        channel = grpc.aio.secure_channel(target.address, credentials, options=options)
    async with channel:
        yield Client(channel, target)


def _is_this_machine(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]").lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def decode(error: grpc.aio.AioRpcError) -> CallFailure:
    """What a failed call said, its details read; details that cannot be read are left out."""
    trailers = dict(error.trailing_metadata() or ())
    failure = CallFailure(error.code().name, error.details() or "")
    failure.request_id = str(trailers.get("x-request-id", ""))
    try:
        status = Status.FromString(trailers.get("grpc-status-details-bin", b""))
        for detail in status.details:
            _read_detail(detail, failure)
    except (DecodeError, TypeError):
        return failure
    return failure


def _met_nobody(error: grpc.aio.AioRpcError, failure: CallFailure) -> bool:
    """Whether gRPC itself made up the error: a server's has trailers, FaceGate's a request id."""
    made_up = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    return made_up and not failure.request_id and not error.trailing_metadata()


def _read_detail(detail: Any, failure: CallFailure) -> None:
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    if detail.Unpack(info):
        failure.reason = info.reason
        failure.request_id = info.metadata.get("request_id", failure.request_id)
    elif detail.Unpack(bad):
        failure.violations = tuple((v.field, v.description) for v in bad.field_violations)
    elif detail.Unpack(retry):
        failure.retry_after_seconds = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
