"""A store of its own for each test, and gates behind a proxy to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.flaky_proxy import flaky_proxy
from tests.support.quota import fresh_prefix
from tests.support.quota_outages import Setup
from tests.support.valkey import StoreServer, running_store


@pytest.fixture
def server() -> Iterator[StoreServer]:
    with running_store() as store:
        yield store


@pytest.fixture
async def setup(server: StoreServer) -> AsyncIterator[Setup]:
    async with flaky_proxy(server.port) as proxy:
        made = Setup(server, proxy, fresh_prefix())
        yield made
        proxy.blackhole = proxy.refuse = False
        proxy.answer = proxy.drop_reply = None
        for gate in made.gates:
            await gate.aclose()
