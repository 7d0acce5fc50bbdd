"""What a key binds, and how its secrets behave."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest

from gateway.cache.epochs import EpochView, Scope
from gateway.cache.key import Keymaker
from gateway.cache.keys import CacheKeys, KeyRing
from tests.support.cache import BASE_URL, MASTER

IMAGE = b"\xff\xd8" + bytes(range(256)) * 40


def maker(master: bytes = MASTER, base_url: str = BASE_URL, view: EpochView | None = None) -> Keymaker:
    return Keymaker(KeyRing(master), view or EpochView(), base_url)


def test_the_same_bytes_have_the_same_name_on_every_replica() -> None:
    """Replicas with one key file agree."""
    assert maker().key("kyc", "employees", IMAGE) == maker().key("kyc", "employees", bytes(bytearray(IMAGE)))


def test_every_part_of_the_key_tells_names_apart() -> None:
    """Tenant, face set, upstream, image, key file and each epoch; and no two parts run into each other."""
    names = [
        maker().key("kyc", "employees", IMAGE).name,
        maker().key("kyd", "employees", IMAGE).name,
        maker().key("kyc", "visitors", IMAGE).name,
        maker().key("kyce", "mployees", IMAGE).name,
        maker(base_url="https://other.example").key("kyc", "employees", IMAGE).name,
        maker(bytes(32)).key("kyc", "employees", IMAGE).name,
        maker().key("kyc", "employees", IMAGE[:-1] + bytes([IMAGE[-1] ^ 1])).name,
        # The hash fills the last block with zeros.
        maker().key("kyc", "employees", IMAGE + b"\0").name,
        maker().key("kyc", "employees", b"").name,
        maker().key("kyc", "employees", bytes(16)).name,
    ]
    for scope in (Scope(), Scope("kyc"), Scope("kyc", "employees")):
        view = EpochView()
        view.raise_to(scope, 7)
        names.append(maker(view=view).key("kyc", "employees", IMAGE).name)
    assert all(a != b for a, b in itertools.combinations(names, 2))


def test_a_purge_of_another_scope_leaves_the_name() -> None:
    """Purging a tenant or a face set does not touch others."""
    view = EpochView()
    keys = maker(view=view)
    before = keys.key("kyc", "employees", IMAGE)
    view.raise_to(Scope("hr"), 5)
    view.raise_to(Scope("kyc", "visitors"), 6)
    assert keys.key("kyc", "employees", IMAGE) == before
    assert keys.in_force(before)
    view.raise_to(Scope("kyc"), 7)
    assert not keys.in_force(before)


def test_a_new_key_file_brings_new_names() -> None:
    """A rotation leaves nothing findable under the former key, and refuses to keep what was searched for under it."""
    ring = KeyRing(MASTER)
    keys = Keymaker(ring, EpochView(), BASE_URL)
    before = keys.key("kyc", "employees", IMAGE)
    with pytest.raises(ValueError, match="32 bytes"):
        ring.replace(b"short")
    assert keys.in_force(before)
    ring.replace(bytes(32))
    assert not keys.in_force(before)
    assert keys.key("kyc", "employees", IMAGE) != before


def test_without_a_key_file_each_process_has_its_own_key() -> None:
    """Two rings without a master never agree."""
    first, second = (Keymaker(KeyRing(), EpochView(), BASE_URL).key("kyc", "e", IMAGE) for _ in range(2))
    assert first != second


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_master_of_another_size_is_refused_without_being_shown(size: int) -> None:
    """Exactly 32 bytes; the message holds none of them."""
    with pytest.raises(ValueError, match="32 bytes") as refusal:
        CacheKeys(b"\xab" * size)
    assert "ab" not in str(refusal.value).lower().replace("cache's", "")


def test_keys_cannot_be_printed_pickled_or_copied() -> None:
    """Neither secrets nor names, which are hashes of images, show in a repr; secrets do not leave by pickle."""
    keys = CacheKeys(MASTER)
    assert repr(keys) == str(keys) == f"{keys}" == "CacheKeys(…)"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(keys)
    key = maker().key("kyc", "employees", IMAGE)
    assert repr(key) == f"{key}" == "CacheKey(…)"
    assert repr(key.realm.hash_key) not in repr(key.realm)
    assert "employees" not in repr(key.realm.scope)


def test_sub_keys_differ_by_purpose_and_record() -> None:
    """No key serves two ends."""
    keys = CacheKeys(MASTER)
    made = {*keys.identity_keys("a"), *keys.identity_keys("b"), keys.sealing_key(b"a"), keys.sealing_key(b"b"), MASTER}
    assert len(made) == 7
