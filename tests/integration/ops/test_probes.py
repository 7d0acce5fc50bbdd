"""What `/livez` and `/readyz` say of a real gateway: while everything around it is down, and on its way out."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from gateway.app import Gateway
from tests.support.callers import AUDIENCE, ISSUER
from tests.support.gateway import config_of, running
from tests.support.replicas import key_file
from tests.support.upstream import FakeUpstream
from tests.support.valkey import free_port


async def probe(gateway: Gateway, path: str) -> tuple[int, set[str]]:
    """A probe's status and its lines."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{gateway.ops_address}{path}") as answer,
    ):
        return answer.status, set((await answer.text()).splitlines())


@pytest.mark.timed
async def test_it_starts_with_everything_around_it_down_and_says_so(tmp_path: Path) -> None:
    """Live within 3 s and ready, since hits and shares are still served; each cause is named."""
    down = f"127.0.0.1:{free_port()}"
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": f"http://{down}/keys"}
    stores = {"quota": f"valkey://{down}/0", "cache": f"valkey://{down}/0", "key_file": key_file(tmp_path)}
    config = config_of(stores=stores, auth={"jwt_issuers": [issuer]}, telemetry={"otlp_endpoint": f"http://{down}"})
    began = time.monotonic()
    async with running(config, upstream=FakeUpstream()) as gateway:
        assert await probe(gateway, "/livez") == (200, {"live"})
        assert time.monotonic() - began < 3
        wanted = {"quota store", "cache store", "collector", ISSUER}
        async with asyncio.timeout(20):
            while wanted:
                status, lines = await probe(gateway, "/readyz")
                assert status == 200
                assert "ready" in lines
                wanted = {cause for cause in wanted if not any(cause in line for line in lines)}
                await asyncio.sleep(0.05)


async def test_a_name_is_allowed_by_its_setting() -> None:
    """Through an Ingress, say; the name of any page on the web reads nothing."""
    async with running(config_of(ops={"allowed_hosts": ["*.corp.example"]}), upstream=FakeUpstream()) as gateway:
        found = {}
        async with aiohttp.ClientSession() as session:
            for host in ("faces.corp.example", "evil.example"):
                url = f"http://{gateway.ops_address}/status.json"
                async with session.get(url, headers={"Host": host}) as answer:
                    found[host] = answer.status
    assert found == {"faces.corp.example": 200, "evil.example": 421}


async def test_on_the_way_out_it_lives_and_is_not_ready() -> None:
    """Whoever balances load looks elsewhere; nobody restarts it."""
    async with running(config_of(server={"lame_duck_seconds": 60}), upstream=FakeUpstream()) as gateway:
        assert await probe(gateway, "/readyz") == (200, {"ready"})
        closing = asyncio.create_task(gateway.wait_closed())
        gateway.begin_drain()
        async with asyncio.timeout(30):
            while (await probe(gateway, "/readyz"))[0] == 200:
                await asyncio.sleep(0.01)
        assert await probe(gateway, "/readyz") == (503, {"not ready"})
        assert await probe(gateway, "/livez") == (200, {"live"})
        closing.cancel()
        await asyncio.wait([closing])
