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
from facegate.search.v1 import face_search_service_pb2 as pb
from structlog.testing import capture_logs

from gateway.auth.tokens import new_token
from tests.support.callers import AUDIENCE, ISSUER, SUBJECT, WORKLOAD, holder_of, jwt_of, tenant
from tests.support.gateway import config_of, running
from tests.support.images import jpeg
from tests.support.oidc import SigningKey, encode, key_set
from tests.support.upstream import FakeUpstream

# A long key makes the check of a signature stand out from the rest of a call, whatever the processor.
KEY = SigningKey("RS256", rsa_bits=4096)
TOKEN = new_token()
SERVICE = "/facegate.search.v1.FaceSearchService/"
REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
# Two equal paths differ by up to 5 % here while other processes keep both cores busy; a signature check is about 20 %.
SAME = (0.92, 1 / 0.92)
PAIRS = 250
ATTEMPTS = 4

# Makes a call that is refused.
Refused = Callable[[], Any]


class Client:
    """Calls of a gateway that has one static token, one workload, and a tenant with a face set of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._get_quota: Any = channel.unary_unary(f"{SERVICE}GetQuota")
        self._search: Any = channel.unary_unary(f"{SERVICE}SearchFace")

    def with_token(self, token: Callable[[], str]) -> Refused:
        """Asks for the quota."""
        return lambda: self._get_quota(b"", metadata=(("authorization", f"Bearer {token()}"),))

    def in_face_set(self, alias: str) -> Refused:
        """Searches, with a good token."""
        request = pb.SearchFaceRequest(face_set=alias, image=pb.Image(content=jpeg())).SerializeToString()
        return lambda: self._search(request, metadata=(("authorization", f"Bearer {TOKEN}"),))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "jwks.json").write_bytes(key_set(KEY.jwk()))
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(tmp_path / "jwks.json")}
    config = config_of(
        auth={"anonymous_tenant": None, "jwt_issuers": [issuer]},
        tenants=[
            tenant("kyc", holder_of(TOKEN), WORKLOAD),
            tenant("other") | {"face_sets": {"visitors": "visitors-prod"}},
        ],
    )
    with capture_logs():  # lines that are rendered for a terminal would be most of a call's time
        async with (
            running(config, upstream=FakeUpstream()) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            client = Client(channel)
            for _ in range(100):
                await timed(client.with_token(new_token))
            yield client


async def timed(call: Refused) -> int:
    """Nanoseconds until a call is refused."""
    started = time.perf_counter_ns()
    code = await call().code()
    taken = time.perf_counter_ns() - started
    assert code in REFUSED
    return taken


async def ratio(one: Refused, other: Refused) -> float:
    """Time of `one` over that of `other`, measured in turn. Compares quick calls, since noise only adds to a time."""
    times: tuple[list[int], list[int]] = ([], [])
    gc.disable()
    try:
        for turn in range(PAIRS):
            for which in (0, 1) if turn % 2 else (1, 0):
                times[which].append(await timed((one, other)[which]))
    finally:
        gc.enable()
    first, second = (statistics.quantiles(found, n=10)[0] for found in times)
    return first / second


async def same_time(one: Refused, other: Refused) -> bool:
    """Whether the two cannot be told apart, in one of a few attempts: noise passes, a difference stays."""
    for _ in range(ATTEMPTS):
        if SAME[0] < await ratio(one, other) < SAME[1]:
            return True
    return False


def forged(**changes: Any) -> Callable[[], str]:
    """A token of these claims whose signature is nonsense."""
    signed = jwt_of(KEY, time.time(), **changes).rpartition(".")[0]
    # Begins with a zero: a number above the key's modulus is refused without a look at the key. Another one each time: a
    # token that was refused a moment ago is refused again without its signature being checked.
    return lambda: f"{signed}.{encode(bytes(1) + secrets.token_bytes(511))}"


async def test_a_static_token_that_is_nearly_right_takes_no_longer(client: Client) -> None:
    """All characters right but the last, beside one that is nothing like it."""
    near = TOKEN[:-1] + ("A" if TOKEN[-1] != "A" else "B")
    assert await same_time(client.with_token(lambda: near), client.with_token(new_token))


async def test_a_forged_token_takes_no_longer_for_a_known_subject(client: Client) -> None:
    """Which workloads have a tenant cannot be found out without the issuer's key."""
    known, unknown = forged(), forged(sub=SUBJECT[:-3] + "xyz")
    assert await same_time(client.with_token(known), client.with_token(unknown))


async def test_a_face_set_of_another_tenant_takes_no_longer(client: Client) -> None:
    """Than one that exists nowhere."""
    assert await same_time(client.in_face_set("visitors"), client.in_face_set("nonsense"))


async def test_the_measurement_sees_a_check_that_is_left_out(client: Client) -> None:
    """The control: a token of an issuer that is not configured, which is no secret, is refused without a signature check."""
    checked, unchecked = forged(), forged(iss=ISSUER[:-3] + "xyz")
    found = [await ratio(client.with_token(checked), client.with_token(unchecked)) for _ in range(3)]
    assert statistics.median(found) > SAME[1]
