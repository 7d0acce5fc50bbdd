"""A key set (RFC 7517) as bytes, turned into the keys that may verify a token.

Each key is bound to the one algorithm of its type, so a token's header cannot choose another. Knows neither where the
bytes came from nor tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

MAX_DOCUMENT_BYTES = 262_144
ALGORITHMS = ("RS256", "ES256", "EdDSA")

_MAX_KEYS = 128
_USES = (None, "sig", "jwt-svid")
"""`jwt-svid` is what SPIRE writes for the keys of its tokens, beside the ones of its certificates (`x509-svid`)."""
_RSA_BITS = range(2048, 8193)
_ALGORITHM_BY_TYPE: Mapping[tuple[object, object], str] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}


class KeySetInvalid(ValueError):
    """The document is not a key set with at least one usable key. The message is constant."""


class KeySet:
    """Public keys by key id and algorithm. Of two keys with the same pair the first counts."""

    __slots__ = ("_by_algorithm", "_by_id")

    def __init__(self, keys: list[tuple[str | None, PyJWK]]) -> None:
        by_id: dict[tuple[str, str], PyJWK] = {}
        by_algorithm: dict[str, list[PyJWK]] = {}
        for key_id, key in keys:
            by_algorithm.setdefault(key.algorithm_name, []).append(key)
            if key_id is not None:
                by_id.setdefault((key_id, key.algorithm_name), key)
        self._by_id = MappingProxyType(by_id)
        self._by_algorithm = MappingProxyType(by_algorithm)

    def __len__(self) -> int:
        """Usable keys."""
        return sum(map(len, self._by_algorithm.values()))

    def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key of an id; a token without one matches only if a single key of its algorithm is there."""
        if key_id is not None:
            return self._by_id.get((key_id, algorithm))
        keys = self._by_algorithm.get(algorithm, [])
        return keys[0] if len(keys) == 1 else None


NO_KEYS = KeySet([])


def parse_key_set(document: bytes) -> KeySet:
    """The usable public keys of a JWKS document; others in it are left out. Raises `KeySetInvalid` if none is left."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise KeySetInvalid(
            f"the key set is larger than {MAX_DOCUMENT_BYTES} bytes: leave out keys that sign no tokens"
        )
    try:
        members = orjson.loads(document)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        members = None
    if not isinstance(members, list):
        raise KeySetInvalid("not a JSON Web Key Set")
    keys = [found for member in members[:_MAX_KEYS] if (found := _usable(member)) is not None]
    if not keys:
        raise KeySetInvalid("the key set holds no usable key (RSA of 2048 bits or more, EC P-256, Ed25519)")
    return KeySet(keys)


def _usable(member: Any) -> tuple[str | None, PyJWK] | None:
    """A member's key id and key; None for what is not a public signature key of a pinned algorithm."""
    if not isinstance(member, dict):
        return None
    kind, curve = member.get("kty"), member.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return None
    algorithm = _ALGORITHM_BY_TYPE.get((kind, curve))
    key_id = member.get("kid")
    operations = member.get("key_ops")
    if (
        algorithm is None
        or not isinstance(key_id, str | None)
        # Some issuers write null for a member that they leave out.
        or member.get("alg") not in (None, algorithm)
        or member.get("use") not in _USES
        or (operations is not None and not (isinstance(operations, list) and "verify" in operations))
        or "d" in member  # whoever publishes the private half has no secret left to prove anything with
    ):
        return None
    try:
        key = PyJWK({name: value for name, value in member.items() if value is not None}, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in _RSA_BITS:
        return None
    return key_id, key
