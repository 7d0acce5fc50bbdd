"""The listener's own certificate and its clients' authorities: what is put in force, and what is not."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.watcher import FileWatcher
from tests.support.callers import SPIFFE_ID, tenant, tls_channel, tls_settings, who
from tests.support.clock import ManualClock
from tests.support.gateway import config_of, running
from tests.support.mounted import Mounted
from tests.support.pki import Authority, Credentials
from tests.support.upstream import FakeUpstream


@dataclass
class World:
    """A gateway whose TLS files are mounted, with a clock that a test moves and a watcher that looks when told to."""

    gateway: Gateway
    authority: Authority
    first: Credentials
    volume: Mounted
    watcher: FileWatcher
    clock: ManualClock

    async def swap(self, **files: bytes) -> tuple[str, ...]:
        """Puts files in place; what the watcher finds wrong with them."""
        self.volume.swap(**files)
        await self.watcher.poll()
        return self.watcher.problems()

    async def served(self) -> bytes:
        """The certificate that a new connection is shown."""
        host, _, port = self.gateway.address.rpartition(":")
        return (await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))).encode()

    async def who(self) -> str:
        """What becomes of a caller with a certificate of the first authority and a connection of its own."""
        async with tls_channel(self.gateway.address, self.authority, self.authority.workload(SPIFFE_ID)) as channel:
            return await who(channel)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    authority, clock = Authority(), ManualClock(time.time())
    first = authority.server()
    volume = Mounted(tmp_path / "tls", cert_file=first.certificate, key_file=first.key, client_ca_file=authority.pem)
    config = config_of(
        auth={"anonymous_tenant": None},
        server={"tls": {name: str(volume[name]) for name in ("cert_file", "key_file", "client_ca_file")}},
        tenants=[tenant("kyc", {"spiffe_id": SPIFFE_ID})],
    )
    # Looks at its files only when a test asks it to.
    watcher = FileWatcher(clock=clock, interval_seconds=3600, settle_seconds=0)
    async with running(config, upstream=FakeUpstream(), clock=clock, watcher=watcher) as gateway:
        yield World(gateway, authority, first, volume, watcher, clock)


@pytest.mark.parametrize(
    ("starts", "ends"), [(-7200, -3600), (3600, 7200)], ids=["it has expired", "it is of the future"]
)
async def test_a_certificate_that_is_not_valid_now_is_not_served(world: World, starts: float, ends: float) -> None:
    """A well-formed pair that every client would refuse: the last good one stays, and the file is named."""
    bad = world.authority.server(valid_from=starts, valid_for=ends)
    (problem,) = await world.swap(cert_file=bad.certificate, key_file=bad.key)
    assert str(world.volume["cert_file"]) in problem
    assert await world.served() == world.first.certificate
    assert await world.who() == "kyc"


async def test_a_certificate_that_becomes_valid_comes_into_force(world: World) -> None:
    """Without another change of the file."""
    early = world.authority.server(valid_from=600, valid_for=7200)
    assert await world.swap(cert_file=early.certificate, key_file=early.key)
    world.clock.advance(601)
    await world.watcher.poll()
    assert world.watcher.problems() == ()
    assert await world.served() == early.certificate


async def test_authorities_that_have_all_expired_lock_nobody_out(world: World) -> None:
    """One that is valid among them is enough, as old ones often stay in a bundle."""
    old = Authority("old", now=time.time() - 4000 * 86_400)
    (problem,) = await world.swap(client_ca_file=old.pem)
    assert str(world.volume["client_ca_file"]) in problem
    assert await world.who() == "kyc"
    assert await world.swap(client_ca_file=old.pem + world.authority.pem) == ()
    assert await world.who() == "kyc"


async def test_a_gateway_starts_with_an_expired_certificate(tmp_path: Path) -> None:
    """There is nothing better to serve with; the metric of its end and its callers' errors tell."""
    authority = Authority()
    expired = authority.server(valid_from=-7200, valid_for=-3600)
    config = config_of(
        auth={"anonymous_tenant": None},
        server={"tls": tls_settings(tmp_path, expired, authority.pem)},
        tenants=[tenant("kyc", {"spiffe_id": SPIFFE_ID})],
    )
    async with running(config, upstream=FakeUpstream()) as gateway:
        host, _, port = gateway.address.rpartition(":")
        served = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
    assert served.encode() == expired.certificate
