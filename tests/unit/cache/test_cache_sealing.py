"""What a seal lets through, and what it does not."""

from __future__ import annotations

import pytest

from gateway.cache.epochs import EpochView
from gateway.cache.key import CacheKey, Keymaker
from gateway.cache.keys import KeyRing
from gateway.cache.sealing import CLOCK_SKEW_SECONDS, SealBroken, SealFault, seal, unseal
from tests.support.cache import BASE_URL, MASTER

RECORD = b"what was found" * 5


def key_of(image: bytes, master: bytes = MASTER) -> CacheKey:
    return Keymaker(KeyRing(master), EpochView(), BASE_URL).key("kyc", "employees", image)


def test_opens_under_its_own_key_and_address() -> None:
    """The record comes back with the time at which it dies; the plain text is not in the sealed one."""
    sealed = seal(key_of(b"a"), b"address", RECORD, 100.0)
    assert unseal(key_of(b"a"), b"address", sealed, 50.0) == (RECORD, 100.0)
    assert b"found" not in sealed
    assert seal(key_of(b"a"), b"address", RECORD, 100.0) != sealed


@pytest.mark.parametrize("position", [0, 5, 11, 12, 20, 40, -17, -16, -1])
def test_any_altered_byte_is_a_forgery(position: int) -> None:
    """Nonce, ciphertext and tag are all protected."""
    sealed = bytearray(seal(key_of(b"a"), b"address", RECORD, 100.0))
    sealed[position] ^= 1
    with pytest.raises(SealBroken) as broken:
        unseal(key_of(b"a"), b"address", bytes(sealed), 50.0)
    assert broken.value.fault is SealFault.FORGED


@pytest.mark.parametrize("length", [0, 1, 12, 27, 35, 36, 50])
def test_a_truncated_value_never_opens(length: int) -> None:
    """Whatever is cut off."""
    sealed = seal(key_of(b"a"), b"address", RECORD, 100.0)[:length]
    with pytest.raises(SealBroken) as broken:
        unseal(key_of(b"a"), b"address", sealed, 50.0)
    assert broken.value.fault in {SealFault.MALFORMED, SealFault.FORGED}


def test_a_value_moved_elsewhere_is_a_forgery() -> None:
    """To another image's key, to another address, or from another key file."""
    sealed = seal(key_of(b"a"), b"address", RECORD, 100.0)
    for key, address in ((key_of(b"b"), b"address"), (key_of(b"a"), b"other"), (key_of(b"a", bytes(32)), b"address")):
        with pytest.raises(SealBroken) as broken:
            unseal(key, address, sealed, 50.0)
        assert broken.value.fault is SealFault.FORGED


def test_a_value_put_back_after_its_time_is_a_replay() -> None:
    """Beyond what clocks may differ by."""
    sealed = seal(key_of(b"a"), b"address", RECORD, 100.0)
    assert unseal(key_of(b"a"), b"address", sealed, 100.0 + CLOCK_SKEW_SECONDS)
    with pytest.raises(SealBroken) as broken:
        unseal(key_of(b"a"), b"address", sealed, 100.1 + CLOCK_SKEW_SECONDS)
    assert broken.value.fault is SealFault.REPLAYED
