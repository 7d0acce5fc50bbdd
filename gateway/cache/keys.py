"""The cache's secrets: one master key of 32 bytes, and what is derived from it.

Sub-keys come by HKDF-SHA-256 (RFC 5869), one purpose each, so that none tells anything of another. Who has a dump of
the shared store, or of its traffic, but not the master can neither read an answer nor test whether a known image was
searched. Reading the key file is for `app.py`.
"""

from __future__ import annotations

import secrets
from typing import NoReturn

from blake3 import blake3
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


class CacheKeys:
    """The sub-keys of one master key. Cannot be printed, formatted, compared in part or pickled."""

    __slots__ = ("_identity", "_sealing")

    def __init__(self, master: bytes) -> None:
        """Raises `ValueError` unless `master` has 32 bytes; the message holds none of them."""
        if len(master) != KEY_BYTES:
            raise ValueError(f"the cache's key must have {KEY_BYTES} bytes, not {len(master)}")
        self._identity = _derive(master, b"facegate/cache/1/identity")
        self._sealing = _derive(master, b"facegate/cache/1/sealing")

    def identity_keys(self, *names: str | int) -> tuple[bytes, bytes]:
        """The two keys under which images are hashed, for one combination of names (tenant, face set ...)."""
        keys = _hash(self._identity, names)
        return keys[:KEY_BYTES], keys[KEY_BYTES:]

    def sealing_key(self, record: bytes) -> bytes:
        """The key that seals one record. One a record: random nonces of 96 bits are safe for 2^32 seals of a key."""
        return blake3(record, key=self._sealing).digest()

    def __repr__(self) -> str:
        return "CacheKeys(…)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("cache keys cannot be pickled or copied")


def _derive(master: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(master)


def _hash(key: bytes, names: tuple[str | int, ...]) -> bytes:
    # Each name goes in with its length, or ("a", "bc") and ("ab", "c") would be the same.
    hasher = blake3(key=key)
    for name in names:
        data = str(name).encode()
        hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.digest(2 * KEY_BYTES)


class KeyRing:
    """The keys in force, which a re-read key file replaces. Entries under the former keys are never found again."""

    __slots__ = ("current",)

    def __init__(self, master: bytes | None = None) -> None:
        """`master` None: a random key, which nobody else ever has; for a store that ends with this process."""
        self.current = CacheKeys(secrets.token_bytes(KEY_BYTES) if master is None else master)
        """The keys in force; another object after `replace`."""

    def replace(self, master: bytes) -> None:
        """Brings a new master key into force. Raises `ValueError` (and keeps the last good one) for a wrong length."""
        self.current = CacheKeys(master)
