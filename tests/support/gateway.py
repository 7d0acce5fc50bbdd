"""A real gateway on a free loopback port, and a client's view of its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from gateway.app import Gateway, open_gateway
from gateway.clock import Clock
from gateway.config import Config, parse_config
from gateway.upstream.port import Upstream
from gateway.watcher import FileWatcher
from tests.support.patience import patience

# What tests search with, unless they say otherwise.
SETTINGS: dict[str, Any] = {
    "server": {"listen": "127.0.0.1:0", "drain_seconds": 5},
    "ops": {"listen": "127.0.0.1:0"},
    "auth": {"anonymous_tenant": "demo"},
    "tenants": [{"id": "demo", "face_sets": {"employees": "employees-prod"}}],
}


def config_of(**sections: Any) -> Config:
    """The test configuration with whole sections replaced or extended."""
    settings = dict(SETTINGS)
    for name, value in sections.items():
        old = settings.get(name)
        settings[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return parse_config(yaml.safe_dump(settings))


@asynccontextmanager
async def running(
    config: Config | None = None,
    *,
    config_file: Path | None = None,
    upstream: Upstream | None = None,
    clock: Clock | None = None,
    watcher: FileWatcher | None = None,
    patient: bool = True,
) -> AsyncIterator[Gateway]:
    """A serving gateway. Unless it is not `patient`, it waits seconds for a shared store, not 50 ms."""
    async with AsyncExitStack() as stack:
        with patience() if patient else nullcontext():
            gateway = await stack.enter_async_context(
                open_gateway(
                    config or config_of(), config_file=config_file, upstream=upstream, clock=clock, watcher=watcher
                )
            )
        yield gateway


@dataclass
class Refusal:
    """An error as its caller sees it, with its details decoded."""

    code: grpc.StatusCode
    message: str
    trailers: dict[str, str | bytes]
    reason: str
    details: dict[str, Any]

    @property
    def everything(self) -> str:
        """All that the caller was sent, for searching in."""
        return f"{self.message}{self.trailers!r}{self.details!r}"


async def refusal(call: Awaitable[Any]) -> Refusal:
    """The error that `call` ends with; fails if it succeeds."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    raise AssertionError("the call was answered")


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """Decodes an error. Fails unless code and message of the details equal the call's."""
    trailers: dict[str, str | bytes] = dict(error.trailing_metadata())
    raw = trailers.get("grpc-status-details-bin")
    details: dict[str, Any] = {}
    if raw is not None:
        assert isinstance(raw, bytes)
        status = Status.FromString(raw)
        assert (status.code, status.message) == (error.code().value[0], error.details())
        for packed in status.details:
            name = packed.type_url.rpartition(".")[2]
            detail = getattr(error_details_pb2, name)()
            assert packed.Unpack(detail)
            details[name] = detail
    reason = details["ErrorInfo"].reason if "ErrorInfo" in details else ""
    return Refusal(error.code(), error.details() or "", trailers, reason, details)
