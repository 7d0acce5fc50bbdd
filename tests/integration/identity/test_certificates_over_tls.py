"""Client certificates on real TLS connections: which are a credential, which are none, and which contradict a token."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography import x509

from gateway.app import Gateway
from gateway.auth.tokens import new_token
from tests.support.callers import (
    AUDIENCE,
    ISSUER,
    SPIFFE_ID,
    WORKLOAD,
    holder_of,
    jwt_of,
    tenant,
    tls_channel,
    tls_settings,
    who,
)
from tests.support.clock import ManualClock
from tests.support.gateway import config_of, running
from tests.support.oidc import SigningKey, key_set
from tests.support.pki import Authority, Credentials
from tests.support.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

KYC_TOKEN, OPS_TOKEN = new_token(), new_token()
OPS_ID = "spiffe://corp.example/ns/ops/sa/tool"
KEY = SigningKey()


@dataclass
class World:
    """A gateway that asks for client certificates, its authority, and its clock, which starts at the real time."""

    gateway: Gateway
    authority: Authority
    clock: ManualClock

    async def who(self, client: Credentials | None, token: str | None = None) -> str:
        """What becomes of a caller with a connection of its own."""
        async with tls_channel(self.gateway.address, self.authority, client) as channel:
            return await who(channel, token)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("tls")
    (folder / "jwks.json").write_bytes(key_set(KEY.jwk()))
    authority, clock = Authority(), ManualClock(time.time())
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(folder / "jwks.json")}
    config = config_of(
        auth={"anonymous_tenant": None, "spiffe_trust_domain": "corp.example", "jwt_issuers": [issuer]},
        server={"tls": tls_settings(folder, authority.server(), authority.pem)},
        tenants=[
            tenant("kyc", {"spiffe_id": SPIFFE_ID}, WORKLOAD, holder_of(KYC_TOKEN)),
            tenant("ops", {"spiffe_id": OPS_ID}, holder_of(OPS_TOKEN)),
        ],
    )
    async with running(config, upstream=FakeUpstream(), clock=clock) as gateway:
        yield World(gateway, authority, clock)


async def test_a_certificate_is_enough(world: World) -> None:
    """Its SPIFFE id names the tenant; no token is needed."""
    assert await world.who(world.authority.workload(SPIFFE_ID)) == "kyc"
    assert await world.who(world.authority.workload(OPS_ID)) == "ops"


async def test_credentials_must_agree(world: World) -> None:
    """A certificate of one tenant with a token of another is a stolen credential, whichever it is."""
    kyc, ops = world.authority.workload(SPIFFE_ID), world.authority.workload(OPS_ID)
    unknown = world.authority.workload("spiffe://corp.example/ns/none/sa/none")
    jwt = jwt_of(KEY, world.clock.now())
    verdicts = {
        "both of kyc": await world.who(kyc, KYC_TOKEN),
        "both of kyc, by JWT": await world.who(kyc, jwt),
        "certificate of kyc, token of ops": await world.who(kyc, OPS_TOKEN),
        "certificate of ops, token of kyc": await world.who(ops, KYC_TOKEN),
        "certificate of ops, JWT of kyc": await world.who(ops, jwt),
        "certificate of nobody, token of kyc": await world.who(unknown, KYC_TOKEN),
        "certificate of kyc, JWT of nobody": await world.who(kyc, jwt_of(KEY, world.clock.now(), sub="nobody")),
        "certificate of kyc, bad token": await world.who(kyc, new_token()),
    }
    assert verdicts.pop("both of kyc") == "kyc"
    assert verdicts.pop("both of kyc, by JWT") == "kyc"
    assert set(verdicts.values()) == {"CREDENTIALS_INVALID"}, verdicts


async def test_a_certificate_without_a_uri_names_nobody(world: World) -> None:
    """It opens the connection, and the token decides."""
    client = world.authority.issue([x509.DNSName("api.kyc.svc"), x509.RFC822Name("api@corp.example")])
    assert await world.who(client, KYC_TOKEN) == "kyc"
    assert await world.who(client) == "CREDENTIALS_INVALID"


async def test_without_a_good_chain_there_is_no_connection(world: World) -> None:
    """No certificate, a foreign authority's, an expired one and one of the future do not get as far as a call."""
    clients = {
        "none": None,
        "foreign": Authority().workload(SPIFFE_ID),
        "foreign, same name": Authority("test CA").workload(SPIFFE_ID),
        "expired": world.authority.workload(SPIFFE_ID, valid_from=-7200, valid_for=-3600),
        "not yet valid": world.authority.workload(SPIFFE_ID, valid_from=3600, valid_for=7200),
    }
    verdicts = {name: await world.who(client, KYC_TOKEN) for name, client in clients.items()}
    assert set(verdicts.values()) == {"UNAVAILABLE"}, verdicts
    assert await world.who(world.authority.workload(SPIFFE_ID)) == "kyc"


HOSTILE = {
    "a foreign trust domain": SPIFFE_ID.replace("corp", "other"),
    "a longer trust domain": SPIFFE_ID.replace("corp.example", "corp.example.evil.example"),
    "a sub-domain": SPIFFE_ID.replace("corp", "a.corp"),
    "trust domain in capitals": SPIFFE_ID.replace("corp", "CORP"),
    "scheme in capitals": SPIFFE_ID.replace("spiffe", "SPIFFE"),
    "dot dot": "spiffe://corp.example/ns/ops/../kyc/sa/api",
    "dot dot to the trust domain": "spiffe://other.example/../corp.example/ns/kyc/sa/api",
    "dot": "spiffe://corp.example/ns/kyc/./sa/api",
    "encoded dots": "spiffe://corp.example/ns/ops/%2e%2e/kyc/sa/api",
    "encoded dots in capitals": "spiffe://corp.example/ns/ops/%2E%2E/kyc/sa/api",
    "an encoded letter": "spiffe://corp.example/ns/%6byc/sa/api",
    "an encoded slash": "spiffe://corp.example/ns%2fkyc/sa/api",
    "an empty segment": "spiffe://corp.example/ns//kyc/sa/api",
    "a slash at the end": f"{SPIFFE_ID}/",
    "no path": "spiffe://corp.example",
    "a port": SPIFFE_ID.replace("example", "example:443"),
    "a user": SPIFFE_ID.replace("corp", "user@corp"),
    "a query": f"{SPIFFE_ID}?x=1",
    "a fragment": f"{SPIFFE_ID}#x",
    "a newline": f"{SPIFFE_ID}\n",
    "a zero byte": f"{SPIFFE_ID}\0",
    "a space before": f" {SPIFFE_ID}",
    "another scheme": SPIFFE_ID.replace("spiffe", "https"),
    "too long": f"{SPIFFE_ID}/{'a' * 2048}",
}


@pytest.mark.parametrize("uri", HOSTILE.values(), ids=HOSTILE)
async def test_what_only_looks_like_an_id_is_refused(world: World, uri: str) -> None:
    """Of a good authority's certificate, alone and beside a good token."""
    client = world.authority.workload(uri)
    assert await world.who(client) == "CREDENTIALS_INVALID"
    assert await world.who(client, KYC_TOKEN) == "CREDENTIALS_INVALID"


@pytest.mark.parametrize("other", [SPIFFE_ID, SPIFFE_ID + "2", OPS_ID, "https://corp.example", "urn:x"])
async def test_two_uris_are_refused(world: World, other: str) -> None:
    """In either order, also the same twice, alone and beside a good token."""
    for uris in ((SPIFFE_ID, other), (other, SPIFFE_ID)):
        client = world.authority.workload(*uris)
        assert await world.who(client) == "CREDENTIALS_INVALID"
        assert await world.who(client, KYC_TOKEN) == "CREDENTIALS_INVALID"


@pytest.mark.parametrize("flags", [{"authority": True, "signs_certificates": True}, {"signs_certificates": True}])
async def test_an_authority_is_no_caller(world: World, flags: dict[str, Any]) -> None:
    """A certificate that may sign others holds names for them and identifies nobody."""
    client = world.authority.issue([x509.UniformResourceIdentifier(SPIFFE_ID)], **flags)
    assert await world.who(client) == "CREDENTIALS_INVALID"


async def test_the_path_counts_to_the_letter(world: World) -> None:
    """A well-formed id that nobody lists is proven, and has no tenant."""
    for uri in (SPIFFE_ID.replace("api", "API"), f"{SPIFFE_ID}2", SPIFFE_ID.removesuffix("/api")):
        assert await world.who(world.authority.workload(uri)) == "TENANT_NOT_ALLOWED"


async def test_a_certificate_expires_on_an_open_connection(world: World) -> None:
    """Its time is looked at on every call: the connection that it opened in time does not keep it alive."""
    short = world.authority.workload(SPIFFE_ID, valid_for=300)
    async with tls_channel(world.gateway.address, world.authority, short) as channel:
        assert await who(channel) == "kyc"
        assert await who(channel, KYC_TOKEN) == "kyc"
        world.clock.advance(301)
        assert channel.get_state() is grpc.ChannelConnectivity.READY
        assert await who(channel) == "CREDENTIALS_INVALID"
        assert await who(channel, KYC_TOKEN) == "CREDENTIALS_INVALID"


async def test_a_token_expires_on_an_open_connection(world: World) -> None:
    """One that was verified and is remembered, too."""
    client = world.authority.issue([x509.DNSName("api.kyc.svc")])
    token = jwt_of(KEY, world.clock.now(), exp=world.clock.now() + 20)
    async with tls_channel(world.gateway.address, world.authority, client) as channel:
        assert await who(channel, token) == "kyc"
        world.clock.advance(49)
        assert await who(channel, token) == "kyc"
        world.clock.advance(2)
        assert await who(channel, token) == "CREDENTIALS_INVALID"
