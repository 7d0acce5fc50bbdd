"""Whoever makes tokens up takes a bounded share of the processor, and nothing from callers that are known."""

from __future__ import annotations

import pytest
from jwt import PyJWK

from gateway.auth import jwt as module
from gateway.auth.authenticator import Authenticator
from gateway.auth.budget import BURST_SECONDS, SHARE, WorkBudget
from gateway.auth.jwt import Issuer, JwtVerifier
from gateway.auth.key_sources import FileKeys
from gateway.auth.remembered import REMEMBER_SECONDS
from gateway.auth.tenants import JwtIdentity, TenantEntry, Tenants
from gateway.auth.tokens import token_digest
from gateway.errors import CredentialsInvalid, GatewayError, GatewayOverloaded
from gateway.model import Tenant
from tests.support.clock import ManualClock
from tests.support.oidc import SigningKey, encode, key_set

ISSUER = "https://issuer.example"
KEY = SigningKey("RS256")
CHECK_SECONDS = 0.0008


class World:
    """An authenticator whose clock moves by 0.8 ms per signature check, as an RSA-4096 key takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        self.checks = 0
        keys = FileKeys()
        keys.load(key_set(KEY.jwk()))
        verifier = JwtVerifier([Issuer(ISSUER, "facegate", keys)], clock=self.clock)
        self.authenticator = Authenticator(
            Tenants([TenantEntry(Tenant("kyc"), (JwtIdentity(ISSUER, "kyc"),))]), jwt=verifier, clock=self.clock
        )
        read = module.JwtVerifier._read

        def counted(subject: JwtVerifier, token: str, key: PyJWK | None) -> object:
            if key is not None:
                self.checks += 1
                self.clock.advance(CHECK_SECONDS)
            return read(subject, token, key)

        monkeypatch.setattr(module.JwtVerifier, "_read", counted)

    def jwt(self, number: int = 0) -> str:
        claims = {"iss": ISSUER, "aud": "facegate", "sub": "kyc", "exp": self.clock.now() + 3600, "jti": str(number)}
        return KEY.sign(claims)

    def forged(self, number: int = 0) -> str:
        head, _, _ = self.jwt(number).rpartition(".")
        return f"{head}.{encode(number.to_bytes(256, 'big'))}"

    async def who(self, token: str) -> str:
        try:
            return (await self.authenticator.authenticate((f"Bearer {token}",), None)).tenant.id
        except GatewayError as refusal:
            return refusal.reason


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_the_same_forged_token_is_checked_once(world: World) -> None:
    """Repeating it costs the sender 16 bytes, so it must cost the gateway no signature check."""
    forged = world.forged()
    assert {await world.who(forged) for _ in range(1920)} == {"CREDENTIALS_INVALID"}
    assert world.checks == 1


async def test_a_forged_token_is_checked_again_once_keys_have_changed(world: World) -> None:
    """A new key may make it a good one."""
    forged = world.forged()
    await world.who(forged)
    world.authenticator.forget_tokens()
    await world.who(forged)
    assert world.checks == 2


async def test_ever_new_forged_tokens_take_a_fifth_of_the_processor(world: World) -> None:
    """Beyond that they are refused unread, with the time after which to try again."""
    started = world.clock.monotonic()
    verdicts: list[str] = []
    while world.clock.monotonic() - started < 2.0:
        verdicts.append(await world.who(world.forged(len(verdicts))))
        world.clock.advance(0.0002)
    assert world.checks * CHECK_SECONDS <= SHARE * 2.0 + BURST_SECONDS + CHECK_SECONDS
    assert verdicts.count("GATEWAY_OVERLOADED") > world.checks
    while await world.who(world.forged(world.checks + 10**6)) != "GATEWAY_OVERLOADED":
        pass
    with pytest.raises(GatewayOverloaded) as raised:
        await world.authenticator.authenticate((f"Bearer {world.jwt(-1)}",), None)
    assert raised.value.retry_after_seconds is not None
    assert 0 < raised.value.retry_after_seconds < 1


async def test_a_known_caller_is_not_affected(world: World) -> None:
    """Neither while it is remembered, nor when its token has to be verified again."""
    good = world.jwt()
    assert await world.who(good) == "kyc"
    while await world.who(world.forged(world.checks)) != "GATEWAY_OVERLOADED":
        pass
    assert await world.who(good) == "kyc"
    world.authenticator.forget_tokens()
    assert await world.who(good) == "kyc"
    world.clock.advance(REMEMBER_SECONDS)
    while await world.who(world.forged(world.checks)) != "GATEWAY_OVERLOADED":
        pass
    assert await world.who(good) == "kyc"


async def test_a_new_caller_is_let_in_once_the_budget_has_recovered(world: World) -> None:
    """Within a fraction of a second after the flood."""
    while await world.who(world.forged(world.checks)) != "GATEWAY_OVERLOADED":
        pass
    assert await world.who(world.jwt(-1)) == "GATEWAY_OVERLOADED"
    world.clock.advance(0.1)
    assert await world.who(world.jwt(-1)) == "kyc"


def test_quiet_times_save_up_no_more_than_one_burst() -> None:
    """A night without calls is no licence for a minute of checks."""
    clock = ManualClock()
    budget = WorkBudget(clock=clock)
    clock.advance(86_400)
    assert budget.wait_seconds() == 0
    budget.spend(BURST_SECONDS + 0.02)
    assert budget.wait_seconds() == pytest.approx(0.02 / SHARE)
    clock.advance(0.02 / SHARE + 0.001)
    assert budget.wait_seconds() == 0


async def test_a_token_that_never_had_a_right_signature_is_never_taken_for_a_known_one(world: World) -> None:
    """Only a verified token is exempt from the budget."""
    forged = world.forged()
    with pytest.raises(CredentialsInvalid):
        await world.authenticator.authenticate((f"Bearer {forged}",), None)
    assert not world.authenticator._remembered.was_good(token_digest(forged))
