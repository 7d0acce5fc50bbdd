"""A real gateway with canaries wherever something private belongs, a vendor that plants more, and all of its sinks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import redis
from facegate.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from gateway.clock import SystemClock
from gateway.watcher import FileWatcher
from tests.support import canaries
from tests.support.callers import AUDIENCE, ISSUER, SPIFFE_ID, WORKLOAD, holder_of, tls_channel, tls_settings
from tests.support.gateway import config_of, running
from tests.support.logs import CaughtLogs, caught_logs
from tests.support.oidc import key_set
from tests.support.otlp import Collector, collecting
from tests.support.replicas import key_file
from tests.support.valkey import StoreServer
from tests.support.vendor import Connection, Vendor

TRACE = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
PAGES = ("/", "/status.json", "/livez", "/readyz", "/metrics")


def settings(folder: Path, vendor: str, collector: str | None) -> dict[str, Any]:
    """Sections of a configuration that holds a canary in each private place."""
    for name, content in (("id", canaries.API_ID), ("secret", canaries.API_SECRET)):
        (folder / name).write_text(content)
    (folder / "jwks.json").write_bytes(key_set(canaries.KEY.jwk()))
    credential = {"name": "primary", "api_id_file": str(folder / "id"), "api_secret_file": str(folder / "secret")}
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(folder / "jwks.json")}

    def tenant(name: str, *principals: dict[str, str], **more: Any) -> dict[str, Any]:
        face_sets = {"employees": canaries.UPSTREAM_NAME}
        return {"id": name, "principals": list(principals), "face_sets": face_sets, **more}

    return {
        "server": {"listen": "127.0.0.1:0", "drain_seconds": 1},
        "auth": {"anonymous_tenant": None, "jwt_issuers": [issuer]},
        "upstream": {"base_url": vendor, "timeout_seconds": 2, "credentials": [credential]},
        "tenants": [
            tenant("kyc", holder_of(canaries.TOKEN), WORKLOAD, {"spiffe_id": SPIFFE_ID}),
            tenant("ops", holder_of(canaries.OPERATOR_TOKEN), role="operator"),
            tenant("hasty", holder_of(canaries.HASTY), limits={"rate": {"per_second": 0.01, "burst": 1}}),
            tenant("busy", holder_of(canaries.BUSY), limits={"concurrency": 1}),
            tenant("poor", holder_of(canaries.POOR), limits={"upstream_calls": {"per_month": 1}}),
        ],
        "telemetry": {"otlp_endpoint": collector, "trace_sample_ratio": 1.0},
    }


@dataclass
class Stage:
    """The gateway and who is around it. `told` is what callers were sent, apart from answers' messages."""

    folder: Path
    gateway: Gateway
    watcher: FileWatcher
    collector: Collector
    logs: CaughtLogs
    channel: grpc.aio.Channel
    store: StoreServer | None
    answer: bytes = b""
    hang_up: bool = False
    told: list[bytes] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    def __post_init__(self) -> None:
        self.search_stub: Any = FaceSearchServiceStub(self.channel)
        self.admin_stub: Any = AdminServiceStub(self.channel)
        self.hold.set()

    async def vendor_says(self, connection: Connection) -> None:
        """Answers as told, as soon as it may."""
        while True:
            await connection.request()
            self.asked += 1
            await self.hold.wait()
            await connection.send(self.answer)
            if self.hang_up:
                return

    async def end(self, call: Any) -> str:
        """Waits for a call, keeps what it was told beside an answer's message, and gives its status."""
        try:
            await call
        except grpc.aio.AioRpcError as error:
            self.told.append((error.details() or "").encode())
        for metadata in (await call.initial_metadata(), await call.trailing_metadata()):
            for name, value in metadata or ():
                self.told += [name.encode(), value if isinstance(value, bytes) else value.encode()]
        return str((await call.code()).name)

    async def page(self, path: str, *, status: int = 200) -> bytes:
        """What operators are shown."""
        url = f"http://{self.gateway.ops_address}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == status
            return await answer.read()

    async def broken_page(self, path: str) -> bytes:
        """What operators are shown of a page that fails, once the last good one is too old to be shown again."""
        url = f"http://{self.gateway.ops_address}{path}"
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while True:
                async with session.get(url) as answer:
                    if answer.status == 500:
                        return await answer.read()
                await asyncio.sleep(0.05)

    async def sinks(self) -> dict[str, bytes]:
        """Everything that left, by where it left."""
        pages = {path: await self.page(path) for path in PAGES}
        await self._flushed()
        dumped = {} if self.store is None else {"valkey": dump_of(self.store)}
        traces = b"".join(export.SerializeToString() for export in self.collector.trace_exports)
        metrics = b"".join(export.SerializeToString() for export in self.collector.metric_exports)
        told = {"logs": self.logs.text.encode(), "errors": b"\n".join(self.told)}
        return {**pages, **dumped, **told, "traces": traces, "otlp metrics": metrics}

    async def _flushed(self) -> None:
        """Until the log file and the collector have all that there is."""
        before = (0, 0, 0)
        for _ in range(50):
            await asyncio.sleep(0.15)
            now = (len(self.logs.text), len(self.collector.spans), min(2, len(self.collector.metric_exports)))
            if now == before and all(now):
                return
            before = now
        raise AssertionError("the sinks do not come to rest")


def dump_of(store: StoreServer) -> bytes:
    """Every key of a store with its value: as it is stored, and as it is read."""
    found: list[bytes] = []
    with store.client() as client:
        read = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"list": lambda name: client.lrange(name, 0, -1),
            b"set": client.smembers,
            b"zset": lambda name: client.zrange(name, 0, -1, withscores=True),
        }
        for name in client.scan_iter(count=1000):
            try:
                found += [name, client.dump(name) or b"", *_flat(read[client.type(name)](name))]
            except redis.ResponseError as error:
                raise AssertionError(f"cannot read {name!r}") from error
    assert found
    return b"\n".join(found)


def _flat(value: Any) -> list[bytes]:
    """The bytes in what the client gives, whatever its shape."""
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, dict):
        return [part for pair in value.items() for part in _flat(pair)]
    if isinstance(value, list | tuple | set):
        return [part for item in value for part in _flat(item)]
    return [str(value).encode()]


@asynccontextmanager
async def staged(folder: Path, *, store: StoreServer | None = None, tls: bool = False) -> AsyncIterator[Stage]:
    """A running gateway over all-real parts; with `tls`, callers show a certificate that names nobody."""
    stage: Stage

    async def vendor_says(connection: Connection) -> None:
        await stage.vendor_says(connection)

    async with AsyncExitStack() as stack:
        logs = stack.enter_context(caught_logs(folder))
        vendor = await stack.enter_async_context(Vendor(vendor_says))
        collector = await stack.enter_async_context(collecting())
        sections = settings(folder, vendor.base_url, collector.endpoint)
        if tls:
            sections["server"]["tls"] = tls_settings(folder, canaries.AUTHORITY.server(), canaries.AUTHORITY.pem)
            sections["auth"]["spiffe_trust_domain"] = "corp.example"
        if store is not None:
            sections["stores"] = {"cache": store.url, "quota": store.url, "key_file": key_file(folder)}
        watcher = FileWatcher(clock=SystemClock(), interval_seconds=3600, settle_seconds=0)
        gateway = await stack.enter_async_context(running(config_of(**sections), watcher=watcher))
        if tls:
            channel = tls_channel(gateway.address, canaries.AUTHORITY, canaries.AUTHORITY.issue([]))
        else:
            channel = grpc.aio.insecure_channel(gateway.address)
        stage = Stage(folder, gateway, watcher, collector, logs, await stack.enter_async_context(channel), store)
        yield stage
        stage.hold.set()
