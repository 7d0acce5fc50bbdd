"""The issuer's keys while calls come: key ids that are made up, and an issuer that is gone for an hour."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc
import pytest
from structlog.testing import capture_logs

from gateway.app import Gateway
from gateway.auth import build
from gateway.auth.tokens import new_token
from tests.support.callers import AUDIENCE, ISSUER, WORKLOAD, holder_of, jwt_of, tenant, who
from tests.support.clock import ManualClock
from tests.support.conditions import eventually
from tests.support.gateway import config_of, running
from tests.support.oidc import KeyServer, SigningKey, encode, key_set, segment, serve_keys
from tests.support.upstream import FakeUpstream

GET_QUOTA = "/facegate.search.v1.FaceSearchService/GetQuota"
KEY = SigningKey()
STATIC = new_token()
RANDOM_KEY_IDS = 1500
AT_ONCE = 50


@asynccontextmanager
async def serving(keys: KeyServer, clock: ManualClock) -> AsyncIterator[tuple[Gateway, grpc.aio.Channel]]:
    """A gateway that fetches its issuer's keys from `keys`."""
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": keys.url}
    config = config_of(
        auth={"anonymous_tenant": None, "jwt_issuers": [issuer]},
        tenants=[tenant("kyc", WORKLOAD), tenant("static", holder_of(STATIC))],
    )
    async with (
        running(config, upstream=FakeUpstream(), clock=clock) as gateway,
        grpc.aio.insecure_channel(gateway.address) as channel,
    ):
        yield gateway, channel


@pytest.fixture
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway looks often whether a fetch is due; when one is due is told by its clock alone."""
    monkeypatch.setattr(build, "TICK_SECONDS", 0.005)


async def another_attempt(keys: KeyServer, clock: ManualClock) -> None:
    """Lets time pass until the gateway tries to fetch its keys once more."""
    before = len(keys.requests)
    async with asyncio.timeout(30):
        while len(keys.requests) == before:
            clock.advance(20)
            await asyncio.sleep(0.005)


async def test_made_up_key_ids_make_one_fetch_in_30_seconds() -> None:
    """However many callers send however many; those with good keys pass all the while."""
    clock = ManualClock()
    good, junk = jwt_of(KEY, clock.now()), encode(bytes(64))
    payload = jwt_of(KEY, clock.now()).split(".")[1]
    numbers = itertools.count()
    codes: dict[grpc.StatusCode, int] = {}

    async def calls(channel: grpc.aio.Channel) -> None:
        get_quota: Any = channel.unary_unary(GET_QUOTA)
        for number in itertools.takewhile(lambda number: number < RANDOM_KEY_IDS, numbers):
            head = segment({"typ": "JWT", "alg": "ES256", "kid": f"random-{number}"})
            code = await get_quota(b"", metadata=(("authorization", f"Bearer {head}.{payload}.{junk}"),)).code()
            codes[code] = codes.get(code, 0) + 1
            if number % 500 == 0:
                assert await who(channel, good) == "kyc"

    async with serve_keys() as keys:
        keys.document = key_set(KEY.jwk())
        async with serving(keys, clock) as (_, channel):
            await eventually(lambda: len(keys.requests) == 1, "the first fetch")
            await asyncio.gather(*(calls(channel) for _ in range(AT_ONCE)))
            assert codes == {grpc.StatusCode.UNAUTHENTICATED: RANDOM_KEY_IDS}
            assert len(keys.requests) == 2

            clock.advance(31)
            new = SigningKey(key_id="key-2")
            keys.document = key_set(KEY.jwk(), new.jwk())
            assert await who(channel, jwt_of(new, clock.now())) == "kyc"
            assert len(keys.requests) == 3


@pytest.mark.usefixtures("quick_ticks")
async def test_an_hour_without_the_issuer() -> None:
    """Known keys go on, `/readyz` names the issuer, one log line marks the start and one the end."""
    clock = ManualClock()
    new = SigningKey(key_id="key-2")
    async with serve_keys() as keys, aiohttp.ClientSession() as http:
        keys.document = key_set(KEY.jwk())
        async with serving(keys, clock) as (gateway, channel):

            async def problems() -> str:
                async with http.get(f"http://{gateway.ops_address}/readyz") as response:
                    assert response.status == 200
                    return await response.text()

            await eventually(lambda: len(keys.requests) == 1, "the first fetch")
            assert await who(channel, jwt_of(KEY, clock.now())) == "kyc"
            assert ISSUER not in await problems()
            keys.status = 503
            with capture_logs() as logs:
                end = clock.now() + 3600
                while clock.now() < end:
                    await another_attempt(keys, clock)
                    assert await who(channel, jwt_of(KEY, clock.now())) == "kyc"
                assert await who(channel, jwt_of(new, clock.now())) == "CREDENTIALS_INVALID"
                assert await who(channel, STATIC) == "static"
                assert ISSUER in await problems()

                keys.status, keys.document = 200, key_set(KEY.jwk(), new.jwk())
                await another_attempt(keys, clock)
                assert await who(channel, jwt_of(new, clock.now())) == "kyc"
                assert ISSUER not in await problems()

    assert [line["event"] for line in logs if line["event"].startswith("jwks.")] == ["jwks.unavailable", "jwks.fetched"]


@pytest.mark.usefixtures("quick_ticks")
async def test_a_day_without_the_issuer_ends_its_tokens_alone() -> None:
    """Keys outlive their issuer by 24 hours and no more."""
    clock = ManualClock()
    async with serve_keys() as keys:
        keys.document = key_set(KEY.jwk())
        async with serving(keys, clock) as (_, channel):
            await eventually(lambda: len(keys.requests) == 1, "the first fetch")
            assert await who(channel, jwt_of(KEY, clock.now())) == "kyc"
            keys.status = 503
            clock.advance(86_300)
            assert await who(channel, jwt_of(KEY, clock.now())) == "kyc"
            clock.advance(200)
            assert await who(channel, jwt_of(KEY, clock.now())) == "CREDENTIALS_INVALID"
            assert await who(channel, STATIC) == "static"


async def test_a_gateway_starts_without_its_issuer() -> None:
    """It serves everyone else; its issuer's callers are refused, not made to wait."""
    clock = ManualClock()
    async with serve_keys() as keys:
        keys.status = 503
        async with serving(keys, clock) as (_, channel):
            assert await who(channel, STATIC) == "static"
            assert await who(channel, jwt_of(KEY, clock.now())) == "CREDENTIALS_INVALID"
