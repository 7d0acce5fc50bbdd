"""The registry of tenants: which identity belongs to which tenant.

Built from the configuration, never changed afterwards: a re-read makes a new registry, and the authenticator swaps one
for the other in a single assignment. Knows identities as values; how a caller proves one is not its business.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.auth.spiffe import parse_spiffe_id
from gateway.model import Principal, Tenant


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Whoever holds the static token with this SHA-256 (32 bytes)."""

    sha256: bytes


@dataclass(frozen=True, slots=True)
class JwtIdentity:
    """The subject of an issuer's JWTs."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class SpiffeIdentity:
    """The workload with this SPIFFE id."""

    spiffe_id: str


Identity = TokenIdentity | JwtIdentity | SpiffeIdentity

_METHODS: Mapping[type[Identity], str] = {TokenIdentity: "token", JwtIdentity: "jwt", SpiffeIdentity: "mtls"}


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """A tenant and the identities that belong to it."""

    tenant: Tenant
    identities: tuple[Identity, ...] = ()


class TenantsInvalid(ValueError):
    """The entries contradict each other. The message names tenants and kinds of identity, never a token's digest."""


class Tenants:
    """Every tenant of the gateway, by id and by identity.

    `anonymous_tenant` is the id of the tenant of calls without credentials; None refuses such calls. Raises
    `TenantsInvalid` if an id or an identity occurs twice, or if there is no tenant with the anonymous one's id.
    """

    __slots__ = ("_by_digest", "_by_id", "_by_jwt", "_by_spiffe_id", "anonymous", "trust_domains")

    def __init__(self, entries: Iterable[TenantEntry], *, anonymous_tenant: str | None = None) -> None:
        by_id: dict[str, Tenant] = {}
        by_digest: dict[bytes, tuple[bytes, Principal]] = {}
        by_jwt: dict[tuple[str, str], Principal] = {}
        by_spiffe_id: dict[str, Principal] = {}
        for entry in entries:
            tenant = entry.tenant
            if tenant.id in by_id:
                raise TenantsInvalid(f"tenant {tenant.id!r} is defined twice")
            by_id[tenant.id] = tenant
            # One for all identities of a kind: tens of thousands of objects would slow the garbage collector down.
            kinds = {type(identity) for identity in entry.identities}
            principals = {kind: Principal(tenant, _METHODS[kind]) for kind in kinds}
            for identity in entry.identities:
                match identity:
                    case TokenIdentity(sha256):
                        _add(by_digest, sha256, (sha256, principals[TokenIdentity]), tenant, "token_sha256")
                    case JwtIdentity(issuer, subject):
                        _add(by_jwt, (issuer, subject), principals[JwtIdentity], tenant, "JWT issuer and subject")
                    case SpiffeIdentity(spiffe_id):
                        if parse_spiffe_id(spiffe_id) is None:
                            raise TenantsInvalid(f"a spiffe_id of tenant {tenant.id!r} is not a SPIFFE id")
                        _add(by_spiffe_id, spiffe_id, principals[SpiffeIdentity], tenant, "spiffe_id")
        self._by_id: Mapping[str, Tenant] = MappingProxyType(by_id)
        self._by_digest = by_digest
        self._by_jwt = by_jwt
        self._by_spiffe_id = by_spiffe_id
        self.trust_domains = frozenset(uri.split("/")[2] for uri in by_spiffe_id)
        self.anonymous: Principal | None = None
        if anonymous_tenant is not None:
            if anonymous_tenant not in by_id:
                raise TenantsInvalid(f"the anonymous tenant {anonymous_tenant!r} is not defined")
            self.anonymous = Principal(by_id[anonymous_tenant], "anonymous")

    def __len__(self) -> int:
        """Tenants in the registry."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[Tenant]:
        """The tenants in the order of the configuration."""
        return iter(self._by_id.values())

    def get(self, tenant_id: str) -> Tenant | None:
        """The tenant of an id."""
        return self._by_id.get(tenant_id)

    def by_token_digest(self, digest: bytes) -> Principal | None:
        """The principal of a static token, by the token's SHA-256.

        The time of a look-up in a dict depends on the digest, not on the token: whoever measures it learns at most bits
        of SHA-256 values, from which a token of 256 random bits cannot be approached step by step, since a token that
        is nearly right has an unrelated digest. The comparison that decides is constant-time all the same.
        """
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        return found[1]

    def by_jwt(self, issuer: str, subject: str) -> Principal | None:
        """The principal of a verified JWT."""
        return self._by_jwt.get((issuer, subject))

    def by_spiffe_id(self, spiffe_id: str) -> Principal | None:
        """The principal of a verified SPIFFE id, compared byte by byte."""
        return self._by_spiffe_id.get(spiffe_id)


def _add(index: dict, key: object, value: object, tenant: Tenant, kind: str) -> None:  # type: ignore[type-arg]
    if key in index:
        raise TenantsInvalid(f"a {kind} of tenant {tenant.id!r} is listed twice: an identity belongs to one tenant")
    index[key] = value
