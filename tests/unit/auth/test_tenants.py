"""The registry of tenants: which identity belongs to which tenant."""

from __future__ import annotations

import hashlib

import pytest

from gateway.auth.tenants import JwtIdentity, SpiffeIdentity, TenantEntry, Tenants, TenantsInvalid, TokenIdentity
from gateway.model import Tenant

DIGEST = hashlib.sha256(b"token").digest()


def test_each_kind_of_identity_finds_its_tenant_and_says_how() -> None:
    """A principal carries its tenant and the way in which it proved itself."""
    identities = (
        TokenIdentity(DIGEST),
        JwtIdentity("https://issuer", "api"),
        SpiffeIdentity("spiffe://corp.example/api"),
    )
    tenants = Tenants([TenantEntry(Tenant("kyc"), identities)])

    found = [
        tenants.by_token_digest(DIGEST),
        tenants.by_jwt("https://issuer", "api"),
        tenants.by_spiffe_id("spiffe://corp.example/api"),
    ]

    assert [(p.tenant.id, p.method) for p in found if p is not None] == [
        ("kyc", "token"),
        ("kyc", "jwt"),
        ("kyc", "mtls"),
    ]
    assert tenants.trust_domains == {"corp.example"}


def test_an_unknown_identity_finds_nothing() -> None:
    """Issuer and subject count as a pair: the same subject of another issuer is someone else."""
    tenants = Tenants([TenantEntry(Tenant("kyc"), (JwtIdentity("https://issuer", "api"),))])

    assert tenants.by_token_digest(DIGEST) is None
    assert tenants.by_jwt("https://other", "api") is None
    assert tenants.by_jwt("https://issuer", "API") is None
    assert tenants.by_spiffe_id("spiffe://corp.example/api") is None
    assert tenants.anonymous is None


@pytest.mark.parametrize(
    "identity",
    [TokenIdentity(DIGEST), JwtIdentity("https://issuer", "api"), SpiffeIdentity("spiffe://corp.example/api")],
)
def test_an_identity_belongs_to_one_tenant(identity: TokenIdentity | JwtIdentity | SpiffeIdentity) -> None:
    """An identity listed for two tenants makes the registry invalid, and the message holds no digest."""
    with pytest.raises(TenantsInvalid, match="listed twice") as raised:
        Tenants([TenantEntry(Tenant("a"), (identity,)), TenantEntry(Tenant("b"), (identity,))])

    assert DIGEST.hex() not in str(raised.value)


def test_a_tenant_is_defined_once() -> None:
    """Two tenants of one id make the registry invalid."""
    with pytest.raises(TenantsInvalid, match="'kyc' is defined twice"):
        Tenants([TenantEntry(Tenant("kyc")), TenantEntry(Tenant("kyc"))])


def test_the_anonymous_tenant_must_be_defined() -> None:
    """The anonymous tenant is one of the registry's tenants."""
    tenants = Tenants([TenantEntry(Tenant("local"))], anonymous_tenant="local")

    assert tenants.anonymous is not None
    assert tenants.anonymous.tenant is tenants.get("local")
    assert tenants.anonymous.method == "anonymous"
    with pytest.raises(TenantsInvalid, match="'gone'"):
        Tenants([TenantEntry(Tenant("local"))], anonymous_tenant="gone")


def test_a_spiffe_id_that_no_certificate_can_match_is_refused() -> None:
    """A configured SPIFFE id is spelt as the standard says, else it would silently match nobody."""
    with pytest.raises(TenantsInvalid, match="not a SPIFFE id"):
        Tenants([TenantEntry(Tenant("kyc"), (SpiffeIdentity("spiffe://Corp.example/api"),))])
