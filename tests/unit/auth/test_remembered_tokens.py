"""Verified tokens are remembered for a while, within bounds."""

from __future__ import annotations

import pytest

from gateway.auth.forged import REMEMBER_SECONDS as FORGED_SECONDS
from gateway.auth.forged import ForgedTokens
from gateway.auth.jwt import VerifiedJwt
from gateway.auth.remembered import REMEMBER_SECONDS, RememberedTokens
from gateway.model import Principal, Tenant
from tests.support.clock import ManualClock

PRINCIPAL = Principal(Tenant("kyc"), "jwt")
MOVED = Principal(Tenant("other"), "jwt")


def verified(clock: ManualClock, life: float = 600.0) -> VerifiedJwt:
    return VerifiedJwt("issuer", "subject", clock.now() + life)


@pytest.mark.parametrize(("life", "remembered"), [(600.0, REMEMBER_SECONDS), (20.0, 20.0)])
def test_a_token_is_remembered_for_60_s_or_until_it_expires(life: float, remembered: float) -> None:
    """Whichever comes first; the leeway does not count here."""
    clock = ManualClock()
    tokens = RememberedTokens(clock=clock)
    tokens.put(b"a", PRINCIPAL, verified(clock, life))

    clock.advance(remembered - 0.1)
    assert tokens.get(b"a") is PRINCIPAL
    clock.advance(0.2)
    assert tokens.get(b"a") is None
    assert tokens.verified(b"a") is None
    assert tokens.was_good(b"a") is (life > REMEMBER_SECONDS)


def test_use_does_not_prolong_the_60_s() -> None:
    """A busy token is verified anew once a minute too."""
    clock = ManualClock()
    tokens = RememberedTokens(clock=clock)
    tokens.put(b"a", PRINCIPAL, verified(clock))
    for _ in range(6):
        clock.advance(10)
        tokens.get(b"a")

    assert tokens.get(b"a") is None


def test_the_least_recently_used_token_makes_room() -> None:
    """Memory is bounded by the capacity."""
    clock = ManualClock()
    tokens = RememberedTokens(clock=clock, capacity=2)
    tokens.put(b"a", PRINCIPAL, verified(clock))
    tokens.put(b"b", PRINCIPAL, verified(clock))
    tokens.get(b"a")
    tokens.put(b"c", PRINCIPAL, verified(clock))

    assert [tokens.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_a_new_registry_has_the_tenant_looked_up_again_without_a_verification() -> None:
    """A reload must not cost a signature check per caller, nor give a token a further 60 s."""
    clock = ManualClock()
    tokens = RememberedTokens(clock=clock)
    tokens.put(b"a", PRINCIPAL, verified(clock))
    clock.advance(REMEMBER_SECONDS - 1)
    tokens.registry_changed()
    assert tokens.get(b"a") is None
    assert tokens.verified(b"a") == verified(clock, 600 - REMEMBER_SECONDS + 1)

    tokens.moved(b"a", MOVED)
    assert tokens.get(b"a") is MOVED
    clock.advance(2)
    assert tokens.get(b"a") is None
    assert tokens.verified(b"a") is None


def test_other_keys_have_every_token_verified_again() -> None:
    """What the former keys proved counts no more; that the token was good once is kept."""
    clock = ManualClock()
    tokens = RememberedTokens(clock=clock)
    tokens.put(b"a", PRINCIPAL, verified(clock))
    tokens.keys_changed()
    assert (tokens.get(b"a"), tokens.verified(b"a"), tokens.was_good(b"a")) == (None, None, True)
    tokens.discard(b"a")
    assert not tokens.was_good(b"a")


def test_forged_tokens_are_remembered_for_60_s_within_bounds() -> None:
    """The oldest makes room, and other keys make all of them uncertain."""
    clock = ManualClock()
    forged = ForgedTokens(clock=clock, capacity=2)
    for digest in (b"a", b"b", b"c"):
        forged.add(digest)
    assert [digest in forged for digest in (b"a", b"b", b"c")] == [False, True, True]
    clock.advance(FORGED_SECONDS)
    assert b"c" not in forged
    forged.add(b"c")
    forged.clear()
    assert len(forged) == 0
