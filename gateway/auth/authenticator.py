"""Who calls: from a call's metadata and its TLS certificate to a principal.

Runs before the body is read and before any other check. Works on the credentials alone: `x-tenant-id` and the like
never get here. Every refusal is the same `CredentialsInvalid`, save that of a proven caller without a tenant.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.auth.jwt import JwtVerifier
from gateway.auth.mtls import ClientCertificates, PeerCertificate
from gateway.auth.remembered import RememberedTokens
from gateway.auth.spiffe import SpiffeId
from gateway.auth.tenants import Tenants
from gateway.auth.tokens import bearer_token, token_digest
from gateway.clock import Clock, SystemClock
from gateway.errors import CredentialsInvalid, TenantNotAllowed
from gateway.model import Principal

__all__ = ["Authenticator", "PeerCertificate"]

_SYSTEM_CLOCK = SystemClock()


class Authenticator:
    """Turns credentials into a `Principal`.

    Without `jwt` no JWT is accepted. `trust_domain` is the one that client certificates must belong to; None means those
    of the tenants' SPIFFE ids.
    """

    def __init__(
        self,
        tenants: Tenants,
        *,
        jwt: JwtVerifier | None = None,
        trust_domain: str | None = None,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        self._tenants = tenants
        self._jwt = jwt or JwtVerifier((), clock=clock)
        self._certificates = ClientCertificates(clock=clock)
        self._remembered = RememberedTokens(clock=clock)
        self._trust_domains = None if trust_domain is None else frozenset({trust_domain})

    @property
    def tenants(self) -> Tenants:
        """The registry in force."""
        return self._tenants

    @property
    def needs_peer(self) -> bool:
        """Whether `authenticate` looks at client certificates; while it does not, `peer` may be None."""
        return bool(self._trust_domains or self._tenants.trust_domains)

    def replace_tenants(self, tenants: Tenants) -> None:
        """Puts a new registry in force for every call that is authenticated from now on."""
        self._tenants = tenants
        self.forget_tokens()

    def forget_tokens(self) -> None:
        """Has every token verified anew; for when an issuer's keys have changed."""
        self._remembered.clear()

    def known(self, authorization: Sequence[str]) -> Principal | None:
        """The principal of a call without a certificate, if its token is static or was verified a moment ago.

        None says that only `authenticate` can tell. Raises `CredentialsInvalid` for what is not a bearer token.
        """
        token = bearer_token(authorization)
        return None if token is None else self._look_up(token_digest(token))

    def _look_up(self, digest: bytes) -> Principal | None:
        return self._tenants.by_token_digest(digest) or self._remembered.get(digest)

    async def authenticate(self, authorization: Sequence[str], peer: PeerCertificate | None) -> Principal:
        """The principal of a call.

        `authorization` holds all values of that metadata key, `peer` the certificate if the caller showed one. Raises
        `CredentialsInvalid`, or `TenantNotAllowed` for a proven caller that belongs to no tenant.
        """
        token = bearer_token(authorization)
        if peer is not None and self.needs_peer:
            spiffe_id = self._spiffe_id(peer)
            if token is None and spiffe_id is None:
                raise CredentialsInvalid
        elif token is None:
            return self._anonymous()
        else:
            spiffe_id = None
        # The one wait. What follows it sees one registry, whatever was swapped meanwhile.
        by_token = await self._by_token(token) if token is not None else None
        if spiffe_id is None:
            principal = by_token
        else:
            principal = self._tenants.by_spiffe_id(spiffe_id.uri)
            if token is not None:
                if _tenant_id(by_token) != _tenant_id(principal):
                    raise CredentialsInvalid
                principal = by_token
        if principal is None:
            raise TenantNotAllowed
        return principal

    def _anonymous(self) -> Principal:
        if self._tenants.anonymous is None:
            raise CredentialsInvalid
        return self._tenants.anonymous

    def _spiffe_id(self, peer: PeerCertificate) -> SpiffeId | None:
        spiffe_id = self._certificates.spiffe_id(peer)
        if spiffe_id is not None and spiffe_id.trust_domain not in (self._trust_domains or self._tenants.trust_domains):
            raise CredentialsInvalid
        return spiffe_id

    async def _by_token(self, token: str) -> Principal | None:
        """The token's principal; None if it is proven and belongs to no tenant. Does not wait after the look-up."""
        digest = token_digest(token)
        known = self._look_up(digest)
        if known is not None:
            return known
        verified = await self._jwt.verify(token)
        principal = self._tenants.by_jwt(verified.issuer, verified.subject)
        if principal is not None:
            self._remembered.put(digest, principal, verified.expires_at)
        return principal


def _tenant_id(principal: Principal | None) -> str | None:
    return None if principal is None else principal.tenant.id
