"""Three replicas, each a process of its own, on one store: the limits hold exactly."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.quota.link import link_to
from gateway.quota.valkey import ValkeyQuotaStore
from tests.support.connections import Connections
from tests.support.quota import PATIENCE, fresh_prefix, tenant
from tests.support.valkey import running_cluster, running_store

ROOT = Path(__file__).resolve().parents[3]
# Each seed starts three processes and takes some seconds: 20 with FACEGATE_ALL_SEEDS=1, a few otherwise.
ALL = os.environ.get("FACEGATE_ALL_SEEDS") == "1"
SEEDS, CLUSTER_SEEDS = (range(20), range(20)) if ALL else (range(2), range(1))
DAY_LIMIT, CONCURRENCY, CLIENTS, REPLICAS = 1000, 50, 24, 3


class CountingVendor:
    """Counts how many searches are in flight, over all replicas."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections = Connections(self._serve)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connections.accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        writer.write(b"1")
        await reader.read()
        self.now -= 1
        writer.write_eof()

    async def close(self) -> None:
        assert self._server is not None
        await self._connections.end(self._server)
        await self._server.wait_closed()


@pytest.fixture
async def vendor() -> AsyncIterator[CountingVendor]:
    counting = CountingVendor()
    await counting.start()
    yield counting
    await counting.close()


@pytest.fixture(scope="module")
def valkey_url() -> Iterator[str]:
    with running_store() as store:
        yield store.url


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    with running_cluster() as cluster:
        yield cluster.url


async def start_replica(order: dict[str, object]) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.quota_replica",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    await process.stdin.drain()
    return process


async def tally_of(process: asyncio.subprocess.Process) -> dict[str, int]:
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    tally: dict[str, int] = json.loads(output)
    return tally


async def exactly_the_limit(url: str, seed: int, vendor: CountingVendor) -> None:
    prefix = fresh_prefix() + str(os.getpid())
    order = {
        "url": url,
        "prefix": prefix,
        "concurrency": CONCURRENCY,
        "day": DAY_LIMIT,
        "clients": CLIENTS,
        "vendor_port": vendor.port,
    }
    replicas = [await start_replica({**order, "seed": seed * REPLICAS + index}) for index in range(REPLICAS)]
    tallies = await asyncio.gather(*(tally_of(one) for one in replicas))
    total = {name: sum(tally[name] for tally in tallies) for name in tallies[0]}
    assert total["degraded"] == 0, "the store was out: this run shows nothing"
    assert total["admitted"] == DAY_LIMIT
    assert vendor.most <= CONCURRENCY
    assert total["waited"] > 0, "concurrency never refused: this run shows nothing"
    who = tenant(concurrency=CONCURRENCY, day=DAY_LIMIT)
    store = ValkeyQuotaStore(link_to(url, prefix=prefix))
    snapshot = await store.look(who.id, who.limits, PATIENCE)
    await store.aclose()
    assert snapshot.slots == 0
    assert [count.used for count in snapshot.counts.values()] == [DAY_LIMIT]


@pytest.mark.parametrize("seed", SEEDS)
async def test_replicas_admit_exactly_the_limit(valkey_url: str, vendor: CountingVendor, seed: int) -> None:
    """1,000 a day and 50 at once over three processes: exactly 1,000, and never more than 50 at the vendor."""
    await exactly_the_limit(valkey_url, seed, vendor)


@pytest.mark.parametrize("seed", CLUSTER_SEEDS)
async def test_replicas_on_a_cluster_admit_exactly_the_limit(
    cluster_url: str, vendor: CountingVendor, seed: int
) -> None:
    """The same on three masters."""
    await exactly_the_limit(cluster_url, seed, vendor)
