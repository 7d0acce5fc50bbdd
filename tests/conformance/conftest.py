"""The quota stores that every test of this folder runs over."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.quota import Harness, memory_harness, valkey_harness
from tests.support.tools import require_tool
from tests.support.valkey import redis_binary, running_cluster, running_store

KINDS = ["memory", "valkey", "redis7", "cluster"]
SHARED = KINDS[1:]


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with running_store() as valkey, running_cluster() as cluster:
        found = {"memory": "", "valkey": valkey.url, "cluster": cluster.url}
        binary = redis_binary()
        if binary is None:
            yield found
            return
        with running_store(binary=binary) as redis7:
            yield {**found, "redis7": redis7.url}


@contextlib.asynccontextmanager
async def opened(kind: str, urls: dict[str, str]) -> AsyncIterator[Harness]:
    if kind not in urls:
        require_tool("redis-server", "apt-get install redis-server")
    async with memory_harness() if kind == "memory" else valkey_harness(kind, urls[kind]) as harness:
        yield harness


@pytest.fixture(params=KINDS)
async def quota(request: pytest.FixtureRequest, urls: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(request.param, urls) as harness:
        yield harness


@pytest.fixture(params=SHARED)
async def shared(request: pytest.FixtureRequest, urls: dict[str, str]) -> AsyncIterator[Harness]:
    """Without the memory store: in one process no reply is lost, no question is late, and a slot ends with its process."""
    async with opened(request.param, urls) as harness:
        yield harness
