"""Replicas that are restarted one after the other under plain clients: no retry policy, and no call is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from bench.requests import Requests
from gateway.auth.tokens import new_token
from tests.support.abuse_stage import LONG, long_only, scaled, settings_of
from tests.support.callers import holder_of, tenant
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.honest import OWN_CONNECTION, Honest, Outcomes
from tests.support.measurements import Measurement, keep
from tests.support.metrics import metrics_page, values
from tests.support.open_loop import SEARCH
from tests.support.tools import LOCAL_BIN, ROOT, require_tool
from tests.support.valkey import free_port
from tests.support.vendor_process import vendor_process

REPLICAS = 2
RESTARTS = int(scaled(2, 30))
PER_SECOND = 100
LAME_DUCK = pytest.mark.parametrize("lame_duck_seconds", [0, pytest.param(1, marks=long_only)])


@dataclass
class Replica:
    """One gateway behind an address that stays."""

    folder: Path
    settings: dict[str, Any]
    stack: AsyncExitStack
    process: GatewayProcess | None = None

    async def start(self) -> None:
        """Starts it, and returns once it takes calls."""
        self.process = await self.stack.enter_async_context(gateway_process(self.folder, self.settings))

    async def restart(self) -> None:
        """Ends it as Kubernetes does, starts it again and waits until its callers have found it."""
        assert self.process is not None
        self.process.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.process.process.wait(), 60)
        await self.start()
        async with asyncio.timeout(60):
            while not await self.called():
                await asyncio.sleep(0.05)

    async def called(self) -> bool:
        """Whether this process has answered calls."""
        assert self.process is not None
        page = values(await metrics_page(self.process.ops_address))
        return any(
            count > 0 for name, count in page.items() if name.startswith("rpc_server_call_duration_seconds_count")
        )


@dataclass
class Fleet:
    """The replicas, and what their callers need."""

    replicas: list[Replica]
    token: str

    @property
    def addresses(self) -> str:
        return ",".join(replica.settings["server"]["listen"] for replica in self.replicas)

    async def roll(self) -> None:
        """Restarts one replica after the other."""
        for number in range(RESTARTS):
            await self.replicas[number % REPLICAS].restart()


@asynccontextmanager
async def fleet(folder: Path, lame_duck_seconds: float) -> AsyncIterator[Fleet]:
    """Two replicas before a vendor that takes 20 ms."""
    token = new_token()
    async with vendor_process(0.02) as vendor, AsyncExitStack() as stack:
        replicas = []
        for number in range(REPLICAS):
            own = folder / str(number)
            own.mkdir()
            server = {"listen": f"127.0.0.1:{free_port()}", "lame_duck_seconds": lame_duck_seconds}
            settings = settings_of(own, vendor.url, [tenant("kyc", holder_of(token))], server=server)
            replicas.append(Replica(own, settings, stack))
            await replicas[-1].start()
        yield Fleet(replicas, token)


@LAME_DUCK
async def test_a_python_client_loses_hardly_a_call(tmp_path: Path, lame_duck_seconds: float) -> None:
    """gRPC's own round robin, with the defaults of everything else."""
    counts = await python_client(tmp_path, lame_duck_seconds, {})
    note("Python", lame_duck_seconds, str(counts))

    assert_few_lost(counts)


async def test_a_client_that_watches_health_loses_no_call(tmp_path: Path) -> None:
    """As in the service config that callers are given: it leaves during the lame duck, before gRPC ends its connection."""
    counts = await python_client(tmp_path, 1, {"healthCheckConfig": {"serviceName": ""}})
    note("Python with health checks", 1, str(counts))

    assert set(counts) == {"OK"}


async def python_client(folder: Path, lame_duck_seconds: float, service_config: dict[str, Any]) -> Mapping[str, int]:
    """How the calls of a client in Python ended, during restarts of all replicas."""
    outcomes = Outcomes()
    service_config = {"loadBalancingConfig": [{"round_robin": {}}], **service_config}
    options = (
        *OWN_CONNECTION,
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.service_config_disable_resolution", 1),
    )
    async with (
        fleet(folder, lame_duck_seconds) as replicas,
        grpc.aio.insecure_channel(f"ipv4:{replicas.addresses}", options) as channel,
    ):
        caller = Honest(channel, replicas.token, "CACHE_MODE_BYPASS")
        await caller.stub.SearchFace(caller.request, metadata=caller.metadata, timeout=20, wait_for_ready=True)
        rolling = asyncio.create_task(replicas.roll())
        calls: set[asyncio.Task[None]] = set()
        while not rolling.done():
            calls.add(asyncio.create_task(outcomes.of(caller.search(timeout=10))))
            await asyncio.sleep(1 / PER_SECOND)
        await asyncio.gather(*calls)
        await rolling
    return outcomes.counts


@LAME_DUCK
async def test_a_go_client_loses_hardly_a_call(tmp_path: Path, lame_duck_seconds: float) -> None:
    """grpc-go, likewise."""
    program = go_client()
    message = tmp_path / "message"
    message.write_bytes(Requests.of(20_000, "CACHE_MODE_BYPASS").same)
    async with fleet(tmp_path, lame_duck_seconds) as replicas:
        client = await asyncio.create_subprocess_exec(
            program,
            *("-addresses", replicas.addresses, "-method", SEARCH, "-message", str(message), "-token", replicas.token),
            *("-pace", f"{1000 // PER_SECOND}ms"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert client.stdout is not None
        assert client.stdin is not None
        try:
            assert await asyncio.wait_for(client.stdout.readline(), 30) == b"on\n"
            await replicas.roll()
            client.stdin.close()
            out = await asyncio.wait_for(client.stdout.read(), 30)
            await client.wait()
        finally:
            if client.returncode is None:
                client.kill()
                await client.communicate()
    found = json.loads(out)
    note("Go", lame_duck_seconds, f"{found['counts']}, {found['texts']}")

    assert_few_lost(found["counts"])


def assert_few_lost(counts: Mapping[str, int]) -> None:
    """gRPC's core ends a call as CANCELLED that crosses its GOAWAY (docs/adr/0013). More than that is the gateway's doing."""
    lost = sum(counts.values()) - counts["OK"]
    assert lost <= max(2, RESTARTS // 3), counts


def go_client() -> Path:
    """The client's program, built once for its sources."""
    go = require_tool("go", "see https://go.dev/doc/install")
    program = LOCAL_BIN / "load-client"
    sources = ROOT / "tests" / "load" / "go"
    if not program.exists() or program.stat().st_mtime < max(file.stat().st_mtime for file in sources.iterdir()):
        # Under a name of its own first: tests of another worker may build it as well.
        fresh = program.with_name(f"load-client-{os.getpid()}")
        subprocess.run(
            [go, "build", "-o", fresh, "."], cwd=sources, check=True, env={**os.environ, "GOFLAGS": "-mod=mod"}
        )
        fresh.replace(program)
    return program


def note(client: str, lame_duck_seconds: float, outcome: str) -> None:
    """Keeps the row. Memory and processor time belong to no single process here."""
    name = f"{RESTARTS} rolling restarts, {client}, lame duck {lame_duck_seconds} s{' (long)' if LONG else ''}"
    keep(Measurement(name, 0, 0.0, 0.0, 0.0, outcome, None, None))
