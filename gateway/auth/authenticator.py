"""Who calls: from a call's metadata and its TLS certificate to a principal.

Runs before the body is read and before any other check. Works on the credentials alone: `x-tenant-id` and the like
never get here. Every refusal is the same `CredentialsInvalid`, save that of a proven caller without a tenant.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.aio import WouldWait, at_once
from gateway.auth.jwt import LEEWAY_SECONDS, JwtVerifier, VerifiedJwt
from gateway.auth.mtls import ClientCertificate, ClientCertificates, PeerCertificate
from gateway.auth.remembered import RememberedTokens
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
        self._clock = clock
        self._generation = 0
        self._jwt = jwt or JwtVerifier((), clock=clock)
        self._certificates = ClientCertificates(clock=clock)
        self._remembered = RememberedTokens(clock=clock)
        self._trust_domains = None if trust_domain is None else frozenset({trust_domain})

    @property
    def tenants(self) -> Tenants:
        """The registry in force."""
        return self._tenants

    @property
    def generation(self) -> int:
        """A number that moves whenever tenants, issuers' keys or client authorities change; see `current`."""
        return self._generation

    @property
    def needs_peer(self) -> bool:
        """Whether `authenticate` looks at client certificates; while it does not, `peer` may be None."""
        return bool(self._trust_domains or self._tenants.trust_domains)

    def replace_tenants(self, tenants: Tenants) -> None:
        """Puts a new registry in force for every call that is authenticated from now on."""
        self._tenants = tenants
        self._remembered.registry_changed()
        self._generation += 1

    def forget_tokens(self) -> None:
        """Has every token verified again; for when an issuer's keys have changed."""
        self._remembered.keys_changed()
        self._jwt.keys_changed()
        self._generation += 1

    def trust_authorities(self, authorities: bytes) -> None:
        """Has every client certificate checked against `authorities` (PEM) as well.

        For when those of the listener have changed: open connections were verified by the former ones. Raises
        `ValueError`, and changes nothing, if there is no certificate in it.
        """
        self._certificates.trust(authorities)
        self._generation += 1

    def current(
        self, principal: Principal, since: int, authorization: Sequence[str], peer: PeerCertificate | None = None
    ) -> Principal:
        """The principal of a call that was authenticated as `principal` while `generation` was `since`.

        For the moment after a wait, as for a call's body. It raises what `authenticate` would raise now: if the token was
        removed, the JWT or the certificate has expired, the key or the authority was withdrawn, or the tenant is gone.
        The tenant of the result is the one in force. Costs a fraction of a microsecond while nothing has changed, and
        never waits: a JWT whose key is no longer there is refused.
        """
        if since == self._generation and self._clock.now() < principal.expires_at:
            return principal
        try:
            return at_once(self.authenticate(authorization, peer))
        except WouldWait:
            raise CredentialsInvalid from None

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
        certificate = None
        if peer is not None and self.needs_peer:
            certificate = self._certificate(peer)
            if token is None and certificate.spiffe_id is None:
                raise CredentialsInvalid
        elif token is None:
            return self._anonymous()
        # The one wait. What follows it sees one registry, whatever was swapped meanwhile.
        principal = await self._by_token(token) if token is not None else None
        if certificate is not None and certificate.spiffe_id is not None:
            by_certificate = self._tenants.by_spiffe_id(certificate.spiffe_id.uri)
            if token is None:
                principal = by_certificate
            elif _tenant_id(principal) != _tenant_id(by_certificate):
                raise CredentialsInvalid
        if principal is None:
            raise TenantNotAllowed
        if certificate is not None and certificate.not_after < principal.expires_at:
            return Principal(principal.tenant, principal.method, certificate.not_after)
        return principal

    def _anonymous(self) -> Principal:
        if self._tenants.anonymous is None:
            raise CredentialsInvalid
        return self._tenants.anonymous

    def _certificate(self, peer: PeerCertificate) -> ClientCertificate:
        certificate = self._certificates.read(peer)
        domains = self._trust_domains or self._tenants.trust_domains
        if certificate.spiffe_id is not None and certificate.spiffe_id.trust_domain not in domains:
            raise CredentialsInvalid
        return certificate

    async def _by_token(self, token: str) -> Principal | None:
        """The token's principal; None if it is proven and belongs to no tenant. Does not wait after the look-up."""
        digest = token_digest(token)
        known = self._look_up(digest)
        if known is not None:
            return known
        verified = self._remembered.verified(digest)
        if verified is not None:
            principal = self._by_verified(verified)
            if principal is not None:
                self._remembered.moved(digest, principal)
            return principal
        try:
            verified = await self._jwt.verify(token, was_good=self._remembered.was_good(digest))
        except CredentialsInvalid:
            self._remembered.discard(digest)
            raise
        principal = self._by_verified(verified)
        if principal is not None:
            self._remembered.put(digest, principal, verified)
        return principal

    def _by_verified(self, verified: VerifiedJwt) -> Principal | None:
        found = self._tenants.by_jwt(verified.issuer, verified.subject)
        return None if found is None else Principal(found.tenant, found.method, verified.expires_at + LEEWAY_SECONDS)


def _tenant_id(principal: Principal | None) -> str | None:
    return None if principal is None else principal.tenant.id
