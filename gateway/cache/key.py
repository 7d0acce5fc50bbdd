"""The name under which answers to searches of one image are kept.

A keyed hash of the image, under keys that bind all the rest: tenant, face set, the upstream's address and the epochs in
force. So tenants never meet, a purge makes every old name unreachable, the same bytes have the same name however they
were sent, and nobody without the key file can compute one. The only place that hashes an image.

The hash is a universal one under a pseudo-random function (Carter and Wegman 1979; Shoup 1996): GHASH, as GMAC gives it
(NIST SP 800-38D), then keyed BLAKE3 of those 16 bytes. Two images of at most 2^19 blocks collide with a chance below
2^-109 (blocks / 2^128) for whoever does not know the keys. GMAC asks for a new nonce each time because a forger sees
its tags; here none is ever seen, only the function's output, so that a constant nonce costs nothing but a constant.
What callers can see is whether two images share a name, and by that they learn nothing until two collide: each pair of
images that they send is one more try at the chance above.
Why not BLAKE3 of the whole image: ADR 0009.
"""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.cache.epochs import Epochs, EpochView, Scope
from gateway.cache.keys import CacheKeys, KeyRing

_NONCE = bytes(12)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Realm:
    """All that a name binds beside the image, while it is in force: a purge or a new key file makes another.

    Holds a secret, so it has no repr of its fields.
    """

    scope: Scope
    epochs: Epochs
    keys: CacheKeys
    version: int
    hash_key: bytes
    fingerprint: AESGCM


class CacheKey:
    """The name of one image's answers (32 bytes), and the realm that it was made in. Never printed: it is a hash."""

    __slots__ = ("name", "realm")

    def __init__(self, name: bytes, realm: Realm) -> None:
        self.name = name
        self.realm = realm

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheKey) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return "CacheKey(…)"


class Keymaker:
    """Makes names; remembers the derived hash key of every realm in force."""

    def __init__(self, ring: KeyRing, epochs: EpochView, base_url: str) -> None:
        self._ring = ring
        self._epochs = epochs
        self._base_url = base_url
        self._realms: dict[tuple[str, str], Realm] = {}

    def key(self, tenant: str, face_set: str, image: bytes) -> CacheKey:
        """The key for `image` in a face set, by the upstream's name. Costs one keyed hash: 20 µs for 100 KB."""
        realm = self.realm(tenant, face_set)
        # Of nothing encrypted, only the tag over the image is left.
        return CacheKey(blake3(realm.fingerprint.encrypt(_NONCE, b"", image), key=realm.hash_key).digest(), realm)

    def realm(self, tenant: str, face_set: str) -> Realm:
        """The realm in force."""
        realm = self._realms.get((tenant, face_set))
        if realm is None or realm.version != self._epochs.version or realm.keys is not self._ring.current:
            realm = self._make(tenant, face_set, realm)
        return realm

    def _make(self, tenant: str, face_set: str, last: Realm | None) -> Realm:
        scope, keys, version = Scope(tenant, face_set), self._ring.current, self._epochs.version
        epochs = self._epochs.of(scope)
        if last is not None and last.keys is keys and last.epochs == epochs:
            hash_key, fingerprint = last.hash_key, last.fingerprint
        else:
            hash_key, image_key = keys.identity_keys(tenant, face_set, self._base_url, *epochs)
            fingerprint = AESGCM(image_key)
        realm = self._realms[tenant, face_set] = Realm(scope, epochs, keys, version, hash_key, fingerprint)
        return realm

    def in_force(self, key: CacheKey) -> bool:
        """Whether no purge and no new key file came between: what was searched for under an old key is not kept."""
        scope = key.realm.scope
        return self.realm(scope.tenant or "", scope.face_set or "").hash_key == key.realm.hash_key
