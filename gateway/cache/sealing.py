"""Seals records that leave the process: AES-256-GCM, the whole key in the store as associated data.

A value that was altered, cut, moved to another key or made without the key file does not open. What it cannot see is a
value put back after its time: for that, the time of issue is inside, and the time at which the record dies beside it.
Knows nothing of what a record means, nor of any store's protocol.
"""

from __future__ import annotations

import os
import struct
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.cache.key import CacheKey

NONCE_BYTES = 12
_TAG_BYTES = 16
_EXPIRY = struct.Struct("<d")

CLOCK_SKEW_SECONDS = 5.0
"""By how much the clocks of replicas may differ before a value past its time counts as put back."""


class SealFault(StrEnum):
    """Why a stored value was refused. An operator looks at each: nobody but a replica writes these keys."""

    FORGED = "forged"
    REPLAYED = "replayed"
    MALFORMED = "malformed"


class SealBroken(Exception):
    """The value is not what a replica put under this key, or not any more. Carries the kind of fault alone."""

    def __init__(self, fault: SealFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


def seal(key: CacheKey, address: bytes, record: bytes, expires_at: float) -> bytes:
    """The record as it may be stored under `address`: nonce, ciphertext, tag."""
    nonce = os.urandom(NONCE_BYTES)
    cipher = AESGCM(key.realm.keys.sealing_key(key.name))
    return nonce + cipher.encrypt(nonce, _EXPIRY.pack(expires_at) + record, address)


def unseal(key: CacheKey, address: bytes, sealed: bytes, now: float) -> tuple[bytes, float]:
    """The record and the time at which it dies. Raises `SealBroken`."""
    if len(sealed) < NONCE_BYTES + _EXPIRY.size + _TAG_BYTES:
        raise SealBroken(SealFault.MALFORMED)
    cipher = AESGCM(key.realm.keys.sealing_key(key.name))
    try:
        plain = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], address)
    except InvalidTag:
        raise SealBroken(SealFault.FORGED) from None
    expires_at: float = _EXPIRY.unpack_from(plain)[0]
    if now > expires_at + CLOCK_SKEW_SECONDS:
        raise SealBroken(SealFault.REPLAYED)
    return plain[_EXPIRY.size :], expires_at
