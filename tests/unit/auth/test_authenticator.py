"""Who a call is from, for every combination of credentials, with real tokens and certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from jwt import PyJWK

from gateway.auth.authenticator import Authenticator, PeerCertificate
from gateway.auth.jwt import Issuer, JwtVerifier
from gateway.auth.key_sources import FileKeys
from gateway.auth.remembered import REMEMBER_SECONDS
from gateway.auth.tenants import (
    Identity,
    JwtIdentity,
    SpiffeIdentity,
    TenantEntry,
    Tenants,
    TokenIdentity,
)
from gateway.auth.tokens import new_token, token_digest
from gateway.errors import CredentialsInvalid, GatewayError, TenantNotAllowed
from gateway.model import Tenant
from tests.support.clock import ManualClock
from tests.support.oidc import SigningKey, key_set
from tests.support.pki import Authority

ISSUER = "https://issuer.example"
KEY = SigningKey()
KYC_TOKEN, OPS_TOKEN = new_token(), new_token()
KYC_ID, OPS_ID = "spiffe://corp.example/ns/kyc/sa/api", "spiffe://corp.example/ns/ops/sa/api"


class PausedKeys(FileKeys):
    """Keys that make a verification wait until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def find_fresh(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        self.reached.set()
        await self.go_on.wait()
        return self.find(key_id, algorithm)


class World:
    """An authenticator of two tenants, `kyc` and `ops`, each with a token, a subject and a SPIFFE id."""

    def __init__(self, *, anonymous: str | None = None, keys: FileKeys | None = None) -> None:
        self.clock = ManualClock()
        self.authority = Authority(now=self.clock.now())
        self.keys = keys or FileKeys()
        if keys is None:
            self.keys.load(key_set(KEY.jwk()))
        self.authenticator = Authenticator(
            registry(anonymous=anonymous),
            jwt=JwtVerifier([Issuer(ISSUER, "facegate", self.keys)], clock=self.clock),
            trust_domain="corp.example",
            clock=self.clock,
        )

    def jwt(self, subject: str, life: float = 600.0) -> str:
        """A good token of a subject."""
        now = self.clock.now()
        return KEY.sign({"iss": ISSUER, "aud": "facegate", "sub": subject, "exp": now + life, "iat": now})

    def peer(self, *uris: str) -> PeerCertificate:
        """A good certificate with these URIs."""
        return PeerCertificate(self.authority.workload(*uris).certificate)

    def looks_at_certificates(self) -> bool:
        """Whether certificates count."""
        return self.authenticator.needs_peer

    async def who(self, token: str | Sequence[str] | None = None, peer: PeerCertificate | None = None) -> str:
        """Tenant and method of a call, or the reason of its refusal."""
        values = () if token is None else (f"Bearer {token}",) if isinstance(token, str) else token
        try:
            principal = await self.authenticator.authenticate(values, peer)
        except GatewayError as refusal:
            return refusal.reason
        return f"{principal.tenant.id} {principal.method}"


def registry(*tenants: str, anonymous: str | None = None) -> Tenants:
    identities: dict[str, tuple[Identity, ...]] = {
        "kyc": (TokenIdentity(token_digest(KYC_TOKEN)), JwtIdentity(ISSUER, "kyc"), SpiffeIdentity(KYC_ID)),
        "ops": (TokenIdentity(token_digest(OPS_TOKEN)), JwtIdentity(ISSUER, "ops"), SpiffeIdentity(OPS_ID)),
    }
    names = tenants or ("kyc", "ops")
    return Tenants([TenantEntry(Tenant(name), identities[name]) for name in names], anonymous_tenant=anonymous)


@pytest.fixture
def world() -> World:
    return World()


async def test_each_credential_alone_names_its_tenant(world: World) -> None:
    """A static token, a JWT, a certificate."""
    assert await world.who(KYC_TOKEN) == "kyc token"
    assert await world.who(world.jwt("ops")) == "ops jwt"
    assert await world.who(peer=world.peer(KYC_ID)) == "kyc mtls"


async def test_without_credentials_a_call_is_refused(world: World) -> None:
    """Unless there is an anonymous tenant."""
    assert await world.who() == "CREDENTIALS_INVALID"
    assert await World(anonymous="kyc").who() == "kyc anonymous"


async def test_bad_credentials_are_never_anonymous() -> None:
    """The anonymous tenant is for calls without credentials, not for those with bad ones."""
    world = World(anonymous="kyc")

    assert await world.who("wrong") == "CREDENTIALS_INVALID"
    assert await world.who([""]) == "CREDENTIALS_INVALID"
    assert await world.who(peer=world.peer()) == "CREDENTIALS_INVALID"
    assert await world.who(peer=world.peer(KYC_ID, KYC_ID)) == "CREDENTIALS_INVALID"


async def test_two_tokens_are_refused_even_if_they_agree(world: World) -> None:
    """More than one value of the key is not one credential."""
    assert await world.who([f"Bearer {KYC_TOKEN}", f"Bearer {KYC_TOKEN}"]) == "CREDENTIALS_INVALID"
    assert await world.who([f"Bearer {KYC_TOKEN}, Bearer {KYC_TOKEN}"]) == "CREDENTIALS_INVALID"


async def test_a_token_and_a_certificate_must_name_the_same_tenant(world: World) -> None:
    """Each is good by itself; together they are refused unless they agree."""
    for token in (KYC_TOKEN, world.jwt("kyc")):
        assert (await world.who(token, world.peer(KYC_ID))).startswith("kyc ")
        assert await world.who(token, world.peer(OPS_ID)) == "CREDENTIALS_INVALID"


async def test_a_proven_caller_without_a_tenant_is_told_so(world: World) -> None:
    """It has credentials, so they are not the fault."""
    assert await world.who(world.jwt("stranger")) == "TENANT_NOT_ALLOWED"
    assert await world.who(peer=world.peer("spiffe://corp.example/stranger")) == "TENANT_NOT_ALLOWED"
    assert await world.who(world.jwt("stranger"), world.peer("spiffe://corp.example/x")) == "TENANT_NOT_ALLOWED"


async def test_one_credential_with_a_tenant_and_one_without_disagree(world: World) -> None:
    """A tenant and no tenant are not the same tenant."""
    assert await world.who(KYC_TOKEN, world.peer("spiffe://corp.example/stranger")) == "CREDENTIALS_INVALID"
    assert await world.who(world.jwt("stranger"), world.peer(KYC_ID)) == "CREDENTIALS_INVALID"


async def test_a_bad_credential_spoils_a_good_one(world: World) -> None:
    """A good certificate does not excuse a bad token, nor the other way round."""
    good = world.peer(KYC_ID)
    assert await world.who("wrong", good) == "CREDENTIALS_INVALID"
    assert await world.who([""], good) == "CREDENTIALS_INVALID"
    assert await world.who(KYC_TOKEN, world.peer(KYC_ID, OPS_ID)) == "CREDENTIALS_INVALID"
    assert await world.who(KYC_TOKEN, world.peer("spiffe://foreign.example/a")) == "CREDENTIALS_INVALID"


async def test_a_certificate_without_a_uri_leaves_the_word_to_the_token(world: World) -> None:
    """It identifies nobody: not enough alone, no contradiction beside a token."""
    assert await world.who(KYC_TOKEN, world.peer()) == "kyc token"
    assert await world.who(peer=world.peer()) == "CREDENTIALS_INVALID"


async def test_a_foreign_trust_domain_is_refused(world: World) -> None:
    """Its ids mean nothing here, whoever signed them."""
    assert await world.who(peer=world.peer("spiffe://foreign.example/ns/kyc/sa/api")) == "CREDENTIALS_INVALID"
    assert await world.who(peer=world.peer("spiffe://corp.example.evil/ns/kyc/sa/api")) == "CREDENTIALS_INVALID"


async def test_the_trust_domain_can_come_from_the_tenants() -> None:
    """Without a configured one, it is that of the SPIFFE ids that tenants have; without those, none."""
    world = World()
    world.authenticator = Authenticator(registry(), clock=world.clock)
    assert world.looks_at_certificates()
    assert await world.who(peer=world.peer(KYC_ID)) == "kyc mtls"
    assert await world.who(peer=world.peer("spiffe://foreign.example/a")) == "CREDENTIALS_INVALID"

    world.authenticator.replace_tenants(
        Tenants([TenantEntry(Tenant("kyc"), (TokenIdentity(token_digest(KYC_TOKEN)),))])
    )
    assert not world.looks_at_certificates()
    assert await world.who(KYC_TOKEN, world.peer("spiffe://foreign.example/a")) == "kyc token"
    assert await world.who(peer=world.peer(KYC_ID)) == "CREDENTIALS_INVALID"


async def test_a_certificate_that_expires_ends_its_connections_calls(world: World) -> None:
    """The connection stays open; the next call on it is refused, with a good token too."""
    peer = world.peer(KYC_ID)
    assert await world.who(peer=peer) == "kyc mtls"

    world.clock.advance(3601)
    assert await world.who(peer=peer) == "CREDENTIALS_INVALID"
    assert await world.who(KYC_TOKEN, peer) == "CREDENTIALS_INVALID"


async def test_a_removed_tenants_credentials_are_dead_at_once(world: World) -> None:
    """Also a JWT that was verified a moment ago: its subject belongs to no tenant any more."""
    token, peer = world.jwt("kyc"), world.peer(KYC_ID)
    assert await world.who(token) == "kyc jwt"
    assert await world.who(peer=peer) == "kyc mtls"

    world.authenticator.replace_tenants(registry("ops"))
    assert await world.who(token) == "TENANT_NOT_ALLOWED"
    assert await world.who(peer=peer) == "TENANT_NOT_ALLOWED"
    assert await world.who(KYC_TOKEN) == "CREDENTIALS_INVALID"
    assert await world.who(OPS_TOKEN) == "ops token"


async def test_a_removed_key_kills_remembered_tokens_once_told(world: World) -> None:
    """The issuer withdrew the key: tokens that it signed are verified anew, and fail."""
    token = world.jwt("kyc")
    assert await world.who(token) == "kyc jwt"
    world.keys.load(key_set(SigningKey(key_id="key-2").jwk()))

    world.authenticator.forget_tokens()
    assert await world.who(token) == "CREDENTIALS_INVALID"


async def test_a_remembered_token_is_verified_anew_after_a_minute(world: World) -> None:
    """Even if nobody told of the key's end."""
    token = world.jwt("kyc")
    assert await world.who(token) == "kyc jwt"
    world.keys.load(key_set(SigningKey(key_id="key-2").jwk()))

    assert await world.who(token) == "kyc jwt"
    world.clock.advance(REMEMBER_SECONDS + 1)
    assert await world.who(token) == "CREDENTIALS_INVALID"


async def test_a_remembered_token_dies_with_its_exp(world: World) -> None:
    """Remembering adds nothing to a token's life: exp and the leeway end it."""
    token = world.jwt("kyc", life=10)
    assert await world.who(token) == "kyc jwt"

    world.clock.advance(29)
    assert await world.who(token) == "kyc jwt"
    world.clock.advance(12)
    assert await world.who(token) == "CREDENTIALS_INVALID"


async def test_a_registry_that_changes_during_a_verification_counts() -> None:
    """A call that waits for a key while its tenant is removed does not slip through, nor is its token remembered."""
    keys = PausedKeys()
    world = World(keys=keys)
    token = world.jwt("kyc")
    call = asyncio.create_task(world.who(token))
    await keys.reached.wait()

    world.authenticator.replace_tenants(registry("ops"))
    keys.load(key_set(KEY.jwk()))
    keys.go_on.set()

    assert await call == "TENANT_NOT_ALLOWED"
    assert await world.who(token) == "TENANT_NOT_ALLOWED"


async def test_every_refusal_of_credentials_reads_the_same(world: World) -> None:
    """The text never says which check failed."""
    peers = [None, world.peer("spiffe://foreign.example/a"), world.peer(KYC_ID, OPS_ID)]
    texts = set()
    for values in (["Bearer wrong"], ["Basic a"], [f"Bearer {world.jwt('kyc', life=-100)}"], [f"Bearer {OPS_TOKEN}x"]):
        for peer in peers:
            with pytest.raises(CredentialsInvalid) as raised:
                await world.authenticator.authenticate(values, peer)
            texts.add((str(raised.value), raised.value.__cause__, raised.value.__suppress_context__))

    assert {text for text, _, _ in texts} == {CredentialsInvalid.default_message}
    with pytest.raises(TenantNotAllowed):
        await world.authenticator.authenticate([f"Bearer {world.jwt('stranger')}"], None)
