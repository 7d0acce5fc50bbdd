"""Whoever takes all places leaves some to others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.rpc.places import Places


def test_one_owner_may_take_every_place_but_not_the_reserve() -> None:
    places = Places(16)
    while places.has("a"):
        places.take("a")
    assert places.taken == places.held("a") == 16


def test_full_places_still_let_in_owners_that_hold_few() -> None:
    places = Places(256)
    for _ in range(256):
        places.take("a")
    for _ in range(11):
        assert places.has("b")
        places.take("b")
    assert not places.has("a")
    assert places.has("c")


def test_an_owner_that_returns_all_is_forgotten() -> None:
    places = Places(4)
    places.take("a", 2)
    places.give_back("a", 2)
    assert (places.taken, places.owners) == (0, 0)


@given(st.integers(1, 64), st.lists(st.sampled_from("abcdefgh"), max_size=200))
def test_places_never_exceed_their_size_and_reserve(size: int, takers: list[str]) -> None:
    places = Places(size)
    for owner in takers:
        if places.has(owner):
            places.take(owner)
    assert places.taken <= size + max(1, size // 8)
    assert places.taken == sum(places.held(owner) for owner in "abcdefgh")
