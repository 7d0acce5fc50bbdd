"""Refusals of near misses and of nonsense take the same time at the caller."""

from __future__ import annotations

import gc
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from gateway.auth.tokens import new_token
from tests.support.callers import AUDIENCE, ISSUER, SUBJECT, WORKLOAD, holder_of, jwt_of, tenant
from tests.support.gateway import config_of, running
from tests.support.oidc import SigningKey, encode, key_set
from tests.support.upstream import FakeUpstream

KEY = SigningKey("RS256")
TOKEN = new_token()
GET_QUOTA = "/facegate.search.v1.FaceSearchService/GetQuota"
# Two equal paths differ by up to 3 % here while other processes keep both cores busy; a signature check is about 20 %.
SAME = (0.92, 1 / 0.92)
PAIRS = 250
ATTEMPTS = 4

Token = Callable[[], str]


@pytest.fixture
async def get_quota(tmp_path: Path) -> AsyncIterator[Any]:
    """A call of a gateway that has one static token and one workload."""
    (tmp_path / "jwks.json").write_bytes(key_set(KEY.jwk()))
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(tmp_path / "jwks.json")}
    config = config_of(
        auth={"anonymous_tenant": None, "jwt_issuers": [issuer]},
        tenants=[tenant("kyc", holder_of(TOKEN), WORKLOAD)],
    )
    with capture_logs():  # lines that are rendered for a terminal would be most of a call's time
        async with (
            running(config, upstream=FakeUpstream()) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            call: Any = channel.unary_unary(GET_QUOTA)
            for _ in range(100):
                await refuse(call, new_token())
            yield call


async def refuse(call: Any, token: str) -> int:
    """Nanoseconds until a call with this token is refused."""
    started = time.perf_counter_ns()
    code = await call(b"", metadata=(("authorization", f"Bearer {token}"),)).code()
    taken = time.perf_counter_ns() - started
    assert code is grpc.StatusCode.UNAUTHENTICATED
    return taken


async def same_time(call: Any, one: Token, other: Token, attempts: int = ATTEMPTS) -> bool:
    """Whether the two cannot be told apart, in one of a few attempts: noise passes, a difference stays."""
    for _ in range(attempts):
        times: tuple[list[int], list[int]] = ([], [])
        gc.disable()
        try:
            for turn in range(PAIRS):
                for which in (0, 1) if turn % 2 else (1, 0):
                    times[which].append(await refuse(call, (one, other)[which]()))
        finally:
            gc.enable()
        if SAME[0] < statistics.median(times[0]) / statistics.median(times[1]) < SAME[1]:
            return True
    return False


def forged(**changes: Any) -> Token:
    """A token of these claims whose signature is nonsense."""
    signed = jwt_of(KEY, time.time(), **changes).rpartition(".")[0]
    signature = encode(secrets.token_bytes(256))
    return lambda: f"{signed}.{signature}"


async def test_a_static_token_that_is_nearly_right_takes_no_longer(get_quota: Any) -> None:
    """All characters right but the last, beside one that is nothing like it."""
    near = TOKEN[:-1] + ("A" if TOKEN[-1] != "A" else "B")
    assert await same_time(get_quota, lambda: near, new_token)


async def test_a_forged_token_takes_no_longer_for_a_known_subject(get_quota: Any) -> None:
    """Which workloads have a tenant cannot be found out without the issuer's key."""
    assert await same_time(get_quota, forged(), forged(sub=SUBJECT[:-3] + "xyz"))


async def test_the_measurement_sees_a_check_that_is_left_out(get_quota: Any) -> None:
    """The control: a token of an issuer that is not configured, which is no secret, is refused without a signature check."""
    assert not await same_time(get_quota, forged(), forged(iss=ISSUER[:-3] + "xyz"), attempts=2)
