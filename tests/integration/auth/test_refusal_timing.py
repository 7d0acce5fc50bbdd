"""Refusals take the same time however near a miss was."""

from __future__ import annotations

import gc
import secrets
import statistics
import time
from collections.abc import Callable

import pytest

from gateway.auth.authenticator import Authenticator
from gateway.auth.authorizer import resolve_face_set
from gateway.auth.jwt import Issuer, JwtVerifier
from gateway.auth.key_sources import FileKeys
from gateway.auth.tenants import JwtIdentity, TenantEntry, Tenants, TokenIdentity
from gateway.auth.tokens import new_token, token_digest
from gateway.clock import SystemClock
from gateway.errors import GatewayError
from gateway.model import Tenant
from tests.support.oidc import SigningKey, encode, key_set

ISSUER = "https://issuer.example"
KEY = SigningKey("EdDSA")
TOKEN = new_token()
# Wide enough for a shared machine, and far below what an early exit shows (see the control).
SAME = (0.85, 1 / 0.85)
ATTEMPTS = 4


def authenticator() -> Authenticator:
    keys = FileKeys()
    keys.load(key_set(KEY.jwk()))
    identities = (TokenIdentity(token_digest(TOKEN)), JwtIdentity(ISSUER, "known"))
    return Authenticator(
        Tenants([TenantEntry(Tenant("kyc"), identities)]),
        jwt=JwtVerifier([Issuer(ISSUER, "facegate", keys)], clock=SystemClock()),
    )


def ratio(one: Callable[[], None], other: Callable[[], None], pairs: int) -> float:
    """Median time of `one` over that of `other`, measured in turn so that noise falls on both."""
    times: tuple[list[int], list[int]] = ([], [])
    gc.disable()
    try:
        for turn in range(pairs):
            for which in (0, 1) if turn % 2 else (1, 0):
                start = time.perf_counter_ns()
                (one, other)[which]()
                times[which].append(time.perf_counter_ns() - start)
    finally:
        gc.enable()
    return statistics.median(times[0]) / statistics.median(times[1])


def same_time(one: Callable[[], None], other: Callable[[], None], pairs: int) -> bool:
    """Whether the two cannot be told apart, in one of a few attempts: noise passes, a difference stays."""
    return any(SAME[0] < ratio(one, other, pairs) < SAME[1] for _ in range(ATTEMPTS))


def refuse(subject: Authenticator, token: str) -> Callable[[], None]:
    """A call that is refused without waiting, as the gateway makes it."""
    authorization = (f"Bearer {token}",)

    def call() -> None:
        attempt = subject.authenticate(authorization, None)
        try:
            attempt.send(None)
        except GatewayError:
            return
        raise AssertionError("not refused")

    return call


@pytest.mark.parametrize("kept", [len(TOKEN) - 1, len(TOKEN) // 2, len("facegate_")])
def test_a_static_token_that_is_nearly_right_takes_no_longer(kept: int) -> None:
    """All characters right but the last, half of them, or none."""
    subject = authenticator()
    near = TOKEN[:kept] + "".join("A" if char != "A" else "B" for char in TOKEN[kept:])

    assert same_time(refuse(subject, near), refuse(subject, new_token()), 3000)


def test_a_forged_token_takes_the_same_time_for_a_known_subject() -> None:
    """Which subjects have a tenant cannot be found out without the issuer's key."""
    subject = authenticator()
    claims = {"iss": ISSUER, "aud": "facegate", "exp": time.time() + 600}
    known, unknown = (KEY.sign(claims | {"sub": name}).rsplit(".", 1)[0] for name in ("known", "other"))
    forged = encode(secrets.token_bytes(64))

    assert same_time(refuse(subject, f"{known}.{forged}"), refuse(subject, f"{unknown}.{forged}"), 400)


def test_a_signature_that_is_nearly_right_takes_no_longer() -> None:
    """One bit off, or all of them."""
    subject = authenticator()
    signed, _, signature = KEY.sign(
        {"iss": ISSUER, "aud": "facegate", "sub": "known", "exp": time.time() + 600}
    ).rpartition(".")
    near = ("B" if signature[0] == "A" else "A") + signature[1:]
    # Its scalar is in range: one that is not is refused unread, which tells nothing about the key.
    far = encode(secrets.token_bytes(63) + b"\x00")

    assert same_time(refuse(subject, f"{signed}.{near}"), refuse(subject, f"{signed}.{far}"), 400)


def test_a_face_set_of_another_tenant_takes_no_longer() -> None:
    """One that exists elsewhere and one that exists nowhere."""
    tenant = Tenant("kyc", face_sets={"employees": "employees-prod"})

    def look_up(alias: str) -> Callable[[], None]:
        def call() -> None:
            with pytest.raises(GatewayError):
                resolve_face_set(tenant, alias)

        return call

    assert same_time(look_up("visitors"), look_up("nonsense"), 2000)


def test_the_measurement_sees_an_early_exit() -> None:
    """The control: a comparison that stops at the first difference is told apart."""

    def compare(token: str) -> Callable[[], None]:
        def call() -> None:
            for mine, theirs in zip(TOKEN, token, strict=True):
                if mine != theirs:
                    return

        return call

    assert not same_time(compare(TOKEN[:-1] + "."), compare("." * len(TOKEN)), 3000)
