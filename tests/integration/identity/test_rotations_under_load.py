"""Everything that can be exchanged is exchanged twenty times while clients call, with garbage in between."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import yaml
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from structlog.testing import capture_logs

from gateway.app import Gateway
from gateway.auth.tokens import new_token
from gateway.clock import SystemClock
from gateway.config import load_config
from gateway.sandbox.server import DEMO_FACE_SET, Account, run_sandbox
from gateway.watcher import FileWatcher, WatchState
from tests.support.callers import SPIFFE_ID, holder_of, tenant, tls_channel, who
from tests.support.conditions import eventually
from tests.support.gateway import running
from tests.support.images import jpeg
from tests.support.mounted import Mounted
from tests.support.pki import Authority, Credentials

ROTATIONS = 20
CALLERS = 3
# For one step on a machine that has much else to do.
PATIENCE_SECONDS = 20.0
SEARCH = pb.SearchFaceRequest(
    face_set="employees",
    image=pb.Image(content=jpeg()),
    # Past the cache, so that every call needs the vendor's secret.
    cache_control=pb.CacheControl(mode=pb.CACHE_MODE_BYPASS),
)
CONFIGURATION, SECRET, TLS = "configuration", "upstream credential primary", "TLS certificate"
GROUPS = (CONFIGURATION, SECRET, TLS)
GARBAGE = (b"", b"\0\xff\xfe garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"tenants: [")


class Generation:
    """What one rotation brings: a token, an authority and a certificate of clients, a tenant, a pair at the vendor."""

    def __init__(self, number: int, server_authority: Authority) -> None:
        self.number = number
        self.token = new_token()
        self.other_token = new_token()
        self.authority = Authority(f"clients {number}")
        self.client = self.authority.workload(SPIFFE_ID)
        self.server = server_authority.server()
        self.api_id, self.api_secret = f"id-{number}", f"secret-{number}"

    def tenants(self, *tokens: str) -> list[dict[str, Any]]:
        """The tenants while these tokens are good. One tenant stays, another comes with each generation."""
        principals = [{"spiffe_id": SPIFFE_ID}, *map(holder_of, tokens)]
        return [
            tenant("kyc", *principals) | {"face_sets": {"employees": DEMO_FACE_SET}},
            tenant(f"guest-{self.number}", holder_of(self.other_token)),
        ]


class Watcher(FileWatcher):
    """Counts how often it has looked at all files."""

    looks = 0

    async def poll(self) -> None:
        await super().poll()
        self.looks += 1


class Files:
    """The gateway's files, mounted as Kubernetes does it, and what the watcher has said about them."""

    def __init__(self, folder: Path, vendor: str, first: Generation) -> None:
        self.loads: Counter[str] = Counter()
        self.watcher = Watcher(clock=SystemClock(), listener=self.told, interval_seconds=0.05, settle_seconds=0.01)
        self.secret = Mounted(folder / "secret", id=first.api_id.encode(), secret=first.api_secret.encode())
        self.tls = Mounted(
            folder / "tls", crt=first.server.certificate, key=first.server.key, clients=first.authority.pem
        )
        credential = {"name": "primary", "api_id_file": str(self.secret["id"])}
        self._settings: dict[str, Any] = {
            "server": {
                "listen": "127.0.0.1:0",
                "tls": {
                    "cert_file": str(self.tls["crt"]),
                    "key_file": str(self.tls["key"]),
                    "client_ca_file": str(self.tls["clients"]),
                },
            },
            "ops": {"listen": "127.0.0.1:0"},
            "upstream": {
                "base_url": vendor,
                "credentials": [credential | {"api_secret_file": str(self.secret["secret"])}],
            },
        }
        self.config = Mounted(folder / "config", **{"facegate.yaml": self.settings(first.tenants(first.token))})

    def settings(self, tenants: list[dict[str, Any]]) -> bytes:
        """The configuration with these tenants."""
        return yaml.safe_dump(self._settings | {"tenants": tenants}).encode()

    def told(self, state: WatchState) -> None:
        """Listens to the watcher."""
        if state.problem is None:
            self.loads[state.name] += 1

    async def in_force(self, write: Callable[[], None], *groups: str) -> None:
        """Writes, and waits until the gateway has loaded these groups."""
        before = self.loads.copy()
        write()
        await eventually(
            lambda: all(self.loads[name] > before[name] for name in groups), f"{groups} loaded", PATIENCE_SECONDS
        )


class Clients:
    """Callers of the same tenant, who show a token and a certificate. A failed call of any of them is kept."""

    def __init__(self, gateway: Gateway, server_authority: Authority, first: Generation) -> None:
        self._address = gateway.address
        self._authority = server_authority
        self._generation = first
        self._moved = asyncio.Event()
        self.calls: Counter[int] = Counter()
        self.failures: list[str] = []

    def channel(self, client: Credentials) -> grpc.aio.Channel:
        """A connection of its own."""
        return tls_channel(self._address, self._authority, client)

    async def keep_calling(self, number: int) -> None:
        """One connection for each generation of credentials; the last caller opens one for each call."""
        while True:
            generation = self._generation
            async with self.channel(generation.client) as channel:
                stub = FaceSearchServiceStub(channel)
                while generation is self._generation:
                    await self._call(stub, generation.token)
                    self.calls[number] += 1
                    await asyncio.sleep(0.003)  # leaves the gateway, in the same process, time for its files
                    if number == CALLERS - 1:
                        break

    async def _call(self, stub: Any, token: str) -> None:
        try:
            await stub.SearchFace(SEARCH, metadata=(("authorization", f"Bearer {token}"),), timeout=PATIENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            self.failures.append(f"{self._generation.number}: {error.code().name} {error.details()}")
            await asyncio.sleep(0.01)

    async def move(self, generation: Generation) -> None:
        """New credentials for all; returns when no call with the old ones is in flight any more."""
        self._generation = generation
        await self.all_called()

    async def all_called(self) -> None:
        """Returns when each caller has ended two more calls: the second began after now."""
        before = self.calls.copy()
        await eventually(
            lambda: all(self.calls[number] >= before[number] + 2 for number in range(CALLERS)),
            "all have called",
            PATIENCE_SECONDS,
        )


@asynccontextmanager
async def in_background(*coroutines: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def served_certificate(address: str) -> bytes:
    """The certificate that a new connection is shown."""
    host, _, port = address.rpartition(":")
    pem = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)), timeout=PATIENCE_SECONDS)
    return pem.encode()


async def operators_see(gateway: Gateway, page: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://{gateway.ops_address}/{page}") as response:
        assert response.status == 200
        return await response.text()


async def test_twenty_rotations_of_everything_fail_no_call(tmp_path: Path) -> None:
    """Client authority, server certificate, token, vendor's secret and tenants, each by overlap, each then dead.

    Garbage in each of the files changes nothing that is in force; `/readyz` and a metric name the files, and the log has
    one line when it begins and one when it ends.
    """
    server_authority = Authority("servers")
    current = Generation(0, server_authority)
    accounts = {current.api_id: Account(current.api_secret)}
    with capture_logs() as logs:
        async with run_sandbox(accounts=accounts, instant=True) as vendor:
            files = Files(tmp_path, vendor.url, current)
            file = files.config["facegate.yaml"]
            async with running(load_config(file, {}), config_file=file, watcher=files.watcher) as gateway:
                clients = Clients(gateway, server_authority, current)
                async with in_background(*(clients.keep_calling(number) for number in range(CALLERS))):
                    await clients.all_called()
                    for number in range(1, ROTATIONS + 1):
                        old, current = current, Generation(number, server_authority)
                        await rotate(files, clients, accounts, old, current, gateway)
                        await spoil(files, clients, gateway, number)
                        assert clients.failures == []

    events = Counter((line["event"], line["files"]) for line in logs if line["event"].startswith("files."))
    for group in GROUPS:
        # What ends a time of garbage is the next rotation's first step, so the last time has no end.
        assert events["files.rejected", group] == ROTATIONS
        assert events["files.recovered", group] == ROTATIONS - 1
    assert sum(clients.calls.values()) > 10 * ROTATIONS


async def rotate(
    files: Files, clients: Clients, accounts: dict[str, Account], old: Generation, new: Generation, gateway: Gateway
) -> None:
    """Old and new side by side, then the clients move, then the old is taken away, and is dead."""

    def overlap() -> None:
        accounts[new.api_id] = Account(new.api_secret)
        files.secret.swap(id=new.api_id.encode(), secret=new.api_secret.encode())
        files.tls.swap(crt=new.server.certificate, key=new.server.key, clients=old.authority.pem + new.authority.pem)
        files.config.swap(**{"facegate.yaml": files.settings(new.tenants(old.token, new.token))})

    def end() -> None:
        del accounts[old.api_id]
        files.tls.swap(clients=new.authority.pem)
        files.config.swap(**{"facegate.yaml": files.settings(new.tenants(new.token))})

    await files.in_force(overlap, *GROUPS)
    assert "problem" not in await operators_see(gateway, "readyz")
    assert await served_certificate(gateway.address) == new.server.certificate
    await clients.move(new)
    await files.in_force(end, CONFIGURATION, TLS)
    async with clients.channel(new.client) as channel:
        assert await who(channel, old.token) == "CREDENTIALS_INVALID"
        assert await who(channel, new.token) == "kyc"
    async with clients.channel(old.client) as channel:
        assert await who(channel, new.token) == "UNAVAILABLE"


async def spoil(files: Files, clients: Clients, gateway: Gateway, number: int) -> None:
    """Garbage of each kind in one file of each group, for several looks of the watcher and while every client calls."""
    garbage = GARBAGE[number % len(GARBAGE)]
    # A line of plain text could be a secret: only the vendor can tell that it is not.
    half, material = ("id", "secret")[number % 2], ("crt", "key", "clients")[number % 3]
    files.secret.swap(**{half: garbage and garbage + b"\nx"})
    files.tls.swap(**{material: garbage})
    files.config.swap(**{"facegate.yaml": garbage})
    before = files.watcher.looks
    await eventually(lambda: files.watcher.looks >= before + 4, "garbage looked at", PATIENCE_SECONDS)
    bad = {CONFIGURATION: files.config["facegate.yaml"], SECRET: files.secret[half], TLS: files.tls[material]}
    expected = {f'facegate_files_rejected{{files="{group}",file="{file}"}} 1' for group, file in bad.items()}
    async with asyncio.timeout(PATIENCE_SECONDS):
        # The page of metrics is made once a second.
        while await rejected_files(gateway) != expected:
            await asyncio.sleep(0.1)
    problems = (await operators_see(gateway, "readyz")).splitlines()[1:]
    assert len(problems) == len(bad)
    for group, file in bad.items():
        assert any(problem.startswith(f"problem: {group}: {file} ") for problem in problems)
    await clients.all_called()


async def rejected_files(gateway: Gateway) -> set[str]:
    """The series of files that are rejected now."""
    metrics = (await operators_see(gateway, "metrics")).splitlines()
    return {line for line in metrics if line.startswith("facegate_files_rejected{") and line.endswith(" 1")}
