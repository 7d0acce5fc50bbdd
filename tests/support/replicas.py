"""Several gateways as their operators run them: processes on shared stores, before one sandbox, called over gRPC.

The sandbox runs in the test's process, so that a test reads its numbers and sets its faults without a round trip.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import orjson
import yaml
from facegate.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from grpc_health.v1 import health_pb2

from gateway.sandbox.server import SANDBOX_API_ID, SANDBOX_API_SECRET, Sandbox, run_sandbox
from tests.support.gateway import refusal_of
from tests.support.images import jpeg, jpeg_with_segments, segment
from tests.support.tools import ROOT
from tests.support.valkey import free_port

ALL_SEEDS = os.environ.get("FACEGATE_ALL_SEEDS") == "1"
FACE_SET = "employees"
_READY_SECONDS = 60.0
_COMMENT = 0xFE


def photo(number: int | str = 0) -> bytes:
    """A small photo; each number is another one."""
    return jpeg_with_segments(jpeg(160, 128), segment(_COMMENT, f"photo {number}".encode()))


def tenant(name: str, *, role: str = "caller", limits: Mapping[str, Any] | None = None, **more: str) -> dict[str, Any]:
    """A tenant's settings; its face set `employees` is the vendor's `prod-NAME`, and `more` are further ones."""
    digest = hashlib.sha256(_token(name).encode()).hexdigest()
    settings: dict[str, Any] = {"id": name, "role": role, "principals": [{"token_sha256": digest}]}
    if role == "caller":
        settings |= {"face_sets": {FACE_SET: vendor_name(name), **more}, "limits": dict(limits or {})}
    return settings


def vendor_name(tenant_id: str) -> str:
    """What the vendor calls a tenant's face set."""
    return f"prod-{tenant_id}"


def _token(name: str) -> str:
    return f"token-of-{name}"


def login(name: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a tenant's calls."""
    return (("authorization", f"Bearer {_token(name)}"),)


def request(
    content: bytes,
    mode: pb.CacheMode.ValueType = pb.CACHE_MODE_READ_WRITE,
    *,
    face_set: str = FACE_SET,
    **fields: Any,
) -> pb.SearchFaceRequest:
    """A search for a photo."""
    control = pb.CacheControl(mode=mode)
    return pb.SearchFaceRequest(face_set=face_set, image=pb.Image(content=content), cache_control=control, **fields)


@asynccontextmanager
async def channels_to(address: str, count: int = 1) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Connections of their own: one carries 64 calls at once."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(count)]
    try:
        yield channels
    finally:
        for channel in channels:
            await channel.close()


@dataclass
class Replica:
    """One gateway process."""

    address: str
    log: Path
    process: subprocess.Popen[bytes]
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stubs = itertools.cycle([FaceSearchServiceStub(channel) for channel in self.channels])

    def search(self, who: str, asked: pb.SearchFaceRequest, *, timeout: float = 20) -> Any:
        """A call under way, on the next of the connections."""
        return next(self._stubs).SearchFace(asked, metadata=login(who), timeout=timeout)

    async def quota(self, who: str) -> pb.GetQuotaResponse:
        """The tenant's limits, as this replica reports them."""
        answer: pb.GetQuotaResponse = await next(self._stubs).GetQuota(
            pb.GetQuotaRequest(), metadata=login(who), timeout=20
        )
        return answer

    async def used(self, who: str, limit: str = "upstream_calls_per_day") -> int:
        """What the tenant has used of a limit."""
        return {known.id: known.used for known in (await self.quota(who)).limits}[limit]

    @property
    def admin(self) -> Any:
        """The operators' service."""
        return AdminServiceStub(self.channels[0])

    def events(self, prefix: str) -> list[str]:
        """The log's events that begin with `prefix`, in order; complete lines only."""
        lines = self.log.read_bytes().split(b"\n")[:-1]
        events = [str(orjson.loads(line).get("event", "")) for line in lines if line.startswith(b"{")]
        return [event for event in events if event.startswith(prefix)]

    def kill(self) -> None:
        """SIGKILL: nothing is given back."""
        self.process.kill()
        self.process.wait(timeout=10)


def _spawn(
    folder: Path, number: int, settings: Mapping[str, Any], module: str
) -> tuple[str, Path, subprocess.Popen[bytes]]:
    address = f"127.0.0.1:{free_port()}"
    server = {"listen": address, "drain_seconds": 1, "max_concurrent_rpcs": 2000, **settings.get("server", {})}
    file, log = folder / f"replica-{number}.yaml", folder / f"replica-{number}.log"
    file.write_text(yaml.safe_dump({**settings, "server": server, "ops": {"listen": "127.0.0.1:0"}}))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FACEGATE_", "OTEL_"))}
    environ |= {"REPLICA_API_ID": SANDBOX_API_ID, "REPLICA_API_SECRET": SANDBOX_API_SECRET}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "serve", "--config", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            cwd=ROOT,
        )
    return address, log, process


async def _ready(replica: Replica) -> bool:
    """Whether it serves; False if it ended instead (its port was taken meanwhile)."""
    check = replica.channels[0].unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and replica.process.poll() is None:
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=1, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.01)
            continue
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return True
    return False


async def _start(
    stack: AsyncExitStack, folder: Path, number: int, settings: Mapping[str, Any], wide: int, module: str
) -> Replica:
    log = folder
    for _ in range(3):
        address, log, process = _spawn(folder, number, settings, module)
        stack.push_async_callback(_end, process)
        channels = await stack.enter_async_context(channels_to(address, wide))
        replica = Replica(address, log, process, channels)
        if await _ready(replica):
            return replica
    raise AssertionError(f"the gateway did not start: {log.read_text()[-2000:]}")


async def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def settings_for(sandbox: Sandbox, tenants: Sequence[Mapping[str, Any]], **sections: Any) -> dict[str, Any]:
    """A replica's settings: the sandbox behind it, these tenants, memory stores unless `sections` say otherwise."""
    credentials = [{"name": "primary", "api_id_env": "REPLICA_API_ID", "api_secret_env": "REPLICA_API_SECRET"}]
    upstream = {"base_url": sandbox.url, "credentials": credentials, **sections.pop("upstream", {})}
    return {"tenants": [dict(one) for one in tenants], "upstream": upstream, **sections}


@asynccontextmanager
async def running_replicas(
    folder: Path, settings: Sequence[Mapping[str, Any]], *, channels: int = 1, patient: bool = True
) -> AsyncIterator[list[Replica]]:
    """A gateway process for each of `settings`, all of them serving; `channels` connections to each.

    Unless they are not `patient`, they wait seconds for a shared store, not 50 ms.
    """
    module = "tests.support.patient_process" if patient else "gateway"
    async with AsyncExitStack() as stack:
        starts = (_start(stack, folder, number, each, channels, module) for number, each in enumerate(settings))
        yield list(await asyncio.gather(*starts))


@asynccontextmanager
async def sandbox_for(folder: Path, face_sets: Sequence[str]) -> AsyncIterator[Sandbox]:
    """A sandbox that answers at once with the one face of each face set."""
    for name in face_sets:
        (folder / "faces" / name).mkdir(parents=True)
        (folder / "faces" / name / "someone.jpg").write_bytes(jpeg(160, 128))
    async with run_sandbox(faces_dir=folder / "faces", instant=True) as sandbox:
        yield sandbox


def key_file(folder: Path) -> str:
    """A new file of 32 random bytes."""
    file = folder / "key"
    file.write_bytes(secrets.token_bytes(32))
    file.chmod(0o600)
    return str(file)


async def clear_of_midnight(seconds: float = 20) -> None:
    """Waits for the new day (UTC) if it begins within `seconds`: a daily limit would begin anew in mid-test."""
    now = datetime.now(UTC)
    left = 86400 - (now.hour * 3600 + now.minute * 60 + now.second)
    if left <= seconds:
        await asyncio.sleep(left + 1)


async def end_of(call: Any) -> str:
    """How a call ends: `OK`, the reason of its refusal, or its status where it has none."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason or error.code().name
    return "OK"
