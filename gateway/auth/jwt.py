"""JSON Web Tokens: from a string to a verified issuer and subject.

PyJWT checks form and signature; what the claims must say is checked here, by the injected clock and more strictly than
RFC 7519 asks. A key comes from the configured source of the token's issuer alone: headers that offer or point to
another key are refused, never followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import orjson
from jwt import PyJWK, PyJWS, PyJWTError

from gateway.auth.budget import WorkBudget
from gateway.auth.forged import ForgedTokens
from gateway.auth.jwks import ALGORITHMS
from gateway.auth.key_sources import KeySource
from gateway.auth.tokens import token_digest
from gateway.clock import Clock
from gateway.errors import CredentialsInvalid, GatewayOverloaded

LEEWAY_SECONDS = 30.0

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_REFUSED_HEADERS = frozenset({"b64", "crit", "jku", "jwk", "x5c", "x5u"})
# Access and ServiceAccount tokens. An issuer signs other kinds with the same keys (RFC 8725, 3.11): a logout token or a
# security event would otherwise pass for one.
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer whose tokens are accepted: the exact `iss`, the audience that they must name, and its keys."""

    issuer: str
    audience: str
    keys: KeySource


@dataclass(frozen=True, slots=True)
class VerifiedJwt:
    """What a token has proven. `expires_at` in seconds since 1970."""

    issuer: str
    subject: str
    expires_at: float


class JwtVerifier:
    """Verifies tokens of the given issuers. Every refusal is the same `CredentialsInvalid`."""

    def __init__(self, issuers: Iterable[Issuer], *, clock: Clock) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._clock = clock
        self._jws = PyJWS(algorithms=ALGORITHMS)
        self._budget = WorkBudget(clock=clock)
        self._forged = ForgedTokens(clock=clock)

    def keys_changed(self) -> None:
        """Has tokens verified again that an issuer's former keys refused."""
        self._forged.clear()

    async def verify(self, token: str, *, was_good: bool = False) -> VerifiedJwt:
        """Verifies a token of the compact form.

        The signatures of tokens that were never good share a budget of processor time. Beyond it `GatewayOverloaded` is
        raised, so that whoever makes tokens up cannot keep others from being answered. A token that `was_good` needs no
        budget.

        Waits only if its key is unknown and the issuer's source may look again. After the last wait everything happens
        in one step of the event loop, so what the caller does next sees the keys that the token was verified with.
        """
        if not self._issuers or not _COMPACT.fullmatch(token):
            raise CredentialsInvalid
        digest = token_digest(token)
        if digest in self._forged:
            raise CredentialsInvalid
        header, claims = self._read(token, None)
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or not _REFUSED_HEADERS.isdisjoint(header) or not _type_fits(header.get("typ")):
            raise CredentialsInvalid
        name = claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise CredentialsInvalid
        key = issuer.keys.find(key_id, algorithm)
        if key is None:
            # A token that could not pass anyhow, such as one that outlived its key, is not worth a fetch.
            self._check(issuer, claims)
            key = await issuer.keys.find_fresh(key_id, algorithm)
            if key is None:
                raise CredentialsInvalid
        return self._check(issuer, self._signed_claims(token, key, digest, was_good=was_good))

    def _signed_claims(self, token: str, key: PyJWK, digest: bytes, *, was_good: bool) -> Mapping[str, Any]:
        if not was_good and (wait_seconds := self._budget.wait_seconds()) > 0:
            raise GatewayOverloaded(retry_after_seconds=wait_seconds)
        started = self._clock.monotonic()
        try:
            return self._read(token, key)[1]
        except CredentialsInvalid:
            self._forged.add(digest)
            raise
        finally:
            if not was_good:
                self._budget.spend(self._clock.monotonic() - started)

    def _read(self, token: str, key: PyJWK | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Header and claims; verified if there is a key."""
        try:
            if key is None:
                read = self._jws.decode_complete(token, options={"verify_signature": False})
            else:
                read = self._jws.decode_complete(token, key, algorithms=[key.algorithm_name])
            claims = orjson.loads(read["payload"])
        except (PyJWTError, orjson.JSONDecodeError):
            raise CredentialsInvalid from None
        if not isinstance(claims, dict):
            raise CredentialsInvalid
        return read["header"], claims

    def _check(self, issuer: Issuer, claims: Mapping[str, Any]) -> VerifiedJwt:
        """Issuer, audience, times and subject of a token."""
        now = self._clock.now()
        expires_at = _seconds(claims.get("exp"))
        subject = claims.get("sub")
        if (
            claims.get("iss") != issuer.issuer
            or not _audience_fits(claims.get("aud"), issuer.audience)
            or not isinstance(subject, str)
            or not subject
            or expires_at <= now - LEEWAY_SECONDS
            or any(_seconds(claims[name]) > now + LEEWAY_SECONDS for name in ("nbf", "iat") if name in claims)
        ):
            raise CredentialsInvalid
        return VerifiedJwt(issuer.issuer, subject, expires_at)


def _seconds(value: Any) -> float:
    """A NumericDate. Text, booleans and infinities are not one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise CredentialsInvalid
    return float(value)


def _audience_fits(value: Any, audience: str) -> bool:
    """Whether a token is for this gateway alone.

    RFC 7519 would accept a list that names others too. But then each of them holds a token that works here, and could
    call in the workload's name. Kubernetes writes a list of one.
    """
    return value in (audience, [audience])


def _type_fits(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() in _TYPES)
