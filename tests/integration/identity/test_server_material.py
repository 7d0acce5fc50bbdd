"""The listener's own certificate and its clients' authorities: what is put in force, and what is not."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.app import Gateway, StartError
from gateway.watcher import FileWatcher
from tests.support.callers import SPIFFE_ID, tenant, tls_channel, tls_settings, who
from tests.support.clock import ManualClock
from tests.support.gateway import config_of, running
from tests.support.metrics import metrics_page, values
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


def old_mac(content: bytes) -> bytes:
    """Lines that end in CR alone: Python reads them, gRPC does not."""
    return content.replace(b"\n", b"\r")


UNUSABLE: dict[str, tuple[str, Any, Any, str]] = {
    "a BOM before the chain": ("cert_file", None, lambda pem: b"\xef\xbb\xbf" + pem, "byte order mark"),
    "a BOM before the key": ("key_file", None, lambda pem: b"\xef\xbb\xbf" + pem, "byte order mark"),
    "a BOM before the authorities": ("client_ca_file", None, lambda pem: b"\xef\xbb\xbf" + pem, "byte order mark"),
    "two certificates in one line": ("cert_file", None, lambda pem: pem.rstrip() + pem, "begin a line"),
    "lines that end in CR": ("cert_file", None, old_mac, "refused by gRPC"),
    "authorities whose lines end in CR": ("client_ca_file", None, old_mac, "refused by gRPC"),
    "Ed25519": ("cert_file", ed25519.Ed25519PrivateKey.generate(), None, "Ed25519.*P-256"),
    "P-521": ("cert_file", ec.generate_private_key(ec.SECP521R1()), None, "P-521.*P-256"),
    "secp256k1": ("cert_file", ec.generate_private_key(ec.SECP256K1()), None, "secp256k1.*P-256"),
}


def material(authority: Authority, kind: str) -> tuple[str, str, dict[str, bytes]]:
    """The file to blame, what has to be said of it, and all files, with a certificate that lasts two hours."""
    blamed, key, change, said = UNUSABLE[kind]
    good = authority.server(valid_for=7200, key=key)
    files = {"cert_file": good.certificate, "key_file": good.key, "client_ca_file": authority.pem}
    if change is not None:
        files[blamed] = change(files[blamed])
    return blamed, said, files


async def served_until(gateway: Gateway) -> dict[str, float]:
    found = values(await metrics_page(gateway.ops_address))
    return {name: value for name, value in found.items() if "certificate_expiry" in name}


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_what_grpc_or_its_clients_cannot_use_is_not_put_in_force(world: World, kind: str) -> None:
    """Python's libraries take all of it. gRPC would go on with the old in silence, or every handshake would fail."""
    before = await served_until(world.gateway)
    assert len(before) == 2
    blamed, said, files = material(world.authority, kind)
    (problem,) = await world.swap(**files)
    assert re.search(said, problem), problem
    if "refused by gRPC" not in said:
        assert str(world.volume[blamed]) in problem
    assert await world.served() == world.first.certificate
    assert await served_until(world.gateway) == before, "what is served, not what lies in the files"
    assert await world.who() == "kyc"


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)])
async def test_what_clients_can_use_is_put_in_force(world: World, key: Any) -> None:
    """The two kinds of keys that the others are told to use, besides P-256; the metric follows."""
    before = await served_until(world.gateway)
    second = world.authority.server(valid_for=7200, key=key)
    assert await world.swap(cert_file=second.certificate, key_file=second.key) == ()
    assert await world.who() == "kyc"
    assert await served_until(world.gateway) != before


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_a_start_with_unusable_material_says_so(tmp_path: Path, kind: str) -> None:
    """Never that the address is in use."""
    authority = Authority()
    _, said, files = material(authority, kind)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    config = config_of(server={"tls": {name: str(tmp_path / name) for name in files}})
    with pytest.raises(StartError, match=said) as failed:
        async with running(config, upstream=FakeUpstream()):
            pass
    assert "in use" not in str(failed.value)
