"""Verified tokens are remembered for a while, within bounds."""

from __future__ import annotations

import pytest

from gateway.auth.remembered import REMEMBER_SECONDS, RememberedTokens
from gateway.model import Principal, Tenant
from tests.support.clock import ManualClock

PRINCIPAL = Principal(Tenant("kyc"), "jwt")


@pytest.mark.parametrize(("life", "remembered"), [(600.0, REMEMBER_SECONDS), (20.0, 20.0)])
def test_a_token_is_remembered_for_60_s_or_until_it_expires(life: float, remembered: float) -> None:
    """Whichever comes first; the leeway does not count here."""
    clock = ManualClock()
    tokens = RememberedTokens(clock=clock)
    tokens.put(b"a", PRINCIPAL, clock.now() + life)

    clock.advance(remembered - 0.1)
    assert tokens.get(b"a") is PRINCIPAL
    clock.advance(0.2)
    assert tokens.get(b"a") is None
    assert len(tokens) == 0


def test_use_does_not_prolong_the_60_s() -> None:
    """A busy token is verified anew once a minute too."""
    clock = ManualClock()
    tokens = RememberedTokens(clock=clock)
    tokens.put(b"a", PRINCIPAL, clock.now() + 600)
    for _ in range(6):
        clock.advance(10)
        tokens.get(b"a")

    assert tokens.get(b"a") is None


def test_the_least_recently_used_token_makes_room() -> None:
    """Memory is bounded by the capacity."""
    clock = ManualClock()
    tokens = RememberedTokens(clock=clock, capacity=2)
    tokens.put(b"a", PRINCIPAL, clock.now() + 600)
    tokens.put(b"b", PRINCIPAL, clock.now() + 600)
    tokens.get(b"a")
    tokens.put(b"c", PRINCIPAL, clock.now() + 600)

    assert [tokens.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]
