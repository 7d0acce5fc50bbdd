"""A call's principal is looked up again after a wait: what has ended or moved meanwhile counts."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import pytest

from gateway.auth.authenticator import Authenticator, PeerCertificate
from gateway.auth.jwt import LEEWAY_SECONDS, Issuer, JwtVerifier
from gateway.auth.key_sources import FileKeys
from gateway.auth.tenants import Identity, JwtIdentity, SpiffeIdentity, TenantEntry, Tenants, TokenIdentity
from gateway.auth.tokens import new_token, token_digest
from gateway.errors import GatewayError
from gateway.model import Principal, Role, Tenant
from tests.support.clock import ManualClock
from tests.support.oidc import SigningKey, key_set
from tests.support.pki import Authority

ISSUER = "https://issuer.example"
KEY = SigningKey()
TOKEN = new_token()
SPIFFE_ID = "spiffe://corp.example/ns/kyc/sa/api"
KYC = Tenant("kyc", face_sets={"employees": "employees-prod"})
IDENTITIES: tuple[Identity, ...] = (
    TokenIdentity(token_digest(TOKEN)),
    JwtIdentity(ISSUER, "kyc"),
    SpiffeIdentity(SPIFFE_ID),
)


@dataclass(frozen=True)
class Seen:
    """A call that was authenticated, whose body is still on its way."""

    principal: Principal
    since: int
    authorization: Sequence[str]
    peer: PeerCertificate | None


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.authority = Authority(now=self.clock.now())
        self.keys = FileKeys()
        self.keys.load(key_set(KEY.jwk()))
        self.authenticator = Authenticator(
            Tenants([TenantEntry(KYC, IDENTITIES)]),
            jwt=JwtVerifier([Issuer(ISSUER, "facegate", self.keys)], clock=self.clock),
            clock=self.clock,
        )
        self.certificate = PeerCertificate(self.authority.workload(SPIFFE_ID, valid_for=3600).certificate)
        now = self.clock.now()
        self.jwt = KEY.sign({"iss": ISSUER, "aud": "facegate", "sub": "kyc", "exp": now + 600})

    async def seen(self, token: str | None, peer: PeerCertificate | None = None) -> Seen:
        authorization = () if token is None else (f"Bearer {token}",)
        principal = await self.authenticator.authenticate(authorization, peer)
        return Seen(principal, self.authenticator.generation, authorization, peer)

    async def all_seen(self) -> list[Seen]:
        """A call by each kind of credential."""
        return [await self.seen(TOKEN), await self.seen(self.jwt), await self.seen(None, self.certificate)]

    def now(self, seen: Seen) -> Principal:
        return self.authenticator.current(seen.principal, seen.since, seen.authorization, seen.peer)

    def verdict(self, seen: Seen) -> str:
        """The tenant of a call, or the reason of its refusal."""
        try:
            return self.now(seen).tenant.id
        except GatewayError as refusal:
            return refusal.reason

    def replace(self, *entries: TenantEntry) -> None:
        self.authenticator.replace_tenants(Tenants(entries))


@pytest.fixture
def world() -> World:
    return World()


async def test_the_principal_is_the_same_while_nothing_changes(world: World) -> None:
    """Each kind of credential."""
    for seen in await world.all_seen():
        assert world.now(seen) is seen.principal


async def test_looking_again_costs_next_to_nothing_while_nothing_changes(world: World) -> None:
    """It is on the way of every call; the bound is wide enough for a busy machine."""
    seen = (await world.all_seen())[1]
    look: Callable[[], object] = lambda: world.now(seen)  # noqa: E731 - what is timed
    assert min(timeit.repeat(look, number=2000, repeat=20)) / 2000 < 5e-6


async def test_a_removed_credential_is_refused(world: World) -> None:
    """The tenant is still there; a JWT and a certificate are proven, but belong to nobody any more."""
    token, jwt, certificate = await world.all_seen()
    world.replace(TenantEntry(KYC, (SpiffeIdentity("spiffe://corp.example/other"),)))
    assert world.verdict(token) == "CREDENTIALS_INVALID"
    assert world.verdict(jwt) == "TENANT_NOT_ALLOWED"
    assert world.verdict(certificate) == "TENANT_NOT_ALLOWED"


async def test_a_removed_tenant_is_refused(world: World) -> None:
    """As it would be by a new call."""
    token, jwt, _ = await world.all_seen()
    world.replace()
    assert (world.verdict(token), world.verdict(jwt)) == ("CREDENTIALS_INVALID", "TENANT_NOT_ALLOWED")


async def test_a_changed_tenant_is_the_new_one(world: World) -> None:
    """Its role, face sets and limits are those in force, also if the credential now belongs to another tenant."""
    calls = await world.all_seen()
    operator = Tenant("kyc", Role.OPERATOR)
    world.replace(TenantEntry(operator, IDENTITIES))
    assert all(world.now(seen).tenant is operator for seen in calls)
    world.replace(TenantEntry(Tenant("other"), IDENTITIES))
    assert [world.verdict(seen) for seen in calls] == ["other"] * 3


async def test_a_jwt_that_expired_meanwhile_is_refused_after_its_leeway(world: World) -> None:
    """At the same moment as a new call would be."""
    seen = await world.seen(world.jwt)
    assert seen.principal.expires_at == world.clock.now() + 600 + LEEWAY_SECONDS
    world.clock.advance(600 + LEEWAY_SECONDS - 1)
    assert world.verdict(seen) == "kyc"
    world.clock.advance(1)
    assert world.verdict(seen) == "CREDENTIALS_INVALID"


async def test_a_static_token_does_not_expire(world: World) -> None:
    """It ends with its digest in the configuration."""
    seen = await world.seen(TOKEN)
    assert seen.principal.expires_at == inf


async def test_a_withdrawn_key_refuses_the_jwt(world: World) -> None:
    """And a key that stays lets it through."""
    seen = await world.seen(world.jwt)
    world.keys.load(key_set(KEY.jwk(), SigningKey(key_id="key-2").jwk()))
    world.authenticator.forget_tokens()
    assert world.verdict(seen) == "kyc"
    world.keys.load(key_set(SigningKey(key_id="key-2").jwk()))
    world.authenticator.forget_tokens()
    assert world.verdict(seen) == "CREDENTIALS_INVALID"


async def test_a_certificate_that_ended_meanwhile_is_refused(world: World) -> None:
    """Whether it names the caller or only opened the connection."""
    nameless = PeerCertificate(world.authority.workload(valid_for=60).certificate)
    by_certificate, by_both = await world.seen(None, world.certificate), await world.seen(TOKEN, nameless)
    world.clock.advance(61)
    assert (world.verdict(by_certificate), world.verdict(by_both)) == ("kyc", "CREDENTIALS_INVALID")
    world.clock.advance(3600)
    assert world.verdict(by_certificate) == "CREDENTIALS_INVALID"


async def test_a_withdrawn_authority_refuses_the_certificate(world: World) -> None:
    """Its connection is still open; one more authority next to it changes nothing."""
    seen, token = await world.seen(None, world.certificate), await world.seen(TOKEN)
    other = Authority("other CA", now=world.clock.now())
    world.authenticator.trust_authorities(world.authority.pem + other.pem)
    assert world.verdict(seen) == "kyc"
    world.authenticator.trust_authorities(other.pem)
    assert (world.verdict(seen), world.verdict(token)) == ("CREDENTIALS_INVALID", "kyc")


async def test_authorities_that_cannot_be_read_change_nothing(world: World) -> None:
    """A cut-off file must not lock anybody out."""
    seen = await world.seen(None, world.certificate)
    world.authenticator.trust_authorities(world.authority.pem)
    with pytest.raises(ValueError, match="PEM"):
        world.authenticator.trust_authorities(b"nothing")
    assert world.verdict(seen) == "kyc"
